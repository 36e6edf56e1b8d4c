//! Brings an artifact, or a part of it, into place: all of it or nothing, every chunk verified, never outside its target.

mod clone;
mod file;
mod folders;
mod plan;
mod staging;
mod task;

use super::{ManifestReader, MarshalError, pool};
use crate::{
    report::{Monitor, Phase},
    store::Transport,
};
use kale_protocol::{digest::Digest, manifest::What, path::ArtifactPath};
use staging::Staging;
use std::path::Path;

/// How to restore.
#[derive(Clone, Copy, Debug)]
pub struct RestoreOptions {
    /// How many threads read, decode and hash; at least one does.
    pub threads: usize,
    /// When cloned content is verified.
    pub verify: Verify,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self { threads: pool::cores(), verify: Verify::Now }
    }
}

/// When content is verified that is cloned, not copied; what is copied is always verified on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Before it is put into place.
    #[default]
    Now,
    /// By the caller, who owes it wherever [`Restored::unverified_bytes`] is not 0: [`verify_part`](super::verify_part).
    Later,
}

/// What was restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Regular files, hard links not counted.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Symbolic links, hard links and FIFOs.
    pub others: u64,
    /// Bytes of all regular files.
    pub raw_bytes: u64,
    /// Bytes among them that were cloned and that nobody has verified yet: 0 with [`Verify::Now`].
    pub unverified_bytes: u64,
}

/// Restores the node at `from`, and all below it, to `target`.
///
/// Everything is made under a random name beside the target and renamed to it as the last act; on an error nothing
/// is left. The target must be absent, or an empty folder where a folder is restored. Folders above it are made.
/// Restored files are not synced: inputs of a step are scratch.
///
/// Where the store lies on the target's file system, and that shares blocks between files, long raw content is cloned.
/// A clone is the step's own: what it writes there never reaches the store.
///
/// A hard link whose file lies outside `from` is restored as a file of its own.
pub fn restore(
    transport: &dyn Transport,
    manifest: &Digest,
    from: &ArtifactPath,
    target: &Path,
    options: &RestoreOptions,
    monitor: &dyn Monitor,
) -> Result<Restored, MarshalError> {
    let reader = ManifestReader::open(transport, manifest)?;
    let root = reader.find(from)?.ok_or_else(|| reader.missing(from))?;
    let staging = Staging::create(target, matches!(root.what, What::Folder))?;
    let total = from.is_root().then_some(reader.manifest().totals.raw_bytes);
    monitor.begin(Phase::Restore, &target.display().to_string(), total);
    let restored = plan::run(transport, &reader, from, &staging, options, monitor);
    let restored = restored.and_then(|restored| staging.publish().map(|()| restored));
    monitor.end();
    restored
}

#[cfg(test)]
mod cost;
#[cfg(test)]
mod places;
#[cfg(test)]
mod random_trees;
#[cfg(test)]
mod tests;
