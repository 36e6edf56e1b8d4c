//! What there is in a store: pipelines, runs, steps, shards, attempts.
//!
//! A listing is data from a medium: segments that no name gives are passed over, and none is used as a path.

use super::{Entry, Store, StoreError};
use kale_protocol::{
    id::AttemptId,
    layout::{self, Key, RunId, ShardId},
    marker::Run,
    name::Name,
};

/// A run in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEntry {
    /// The run.
    pub run: Name,
    /// When its first step started, in nanoseconds since 1970 UTC.
    pub created_ns: i64,
}

/// All pipelines, by name.
pub fn pipelines(store: &Store) -> Result<Vec<Name>, StoreError> {
    names(store, &layout::runs())
}

/// All runs of a pipeline, the oldest first. A run whose first sign cannot be read counts as the oldest.
pub fn runs(store: &Store, pipeline: &Name) -> Result<Vec<RunEntry>, StoreError> {
    let mut runs = Vec::new();
    for run in names(store, &layout::pipeline(pipeline))? {
        let id = RunId { pipeline: pipeline.clone(), run };
        let created_ns = match store.get::<Run>(&layout::run(&id)) {
            Ok(first) => first.created_ns,
            Err(error @ StoreError::Io { .. }) => return Err(error),
            Err(_) => 0,
        };
        runs.push(RunEntry { run: id.run, created_ns });
    }
    runs.sort_by(|a, b| (a.created_ns, &a.run).cmp(&(b.created_ns, &b.run)));
    Ok(runs)
}

/// All steps of a run that have begun, by name; in a bucket, those of which an attempt has ended.
pub fn steps(store: &Store, run: &RunId) -> Result<Vec<Name>, StoreError> {
    names(store, &layout::run_folder(run))
}

/// All shards of a step that have begun, in order; in a bucket, those of which an attempt has ended.
pub fn shards(store: &Store, run: &RunId, step: &Name) -> Result<Vec<u32>, StoreError> {
    let parse = |segment: &str| segment.parse().ok().filter(|index: &u32| index.to_string() == segment);
    folders(store, &layout::step(run, step), parse)
}

/// All attempts at a shard that have ended, in order of their start.
pub fn attempts(store: &Store, shard: &ShardId) -> Result<Vec<AttemptId>, StoreError> {
    folders(store, &layout::shard(shard), |segment| segment.parse().ok())
}

fn names(store: &Store, folder: &Key) -> Result<Vec<Name>, StoreError> {
    folders(store, folder, |segment| Name::from_segment(segment).ok())
}

fn folders<T: Ord>(store: &Store, folder: &Key, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, StoreError> {
    let mut found: Vec<T> = store
        .transport()
        .list(folder)?
        .iter()
        .filter_map(|entry| match entry {
            Entry::Folder(segment) => parse(segment),
            Entry::Object(_) => None,
        })
        .collect();
    found.sort();
    Ok(found)
}
