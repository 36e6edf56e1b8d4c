//! Committing: one object, created once.

use super::{Created, Store, StoreError};
use kale_protocol::{
    commit::Commit,
    envelope::Kind,
    extension::Extensions,
    layout::{self, ShardId},
    marker::Hint,
    medium::Medium,
    object::{Object, ObjectError},
};

/// What became of a commit.
#[derive(Debug)]
pub enum CommitOutcome {
    /// It counts.
    Won {
        /// Why the hint for later runs could not be left, if it could not: they store more, nothing else.
        warning: Option<String>,
    },
    /// Another attempt's was there before.
    Lost(Box<Commit>),
}

/// Publishes an attempt: of all commits of a shard exactly one wins, whoever races.
///
/// `medium` is what was seen of the store's medium, left for the next attempt at the shard.
pub fn commit(store: &Store, commit: &Commit, medium: Option<Medium>) -> Result<CommitOutcome, StoreError> {
    let key = layout::commit(&commit.shard);
    if store.put(&key, commit)? == Created::Exists {
        let there: Commit = checked(store, &commit.shard, store.get(&key)?)?;
        // A lost reply may have hidden that an earlier try of ours went through.
        if (&there.attempt, &there.record) != (&commit.attempt, &commit.record) {
            return Ok(CommitOutcome::Lost(Box::new(there)));
        }
    }
    let hint = Hint {
        run: commit.shard.run.run.clone(),
        attempt: commit.attempt.clone(),
        outputs: commit.outputs.iter().map(|output| (output.name.clone(), output.manifest)).collect(),
        extensions: medium.map_or_else(Extensions::default, Medium::alone),
    };
    let left = store.transport().replace_soon(&layout::hint(&commit.shard), &hint.to_object());
    let warning = left.err().map(|error| {
        format!("no hint could be left for later runs, which may store more: {}", crate::report::chain(&error))
    });
    Ok(CommitOutcome::Won { warning })
}

/// The commit of a shard, if it is committed.
pub fn read_commit(store: &Store, shard: &ShardId) -> Result<Option<Commit>, StoreError> {
    let found = store.get_if_there(&layout::commit(shard))?;
    found.map(|commit| checked(store, shard, commit)).transpose()
}

/// Where a shard was last committed, in any run; `None` if that is not known or cannot be read.
pub fn read_hint(store: &Store, shard: &ShardId) -> Option<Hint> {
    store.get(&layout::hint(shard)).ok()
}

/// A commit must be the one of the place where it lies: one that was copied there is no commit of it.
fn checked(store: &Store, shard: &ShardId, commit: Commit) -> Result<Commit, StoreError> {
    if commit.store != *store.id() {
        let place = store.transport().location().to_owned();
        return Err(StoreError::OtherStore { store: place, found: *store.id(), expected: commit.store });
    }
    if commit.shard != *shard {
        let rule = ObjectError::Rule { kind: Kind::Commit, rule: "it is the commit of another shard" };
        return Err(store.wrong(&layout::commit(shard), rule));
    }
    Ok(commit)
}
