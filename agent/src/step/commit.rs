//! Committing: log and record first, then the one object that makes the outputs exist.

use super::{
    StepError, compare,
    inputs::ReadyInput,
    plan::Work,
    session::Stored,
    settings::{OnChanged, OnCommitted},
};
use crate::store::{self, CommitOutcome, Discard};
use kale_protocol::{
    commit::{Commit, Output},
    digest::Digest,
    extension::Extensions,
    layout,
    log::Log,
    object::Object,
    record::{StepRecord, StepSpec},
};

/// What became of an attempt.
#[derive(Debug)]
pub(super) enum Published {
    /// It counts. The text is a warning, if the hint for later runs could not be written.
    Won(Option<String>),
    /// Another attempt at the same work had been committed.
    Lost(Box<Commit>),
}

/// Writes log and record of an attempt and commits it, or removes everything of it if another one was first.
pub(super) fn publish(
    work: &Work,
    inputs: &[ReadyInput],
    stored: &Stored,
    record: &StepRecord,
    log: Option<&Log>,
) -> Result<Published, StepError> {
    write_attempt(work, record, log)?;
    let commit = commit_of(work, inputs, record);
    match store::commit(&work.store, &commit, stored.medium)? {
        CommitOutcome::Won { warning } => Ok(Published::Won(warning)),
        CommitOutcome::Lost(winner) => {
            discard(work, stored)?;
            check_winner(work, &record.spec, inputs, &winner)?;
            Ok(Published::Lost(winner))
        }
    }
}

/// Writes log and record of an attempt: of a failed one, this is all that is kept.
pub(super) fn write_attempt(work: &Work, record: &StepRecord, log: Option<&Log>) -> Result<(), StepError> {
    if let Some(log) = log {
        work.store.put(&layout::log(&work.shard, &work.attempt), log)?;
    }
    work.store.put(&layout::record(&work.shard, &work.attempt), record)?;
    Ok(())
}

/// Removes everything that an attempt stored.
pub(super) fn discard(work: &Work, stored: &Stored) -> Result<(), StepError> {
    let what = Discard { packs: &stored.packs, manifests: &stored.manifests };
    Ok(store::discard(&work.store, &work.shard, &work.attempt, &what)?)
}

/// The commit of this shard, if there is one and it is of the work that this attempt is at: then there is nothing to do.
pub(super) fn already(work: &Work, spec: &StepSpec, inputs: &[ReadyInput]) -> Result<Option<Commit>, StepError> {
    let Some(commit) = store::read_commit(&work.store, &work.shard)? else { return Ok(None) };
    check_winner(work, spec, inputs, &commit)?;
    Ok(Some(commit))
}

fn check_winner(work: &Work, spec: &StepSpec, inputs: &[ReadyInput], winner: &Commit) -> Result<(), StepError> {
    let record: StepRecord = work.store.get(&layout::record(&work.shard, &winner.attempt))?;
    let differences = compare::differences(work, spec, inputs, &record);
    let attempt = winner.attempt.to_string();
    let shard = Box::new(work.shard.clone());
    if !differences.is_empty() && work.on_changed == OnChanged::Fail {
        return Err(StepError::Changed { shard, attempt, differences });
    }
    if work.on_committed == OnCommitted::Fail {
        return Err(StepError::Committed { shard, attempt });
    }
    Ok(())
}

fn commit_of(work: &Work, inputs: &[ReadyInput], record: &StepRecord) -> Commit {
    let mut outputs: Vec<Output> = record.outputs.iter().map(Output::from).collect();
    outputs.sort_by(|a, b| a.name.cmp(&b.name));
    Commit {
        store: *work.store.id(),
        shard: work.shard.clone(),
        shard_count: work.shard_count,
        attempt: work.attempt.clone(),
        record: Digest::of(&record.to_object()),
        committed_ns: super::record::now_ns(),
        outputs,
        fan_outs: record.fan_outs.clone(),
        degraded: inputs.iter().flat_map(|input| input.degraded.clone()).collect(),
        extensions: Extensions::default(),
    }
}
