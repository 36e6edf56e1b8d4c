//! Producers of a fan-in: how many there must be, and which are there.

use crate::store::{Store, StoreError, browse, read_commit, resolve};
use kale_protocol::{
    commit::Commit,
    layout::{RunId, ShardId},
    name::Name,
};
use std::collections::BTreeMap;

/// Commits seen so far: they never change, so a waiting step reads each once.
pub type Found = BTreeMap<ShardId, Commit>;

/// Why a fan-in is not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// A line for each thing that is missing.
    pub lines: Vec<String>,
    /// Whether waiting can help.
    pub may_come: bool,
}

/// The commits of all shards of a step that have the artifact, in shard order.
///
/// How many there must be: `expect` if given; else what a step of the run committed as the size of this fan-out;
/// else the number of shards that any committed shard says its step has. If two of these disagree, that is a gap
/// that waiting cannot close. A gap names every producer that is missing, failed, late or without the artifact.
pub fn producers(
    store: &Store,
    run: &RunId,
    step: &Name,
    artifact: &Name,
    expect: Option<u32>,
    found: &mut Found,
) -> Result<Result<Vec<Commit>, Gap>, StoreError> {
    let shards = browse::shards(store, run, step)?;
    for index in &shards {
        look(store, ShardId { run: run.clone(), step: step.clone(), index: *index }, found)?;
    }
    let (count, said_by) = match size(store, run, step, expect, found)? {
        Ok(size) => size,
        Err(gap) => return Ok(Err(gap)),
    };
    let mut commits = Vec::new();
    let mut gap = Gap { lines: Vec::new(), may_come: true };
    for index in 0..count {
        let id = ShardId { run: run.clone(), step: step.clone(), index };
        match found.get(&id) {
            None => gap.lines.push(resolve::absent(store, &id)?),
            Some(commit) if commit.output(artifact).is_none() => {
                let there = resolve::names(commit.outputs.iter().map(|output| &output.name));
                gap.lines.push(format!("{id}: committed without {artifact}; it has {there}"));
                gap.may_come = false;
            }
            Some(commit) => commits.push(commit.clone()),
        }
    }
    if gap.lines.is_empty() {
        return Ok(Ok(commits));
    }
    let head =
        format!("{}[*]:{artifact}: {} of {count} producers are there ({said_by}); missing:", step, commits.len());
    gap.lines.insert(0, head);
    Ok(Err(gap))
}

type Size = Result<(u32, String), Gap>;

fn size(store: &Store, run: &RunId, step: &Name, expect: Option<u32>, found: &mut Found) -> Result<Size, StoreError> {
    let mut said: Vec<(u32, String)> = expect.map(|count| (count, "by --expect".to_owned())).into_iter().collect();
    if expect.is_none() {
        for other in browse::steps(store, run)? {
            let id = ShardId { run: run.clone(), step: other, index: 0 };
            let Some(commit) = look(store, id, found)? else { continue };
            if let Some(fan_out) = commit.fan_outs.iter().find(|fan_out| fan_out.step == *step) {
                said.push((fan_out.count, format!("as committed by {}", commit.shard.step)));
            }
        }
        let own = found.values().find(|commit| commit.shard.run == *run && commit.shard.step == *step);
        said.extend(own.map(|commit| (commit.shard_count, format!("as {} says", commit.shard))));
    }
    let Some(first) = said.first().cloned() else {
        let line = format!(
            "{step}[*]: how many producers there are is not known yet: no step has committed the size of this fan-out \
             (--fan-out {step}=N there, or --expect N here), and no shard of {step} is committed"
        );
        return Ok(Err(Gap { lines: vec![line], may_come: true }));
    };
    if let Some(other) = said.iter().find(|(count, _)| *count != first.0) {
        let line = format!("{step}[*]: {} producers {}, and {} {}", first.0, first.1, other.0, other.1);
        return Ok(Err(Gap { lines: vec![line], may_come: false }));
    }
    Ok(Ok(first))
}

fn look<'f>(store: &Store, id: ShardId, found: &'f mut Found) -> Result<Option<&'f Commit>, StoreError> {
    if !found.contains_key(&id) {
        let Some(commit) = read_commit(store, &id)? else { return Ok(None) };
        found.insert(id.clone(), commit);
    }
    Ok(found.get(&id))
}
