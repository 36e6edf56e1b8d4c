//! Commits: the publication of one attempt. `docs/formats/step-record.md`, section commit.

use crate::{
    digest::Digest,
    envelope::{Kind, Packing},
    extension::Extensions,
    id::{AttemptId, StoreId},
    layout::{Shard, ShardId},
    manifest::{Shape, Totals},
    name::Name,
    object::Object,
    record::{FanOut, OutputRecord},
};
use serde::{Deserialize, Serialize};

/// The object that makes an attempt's outputs exist; created once, never replaced.
///
/// It repeats what consumers need, so that one read tells whether, where and what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The store: a commit that was copied elsewhere is found out.
    pub store: StoreId,
    /// What was committed.
    pub shard: ShardId,
    /// How many shards its step has.
    pub shard_count: u32,
    /// The attempt that counts.
    pub attempt: AttemptId,
    /// BLAKE3 of the step record's object.
    pub record: Digest,
    /// When, by the committing host's clock, in nanoseconds since 1970 UTC.
    pub committed_ns: i64,
    /// The outputs, by name.
    pub outputs: Vec<Output>,
    /// Fan-outs whose size it decided.
    pub fan_outs: Vec<FanOut>,
    /// Why the outputs are made from less than everything: empty in the normal case, and inherited by every
    /// step downstream.
    pub degraded: Vec<String>,
    /// Later additions.
    pub extensions: Extensions,
}

/// A committed artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Its name.
    pub name: Name,
    /// Its manifest.
    pub manifest: Digest,
    /// Its digest.
    pub digest: Digest,
    /// How it is meant to be used.
    pub shape: Shape,
    /// What its content is, where that is known.
    pub format: Option<String>,
    /// Its size.
    pub totals: Totals,
}

impl From<&OutputRecord> for Output {
    fn from(stored: &OutputRecord) -> Self {
        Self {
            name: stored.name.clone(),
            manifest: stored.manifest,
            digest: stored.digest,
            shape: stored.shape,
            format: stored.format.clone(),
            totals: stored.totals,
        }
    }
}

impl Commit {
    /// The output of that name.
    pub fn output(&self, name: &Name) -> Option<&Output> {
        self.outputs.iter().find(|output| output.name == *name)
    }
}

impl Object for Commit {
    const KIND: Kind = Kind::Commit;
    const PACKING: Packing = Packing::Zstd;

    fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    fn check(&self) -> Result<(), &'static str> {
        if !self.outputs.is_sorted_by(|a, b| a.name < b.name) {
            return Err("outputs are not in order, or one name stands twice");
        }
        if !(Shard { index: self.shard.index, count: self.shard_count }).is_valid() {
            return Err("the shard's index is not below its count, or the count is over the limit");
        }
        FanOut::check_all(&self.fan_outs)
    }
}
