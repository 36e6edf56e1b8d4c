//! Step records: what one attempt was told, read, ran and wrote. `docs/formats/step-record.md`.

use crate::{
    digest::Digest,
    envelope::{Kind, Packing},
    extension::Extensions,
    id::{AttemptId, StoreId},
    layout::{Shard, ShardId},
    limits,
    manifest::{Shape, Totals},
    name::Name,
    object::Object,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything about one attempt; stored with every attempt that came as far as having a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The store that it was written to.
    pub store: StoreId,
    /// What it is an attempt at.
    pub shard: ShardId,
    /// How many shards its step has.
    pub shard_count: u32,
    /// The attempt.
    pub attempt: AttemptId,
    /// Version of the agent that wrote it.
    pub agent: String,
    /// Name of the host or pod.
    pub host: String,
    /// What it was told to do.
    pub spec: StepSpec,
    /// The inputs it was given, in the order of the spec.
    pub inputs: Vec<InputRecord>,
    /// What it stored, in the order of saving.
    pub outputs: Vec<OutputRecord>,
    /// Fan-outs whose size it decided.
    pub fan_outs: Vec<FanOut>,
    /// How it ended.
    pub outcome: Outcome,
    /// How the command ended, if it was started.
    pub exit: Option<Exit>,
    /// When each phase ended.
    pub times: Times,
    /// What the command and its descendants used.
    pub usage: Option<Usage>,
    /// The captured log, if it was captured.
    pub log: Option<LogSummary>,
    /// What a reader should know: degraded fan-ins, processes left over, and the like.
    pub notes: Vec<String>,
    /// Later additions.
    pub extensions: Extensions,
}

/// What a step was told to do: what decides whether another attempt is at the same work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepSpec {
    /// The command and its arguments, as raw bytes.
    pub command: Vec<Vec<u8>>,
    /// Named parameters.
    pub params: BTreeMap<String, String>,
    /// Declared inputs, as typed.
    pub inputs: Vec<InputSpec>,
    /// Declared outputs.
    pub outputs: Vec<OutputSpec>,
    /// Steps whose number of shards this step decides.
    pub fan_outs: Vec<Name>,
    /// Its working directory, as raw bytes.
    pub workdir: Vec<u8>,
}

/// A declared input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputSpec {
    /// Its name for this step.
    pub name: Name,
    /// The reference as typed.
    pub reference: String,
    /// Where it was to be restored, as raw bytes; not part of the work's identity.
    pub path: Vec<u8>,
}

/// A declared output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputSpec {
    /// Its name.
    pub name: Name,
    /// Whether the step fails when it is not there.
    pub required: bool,
    /// Where it was expected, as raw bytes; not part of the work's identity.
    pub path: Vec<u8>,
}

/// An input that was given to the command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRecord {
    /// Its name for this step.
    pub name: Name,
    /// The artifacts it was made of: one, or one for each producer of a fan-in.
    pub sources: Vec<Source>,
    /// How many producers there should have been.
    pub expected: u32,
    /// How the producers were brought together, for a fan-in.
    pub policy: Option<Policy>,
}

/// A committed artifact that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The shard that made it.
    pub producer: ShardId,
    /// The attempt that counts there.
    pub attempt: AttemptId,
    /// The artifact's name there.
    pub artifact: Name,
    /// Its manifest.
    pub manifest: Digest,
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub totals: Totals,
}

/// How producers are brought together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Policy {
    /// A folder for each producer, and an index.
    Collect,
}

/// An artifact that was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputRecord {
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
    /// Bytes that were newly written to packs for it.
    pub stored_bytes: u64,
}

/// The committed size of a fan-out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FanOut {
    /// The step that is fanned out.
    pub step: Name,
    /// How many shards it has.
    pub count: u32,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// All went well up to here; whether it counts is for the commit to say.
    Stored,
    /// It failed and committed nothing.
    Failed {
        /// The agent's exit code.
        code: u8,
        /// What failed, where, and what to do about it.
        message: String,
    },
}

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// By itself, with this status.
    Code(u8),
    /// By this signal.
    Signal {
        /// The signal's number.
        signal: u8,
        /// Whether a core was dumped.
        core: bool,
    },
    /// It could not be started, for this `errno`.
    NotStarted {
        /// The error number of `execve` or of what came before it.
        errno: i32,
    },
}

impl Exit {
    /// The status that a shell would report: 128+n for signals, 126 or 127 for a command that did not start.
    pub const fn status(self) -> u8 {
        const ENOENT: i32 = 2;
        match self {
            Self::Code(code) => code,
            Self::Signal { signal, .. } => 128u8.saturating_add(signal),
            Self::NotStarted { errno: ENOENT } => 127,
            Self::NotStarted { .. } => 126,
        }
    }
}

/// When each phase ended, in nanoseconds since 1970 UTC; 0 for a phase that was not reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// The agent started.
    pub started_ns: i64,
    /// All inputs were committed, where it had to wait for them.
    pub ready_ns: i64,
    /// All inputs were in place, and the command started.
    pub restored_ns: i64,
    /// The command ended.
    pub ran_ns: i64,
    /// All outputs were stored.
    pub stored_ns: i64,
}

/// What the command and all descendants that were waited for used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// User CPU time in microseconds.
    pub user_us: u64,
    /// System CPU time in microseconds.
    pub system_us: u64,
    /// Largest resident set of any one process, in bytes.
    pub peak_rss_bytes: u64,
}

/// What was captured of stdout and stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSummary {
    /// Bytes that the command wrote.
    pub written_bytes: u64,
    /// Bytes that were kept: the rest was passed through, and dropped here.
    pub kept_bytes: u64,
}

impl FanOut {
    /// Checks counts against the limit.
    pub(crate) fn check_all(fan_outs: &[Self]) -> Result<(), &'static str> {
        if fan_outs.iter().any(|fan_out| fan_out.count > limits::SHARDS) {
            return Err("a fan-out has more shards than the limit");
        }
        Ok(())
    }
}

impl StepRecord {
    /// The shard with its count.
    pub fn shard(&self) -> Shard {
        Shard { index: self.shard.index, count: self.shard_count }
    }
}

impl Object for StepRecord {
    const KIND: Kind = Kind::StepRecord;
    const PACKING: Packing = Packing::Zstd;

    fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    fn check(&self) -> Result<(), &'static str> {
        if !self.shard().is_valid() {
            return Err("the shard's index is not below its count, or the count is over the limit");
        }
        FanOut::check_all(&self.fan_outs)
    }
}
