//! Which key each object has: pure functions, `docs/formats/layout.md`.

use crate::{
    digest::Digest,
    id::{AttemptId, PackId},
    limits,
    name::Name,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A key: segments joined by `/`, ASCII, made only by this module.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// The key as text, relative to the store's root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its last segment.
    pub fn last(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The key of what lies under a segment that a listing of this key gave; `None` for a segment that
    /// could lead elsewhere, which a listing of a store never has.
    pub fn child(&self, segment: &str) -> Option<Self> {
        let safe = !segment.is_empty()
            && segment != "."
            && segment != ".."
            && segment.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b'\\');
        safe.then(|| Self(if self.0.is_empty() { segment.to_owned() } else { format!("{}/{segment}", self.0) }))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0)
    }
}

/// One of the parallel instances of a step; a step that is not fanned out is shard 0 of 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shard {
    /// Its number, from 0.
    pub index: u32,
    /// How many there are.
    pub count: u32,
}

/// Why a text is no shard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is not a shard: I/N is expected, I from 0 to N-1, N at most 1048576", .0.escape_debug())]
pub struct ShardError(String);

impl Shard {
    /// The only shard of a step that is not fanned out.
    pub const ONLY: Self = Self { index: 0, count: 1 };

    /// Whether the numbers are possible.
    pub const fn is_valid(self) -> bool {
        self.index < self.count && self.count <= limits::SHARDS
    }
}

impl std::str::FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_once('/')
            .and_then(|(index, count)| Some(Self { index: index.parse().ok()?, count: count.parse().ok()? }))
            .filter(|shard| shard.is_valid())
            .ok_or_else(|| ShardError(text.chars().take(80).collect()))
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// A run of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId {
    /// The pipeline.
    pub pipeline: Name,
    /// The run.
    pub run: Name,
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pipeline, self.run)
    }
}

/// A shard of a step in a run, by its number alone: what a commit is the commit of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardId {
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: Name,
    /// The shard's number.
    pub index: u32,
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}[{}]", self.run, self.step, self.index)
    }
}

/// The root of the store.
pub fn root() -> Key {
    Key(String::new())
}

/// The store's marker.
pub fn marker() -> Key {
    Key("kale-store".to_owned())
}

/// All packs.
pub fn packs() -> Key {
    Key("packs".to_owned())
}

/// A pack.
pub fn pack(id: &PackId) -> Key {
    let text = id.to_string();
    Key(format!("packs/{}/{text}", &text[..2]))
}

/// All manifests.
pub fn manifests() -> Key {
    Key("manifests".to_owned())
}

/// A manifest.
pub fn manifest(id: &Digest) -> Key {
    let text = id.to_string();
    Key(format!("manifests/{}/{text}", &text[..2]))
}

/// All runs of all pipelines.
pub fn runs() -> Key {
    Key("runs".to_owned())
}

/// All runs of a pipeline.
pub fn pipeline(name: &Name) -> Key {
    Key(format!("runs/{}", name.to_segment()))
}

/// Everything of a run.
pub fn run_folder(run: &RunId) -> Key {
    Key(format!("{}/{}", pipeline(&run.pipeline), run.run.to_segment()))
}

/// The first sign of a run; no step's name starts with a dot.
pub fn run(run: &RunId) -> Key {
    Key(format!("{}/.run", run_folder(run)))
}

/// All shards of a step.
pub fn step(run: &RunId, step: &Name) -> Key {
    Key(format!("{}/{}", run_folder(run), step.to_segment()))
}

/// Everything of a shard: its attempts and its commit.
pub fn shard(id: &ShardId) -> Key {
    Key(format!("{}/{}", step(&id.run, &id.step), id.index))
}

/// The commit of a shard.
pub fn commit(id: &ShardId) -> Key {
    Key(format!("{}/commit", shard(id)))
}

/// Everything of an attempt.
pub fn attempt(id: &ShardId, attempt: &AttemptId) -> Key {
    Key(format!("{}/{attempt}", shard(id)))
}

/// The step record of an attempt.
pub fn record(id: &ShardId, attempt: &AttemptId) -> Key {
    Key(format!("{}/{attempt}/record", shard(id)))
}

/// What an attempt leaves at once when it is told to end: a step record, which the one of its end stands above.
pub fn stopped(id: &ShardId, attempt: &AttemptId) -> Key {
    Key(format!("{}/{attempt}/stopped", shard(id)))
}

/// What such an attempt had written by then.
pub fn stopped_log(id: &ShardId, attempt: &AttemptId) -> Key {
    Key(format!("{}/{attempt}/stopped-log", shard(id)))
}

/// The captured log of an attempt.
pub fn log(id: &ShardId, attempt: &AttemptId) -> Key {
    Key(format!("{}/{attempt}/log", shard(id)))
}

/// Where a shard was last committed, over all runs of its pipeline.
pub fn hint(id: &ShardId) -> Key {
    Key(format!("hints/{}/{}/{}", id.run.pipeline.to_segment(), id.step.to_segment(), id.index))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard_id() -> ShardId {
        let run = RunId { pipeline: "flights".parse().unwrap(), run: "übung 1".parse().unwrap() };
        ShardId { run, step: "train".parse().unwrap(), index: 3 }
    }

    #[test]
    fn keys_are_format() {
        let attempt_id: AttemptId = "20261124T105627.123Z-1a2b3c4d".parse().unwrap();
        let id = shard_id();
        assert_eq!(pack(&PackId([0xab; 16])).as_str(), format!("packs/ab/{}", "ab".repeat(16)));
        assert_eq!(manifest(&Digest([0xcd; 32])).as_str(), format!("manifests/cd/{}", "cd".repeat(32)));
        assert_eq!(run(&id.run).as_str(), "runs/flights/%C3%BCbung%201/.run");
        assert_eq!(commit(&id).as_str(), "runs/flights/%C3%BCbung%201/train/3/commit");
        assert_eq!(
            record(&id, &attempt_id).as_str(),
            "runs/flights/%C3%BCbung%201/train/3/20261124T105627.123Z-1a2b3c4d/record"
        );
        assert_eq!(
            stopped(&id, &attempt_id).as_str(),
            "runs/flights/%C3%BCbung%201/train/3/20261124T105627.123Z-1a2b3c4d/stopped"
        );
        assert_eq!(hint(&id).as_str(), "hints/flights/train/3");
        assert_eq!(marker().as_str(), "kale-store");
    }

    #[test]
    fn children_cannot_lead_elsewhere() {
        assert_eq!(root().child("runs").unwrap(), runs());
        assert_eq!(runs().child("a").unwrap().as_str(), "runs/a");
        for bad in ["", ".", "..", "a/b", "a b", "ü", "a\0"] {
            assert!(runs().child(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn shards() {
        assert_eq!("3/12".parse(), Ok(Shard { index: 3, count: 12 }));
        for bad in ["12/12", "1/0", "-1/2", "a/b", "3", "0/2000000"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }
}
