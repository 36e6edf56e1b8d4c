//! Inputs: from references to committed artifacts, waited for if asked.

use super::{
    StepError,
    awaited::Waiting,
    blocking,
    plan::{PlannedInput, Work},
};
use crate::{
    fanin::{self, Found, Gap},
    report::{Monitor, Phase},
    store::resolve::{self, Context, ResolveError},
};
use kale_protocol::{
    address::{Address, Shards},
    commit::Commit,
    layout::ShardId,
    manifest::Shape,
    name::Name,
    path::ArtifactPath,
    record::{InputRecord, Policy, Source},
};
use std::{path::PathBuf, sync::Arc, time::Instant};

/// An input whose artifacts are committed.
#[derive(Clone, Debug)]
pub(super) struct ReadyInput {
    /// Its name for this step.
    pub name: Name,
    /// Where it goes; `None`: below the agent's folder.
    pub path: Option<PathBuf>,
    /// Path inside the artifact.
    pub inside: ArtifactPath,
    /// The artifacts, in shard order, with how each is meant to be used.
    pub sources: Vec<(Source, Shape, Option<String>)>,
    /// Whether it is a fan-in, even one of a single producer.
    pub fan_in: bool,
    /// Why the artifacts are made from less than everything.
    pub degraded: Vec<String>,
}

impl ReadyInput {
    /// As the step record has it.
    pub(super) fn record(&self) -> InputRecord {
        InputRecord {
            name: self.name.clone(),
            sources: self.sources.iter().map(|(source, ..)| source.clone()).collect(),
            expected: u32::try_from(self.sources.len()).expect("at most limits::SHARDS producers"),
            policy: self.fan_in.then_some(Policy::Collect),
        }
    }
}

/// Resolves all inputs of a step; with [`Work::wait`] set, looks again until all are there or the time is over.
pub(super) async fn ready(work: &Arc<Work>, monitor: &Arc<dyn Monitor>) -> Result<Vec<ReadyInput>, StepError> {
    let began = Instant::now();
    let mut found = Found::new();
    let mut waiting: Option<Waiting> = None;
    loop {
        let (at, again) = (Arc::clone(work), found);
        let look = blocking(move || {
            let mut found = again;
            let result = resolve_all(&at, &mut found);
            (found, result)
        });
        let (seen, result) = look.await?;
        found = seen;
        let (gaps, fan_in) = match result? {
            Ok(ready) => {
                if waiting.is_some() {
                    monitor.end();
                }
                return Ok(ready);
            }
            Err(missing) => missing,
        };
        let lines = || gaps.iter().flat_map(|gap| gap.lines.clone()).collect();
        let missing = |waited| StepError::Missing {
            store: work.store.transport().location().to_owned(),
            run: work.run_name(),
            inputs: lines(),
            waited,
            fan_in,
        };
        let Some(limit) = work.wait else { return Err(missing(None)) };
        if gaps.iter().any(|gap| !gap.may_come) {
            return Err(missing(None));
        }
        let Some(left) = limit.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) else {
            return Err(missing(Some(limit)));
        };
        let now = waiting.take().unwrap_or_else(|| {
            monitor.begin(Phase::Wait, &work.shard.to_string(), None);
            Waiting::begin(work)
        });
        let (at, known) = (Arc::clone(work), found);
        let widen = blocking(move || {
            let (mut now, known) = (now, known);
            let look_at_once = now.widen(&at, &known);
            (now, known, look_at_once)
        });
        let (mut now, known, look_at_once) = widen.await?;
        found = known;
        if !look_at_once? {
            now.sleep(left).await;
        }
        waiting = Some(now);
    }
}

type Resolved = Result<Vec<ReadyInput>, (Vec<Gap>, bool)>;

fn resolve_all(work: &Work, found: &mut Found) -> Result<Resolved, StepError> {
    let mut ready = Vec::new();
    let mut gaps = Vec::new();
    let mut fan_in = false;
    for input in &work.inputs {
        match resolve_one(work, input, found)? {
            Ok(input) => ready.push(input),
            Err(gap) => {
                fan_in |= input.address.shards == Shards::All;
                gaps.push(gap);
            }
        }
    }
    Ok(if gaps.is_empty() { Ok(ready) } else { Err((gaps, fan_in)) })
}

/// Resolves one input, or says what is missing.
pub(super) fn resolve_one(
    work: &Work,
    input: &PlannedInput,
    found: &mut Found,
) -> Result<Result<ReadyInput, Gap>, StepError> {
    match try_resolve(work, input, found) {
        Ok(result) => Ok(result),
        Err(ResolveError::Store(error)) => Err(error.into()),
        Err(error @ ResolveError::Unsaid { .. }) => {
            Err(StepError::settings(format!("input {}: {error}", input.name), "correct the reference"))
        }
        Err(ResolveError::NotYet(line)) => Ok(Err(gap(input, line, true))),
        Err(ResolveError::Never(line)) => Ok(Err(gap(input, line, false))),
    }
}

fn gap(input: &PlannedInput, line: String, may_come: bool) -> Gap {
    Gap { lines: vec![format!("{} ({}): {line}", input.name, input.reference)], may_come }
}

fn try_resolve(work: &Work, input: &PlannedInput, found: &mut Found) -> Result<Result<ReadyInput, Gap>, ResolveError> {
    let own = &work.shard.run;
    let context = Context { pipeline: Some(own.pipeline.clone()), run: Some(own.run.clone()) };
    let address = &input.address;
    let run = resolve::run_of(&work.store, address, &context, Some(own))?;
    let (Some(step), Some(artifact)) = (&address.step, &address.artifact) else {
        return Err(ResolveError::Never("the reference names no step and artifact".to_owned()));
    };
    let fan_in = address.shards == Shards::All;
    let commits = if fan_in {
        match fanin::producers(&work.store, &run, step, artifact, work.expect, found)? {
            Ok(commits) => commits,
            Err(gap) => return Ok(Err(gap)),
        }
    } else {
        let index = if let Shards::One(index) = address.shards { index } else { 0 };
        let id = ShardId { run: run.clone(), step: step.clone(), index };
        match found.get(&id) {
            Some(commit) => vec![commit.clone()],
            None => {
                let commit = resolve::commit_of(&work.store, &run, address)?;
                found.insert(id, commit.clone());
                vec![commit]
            }
        }
    };
    let mut sources = Vec::with_capacity(commits.len());
    let mut degraded = Vec::new();
    for commit in commits {
        sources.push(source_of(&commit, address)?);
        degraded.extend(commit.degraded.iter().map(|why| format!("{}: {why}", commit.shard)));
    }
    Ok(Ok(ReadyInput {
        name: input.name.clone(),
        path: input.path.clone(),
        inside: address.path.clone(),
        sources,
        fan_in,
        degraded,
    }))
}

/// The artifact of a commit that an address means, as a source for restoring.
pub fn source_of(commit: &Commit, address: &Address) -> Result<(Source, Shape, Option<String>), ResolveError> {
    let output = resolve::output_of(commit, address)?;
    let source = Source {
        producer: commit.shard.clone(),
        attempt: commit.attempt.clone(),
        artifact: output.name,
        manifest: output.manifest,
        digest: output.digest,
        totals: output.totals,
    };
    Ok((source, output.shape, output.format))
}
