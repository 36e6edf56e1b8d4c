//! Attempts: their ids, the first sign of their run, their log and record, and how they are removed.

use super::{Created, Store, StoreError};
use kale_protocol::{
    digest::Digest,
    extension::Extensions,
    id::{AttemptId, PackId},
    layout::{self, RunId, ShardId},
    log::Log,
    manifest::Manifest,
    marker::Run,
    record::{Outcome, OutputRecord, StepRecord},
};

/// How many attempts are looked at for what they have stored, the last ones.
const LOOKED_AT: usize = 8;

/// A new attempt id: the time in UTC, to the millisecond, and eight random hexadecimal digits.
pub fn new_attempt_id(now_ns: i64) -> AttemptId {
    let time = jiff::Timestamp::from_nanosecond(now_ns.into()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let mut random = [0; 4];
    // Without random bytes two attempts of one millisecond could meet: a commit is told from another by its record too.
    let _ = getrandom::fill(&mut random);
    let text = format!("{}-{:08x}", time.strftime("%Y%m%dT%H%M%S.%3fZ"), u32::from_be_bytes(random));
    text.parse().expect("a time of four-digit years and eight hexadecimal digits is an attempt id")
}

/// Leaves the first sign of a run, or finds the one that is there; a run of another store is an error.
pub fn begin_run(store: &Store, run: &RunId, now_ns: i64) -> Result<(), StoreError> {
    let key = layout::run(run);
    let first = Run { store: *store.id(), created_ns: now_ns, extensions: Extensions::default() };
    if store.put(&key, &first)? == Created::New {
        return Ok(());
    }
    let there: Run = store.get(&key)?;
    if there.store == *store.id() {
        return Ok(());
    }
    let place = store.transport().location().to_owned();
    Err(StoreError::OtherStore { store: place, found: *store.id(), expected: there.store })
}

/// Leaves the first sign of a shard: its folder, durably, where the medium has folders.
///
/// Whoever lists the run sees that the shard has begun, and its first attempt need not wait for its folders at the end.
pub fn begin_shard(store: &Store, shard: &ShardId) -> Result<(), StoreError> {
    store.transport().prepare(&layout::shard(shard))
}

/// Reads the step record of an attempt.
pub fn read_record(store: &Store, shard: &ShardId, attempt: &AttemptId) -> Result<StepRecord, StoreError> {
    store.get(&layout::record(shard, attempt))
}

/// Reads what an attempt has told last: the record of its end, or what it left when it was told to end, should it have been
/// killed then. A commit has a record of its own: one of these instead would hide that it is lost.
pub fn read_last_word(store: &Store, shard: &ShardId, attempt: &AttemptId) -> Result<StepRecord, StoreError> {
    match read_record(store, shard, attempt) {
        Err(absent @ StoreError::NotFound { .. }) => {
            store.get_if_there(&layout::stopped(shard, attempt))?.ok_or(absent)
        }
        read => read,
    }
}

/// What earlier attempts at a shard that failed have stored: the outputs of the last one that stored any.
///
/// What failed attempts have stored is never removed before there is a commit, so it may be referred to. Attempts that did
/// not fail are left alone: they remove what they stored when another one is committed first. What cannot be read is passed over.
pub fn left_behind(store: &Store, shard: &ShardId) -> Vec<OutputRecord> {
    let attempts = super::browse::attempts(store, shard).unwrap_or_default();
    let records =
        attempts.iter().rev().take(LOOKED_AT).filter_map(|attempt| read_last_word(store, shard, attempt).ok());
    let failed = records.filter(|record| {
        record.store == *store.id() && record.shard == *shard && matches!(record.outcome, Outcome::Failed { .. })
    });
    failed.map(|record| record.outputs).find(|outputs| !outputs.is_empty()).unwrap_or_default()
}

/// Reads the captured log of an attempt, if it has one; of one that was killed when it had been told to end, what it
/// had written by then.
pub fn read_log(store: &Store, shard: &ShardId, attempt: &AttemptId) -> Result<Option<Log>, StoreError> {
    match store.get_if_there(&layout::log(shard, attempt))? {
        None => store.get_if_there(&layout::stopped_log(shard, attempt)),
        whole => Ok(whole),
    }
}

/// Reads the root of a manifest.
pub fn read_manifest(store: &Store, id: &Digest) -> Result<Manifest, StoreError> {
    store.get(&layout::manifest(id))
}

/// What an attempt that does not count has stored.
#[derive(Clone, Copy, Debug)]
pub struct Discard<'a> {
    /// Packs that it wrote.
    pub packs: &'a [PackId],
    /// Manifests that it created.
    pub manifests: &'a [Digest],
}

/// Removes everything of an attempt that was not committed; of one that was, nothing.
///
/// Packs are its own: their ids were drawn by it. A manifest is removed only if it refers to one of them: then no
/// other attempt can have the same. One without a new pack may have been found there by another attempt, which
/// refers to it now; it stays, for gc, and so does one that cannot be read.
pub fn discard(store: &Store, shard: &ShardId, attempt: &AttemptId, what: &Discard<'_>) -> Result<(), StoreError> {
    // A commit whose reply was lost may have been taken for a failure: what it published must not go.
    if super::read_commit(store, shard)?.is_some_and(|commit| commit.attempt == *attempt) {
        return Ok(());
    }
    let transport = store.transport();
    for id in what.manifests {
        match read_manifest(store, id) {
            Ok(manifest) if manifest.packs.iter().any(|pack| what.packs.contains(pack)) => {
                transport.remove(&layout::manifest(id))?;
            }
            Err(error @ StoreError::Io { .. }) => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    for pack in what.packs {
        transport.remove(&layout::pack(pack))?;
    }
    transport.remove_folder(&layout::attempt(shard, attempt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempt_ids_sort_by_time() {
        let early = new_attempt_id(1_764_000_000_123_000_000);
        let late = new_attempt_id(1_764_000_000_124_000_000);
        assert!(early.as_str().starts_with("20251124T160000.123Z-"), "{early}");
        assert!(early < late);
        assert_ne!(new_attempt_id(5), new_attempt_id(5));
    }
}
