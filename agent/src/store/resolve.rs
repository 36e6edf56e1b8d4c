//! From addresses to committed artifacts.

use super::{Store, StoreError, browse, read_commit, read_last_word};
use kale_protocol::{
    address::{Address, Shards},
    commit::{Commit, Output},
    digest::Digest,
    extension::Extensions,
    id::AttemptId,
    layout::{RunId, ShardId},
    name::Name,
    object::Object,
};

/// The name that means the newest run.
pub const LATEST: &str = "latest";

/// What an address leaves out.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The pipeline meant where none is named.
    pub pipeline: Option<Name>,
    /// The run meant where none is named.
    pub run: Option<Name>,
}

/// Why an address leads to nothing; the message says what is there instead.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address does not say enough.
    #[error("'{address}' does not say which {what}; {remedy}")]
    Unsaid {
        /// The address.
        address: String,
        /// `pipeline`, `run`, `step`, `shard` or `artifact`.
        what: &'static str,
        /// How to say it.
        remedy: String,
    },
    /// What it names is not there, and may come yet.
    #[error("{0}")]
    NotYet(String),
    /// What it names is not there, and will not come: the commit that should have it has not.
    #[error("{0}")]
    Never(String),
}

/// The run that an address means: named, from the context, or the newest.
///
/// `latest` is the newest run, other than `except`, in which the address's step is committed; the newest of all where
/// the address names no step.
pub fn run_of(
    store: &Store,
    address: &Address,
    context: &Context,
    except: Option<&RunId>,
) -> Result<RunId, ResolveError> {
    let Some(pipeline) = address.pipeline.clone().or_else(|| context.pipeline.clone()) else {
        let there = names(browse::pipelines(store)?.iter());
        return Err(ResolveError::Unsaid {
            address: address.to_string(),
            what: "pipeline",
            remedy: format!("say pipeline/run/…, or set KALE_PIPELINE; the store has {there}"),
        });
    };
    if let Some(run) = named_run(address, context) {
        return Ok(RunId { pipeline, run });
    }
    for entry in browse::runs(store, &pipeline)?.into_iter().rev() {
        let candidate = RunId { pipeline: pipeline.clone(), run: entry.run };
        if Some(&candidate) == except {
            continue;
        }
        let Some(step) = &address.step else { return Ok(candidate) };
        let index = match address.shards {
            Shards::One(index) => index,
            Shards::Unsaid | Shards::All => 0,
        };
        let id = ShardId { run: candidate, step: step.clone(), index };
        if read_commit(store, &id)?.is_some() {
            return Ok(id.run);
        }
    }
    Err(ResolveError::NotYet(match &address.step {
        Some(step) => format!("pipeline {pipeline} has no run in which {step} is committed"),
        None => format!("pipeline {pipeline} has no run; the store has {}", names(browse::pipelines(store)?.iter())),
    }))
}

/// The name of the run that an address means, by itself or by the context; `None`: the newest.
pub fn named_run(address: &Address, context: &Context) -> Option<Name> {
    let run = match (&address.run, &context.run) {
        (Some(run), _) => run,
        (None, Some(run)) if address.pipeline.is_none() || address.pipeline == context.pipeline => run,
        _ => return None,
    };
    (run.as_str() != LATEST).then(|| run.clone())
}

/// What an attempt at a shard would have committed: its outputs, whether it failed or not.
pub fn attempt_of(store: &Store, id: ShardId, attempt: &AttemptId) -> Result<Commit, ResolveError> {
    let record = match read_last_word(store, &id, attempt) {
        Err(StoreError::NotFound { .. }) => {
            let there = browse::attempts(store, &id)?;
            let there: Vec<&str> = there.iter().map(AttemptId::as_str).collect();
            let what = format!("{id} has no attempt {attempt} that has ended; there are {}", there.join(", "));
            return Err(ResolveError::Never(what));
        }
        other => other?,
    };
    Ok(Commit {
        store: *store.id(),
        shard: id,
        shard_count: record.shard_count,
        attempt: attempt.clone(),
        record: Digest::of(&record.to_object()),
        committed_ns: 0,
        outputs: record.outputs.iter().map(Output::from).collect(),
        fan_outs: record.fan_outs.clone(),
        degraded: Vec::new(),
        extensions: Extensions::default(),
    })
}

/// The commit of one shard that an address means, in a run that is known.
pub fn commit_of(store: &Store, run: &RunId, address: &Address) -> Result<Commit, ResolveError> {
    let id = shard_of(store, run, address)?;
    let Some(commit) = read_commit(store, &id)? else {
        return Err(ResolveError::NotYet(absent(store, &id)?));
    };
    if address.shards == Shards::Unsaid && commit.shard_count > 1 {
        let (step, last) = (&id.step, commit.shard_count - 1);
        return Err(ResolveError::Unsaid {
            address: address.to_string(),
            what: "shard",
            remedy: format!("{step} has {} shards: say {step}[0] to {step}[{last}], or {step}[*]", commit.shard_count),
        });
    }
    Ok(commit)
}

/// The shard that an address means, the first one if it says nothing of shards.
pub fn shard_of(store: &Store, run: &RunId, address: &Address) -> Result<ShardId, ResolveError> {
    let Some(step) = &address.step else {
        return Err(ResolveError::Unsaid {
            address: address.to_string(),
            what: "step",
            remedy: format!("run {run} has the steps {}", names(browse::steps(store, run)?.iter())),
        });
    };
    let index = match address.shards {
        Shards::One(index) => index,
        Shards::Unsaid | Shards::All => 0,
    };
    Ok(ShardId { run: run.clone(), step: step.clone(), index })
}

/// The output of a commit that an address means.
pub fn output_of(commit: &Commit, address: &Address) -> Result<Output, ResolveError> {
    let there = || names(commit.outputs.iter().map(|output| &output.name));
    match &address.artifact {
        Some(artifact) => commit.output(artifact).cloned().ok_or_else(|| {
            ResolveError::Never(format!("{} has no artifact {artifact}; it has {}", commit.shard, there()))
        }),
        None => Err(ResolveError::Unsaid {
            address: address.to_string(),
            what: "artifact",
            remedy: format!("{} has {}", commit.shard, there()),
        }),
    }
}

/// What is there instead of a commit.
pub fn absent(store: &Store, id: &ShardId) -> Result<String, StoreError> {
    let steps = browse::steps(store, &id.run)?;
    if steps.is_empty() {
        let runs = browse::runs(store, &id.run.pipeline)?;
        return Ok(if runs.is_empty() {
            let pipelines = browse::pipelines(store)?;
            format!("{}: the store has no pipeline {}; it has {}", id, id.run.pipeline, names(pipelines.iter()))
        } else {
            format!(
                "{}: nothing is in run {}; the pipeline's runs are {}",
                id,
                id.run,
                names(runs.iter().map(|r| &r.run))
            )
        });
    }
    if !steps.contains(&id.step) {
        return Ok(format!("{}: no such step has started in this run; there are {}", id, names(steps.iter())));
    }
    let attempts = browse::attempts(store, id)?;
    Ok(match attempts.last() {
        None => format!("{id}: not committed, and no attempt has ended yet"),
        Some(last) => format!(
            "{id}: not committed; {} failed, the last is {last}: see `kale-agent log {}/{}[{}]`",
            plural(attempts.len(), "attempt"),
            id.run,
            id.step,
            id.index
        ),
    })
}

/// Names in a list for people, shortened after 12.
pub fn names<'a>(names: impl ExactSizeIterator<Item = &'a Name>) -> String {
    let count = names.len();
    if count == 0 {
        return "nothing".to_owned();
    }
    let mut text = names.take(12).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if count > 12 {
        text.push_str(&format!(" and {} more", count - 12));
    }
    text
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}
