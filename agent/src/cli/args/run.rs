//! What `run` is told, and how data is moved.

use super::StoreArgs;
use crate::{
    marshal::Compress,
    step::{
        policy::AcceptedCodes,
        settings::{Dedup, FanOutSetting, InputSetting, LongArgs},
        supervise::StopSignal,
    },
    store::Sync,
};
use clap::{Args, ValueEnum};
use kale_protocol::{layout::Shard, name::Name};
use std::{ffi::OsString, num::NonZeroUsize, path::PathBuf, time::Duration};

#[derive(Debug, Args)]
pub(in crate::cli) struct RunArgs {
    #[command(flatten)]
    pub(in crate::cli) store: StoreArgs,
    /// The step's name.
    #[arg(long, env = "KALE_STEP", value_name = "NAME")]
    pub(in crate::cli) step: Option<Name>,
    /// Which of the step's shards this is: I/N, I from 0.
    #[arg(long, env = "KALE_SHARD", value_name = "I/N")]
    pub(in crate::cli) shard: Option<Shard>,
    /// An input: prep:table, train[3]:model, train[*]:model (all shards), pipeline/run/step:artifact.
    #[arg(long = "in", value_name = "[NAME=]REF[=PATH]")]
    pub(in crate::cli) inputs: Vec<InputSetting>,
    /// An output that must be there when the command has ended.
    #[arg(long = "out", value_name = "NAME[=PATH]")]
    pub(in crate::cli) outputs: Vec<String>,
    /// An output that may be missing.
    #[arg(long = "out-optional", value_name = "NAME[=PATH]")]
    pub(in crate::cli) outputs_optional: Vec<String>,
    /// A step downstream whose number of shards this step decides.
    #[arg(long = "fan-out", value_name = "STEP[=N]")]
    pub(in crate::cli) fan_outs: Vec<FanOutSetting>,
    /// A parameter: recorded, part of the step's identity, given as KALE_PARAM_<NAME>.
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub(in crate::cli) params: Vec<String>,
    /// How many producers a fan-in must have.
    #[arg(long, env = "KALE_EXPECT", value_name = "N")]
    pub(in crate::cli) expect: Option<u32>,
    /// Wait for inputs that are not committed yet, at most this long.
    #[arg(long, env = "KALE_WAIT", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(in crate::cli) wait: Option<Duration>,
    /// Stop the command when it runs longer than this.
    #[arg(long, env = "KALE_TIMEOUT", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(in crate::cli) timeout: Option<Duration>,
    /// How long the command may take to end after TERM, before KILL [default: 30s].
    #[arg(long, env = "KALE_GRACE", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(in crate::cli) grace: Option<Duration>,
    /// A further signal that asks for an end, beside TERM, INT, QUIT and HUP: the image's STOPSIGNAL, such as USR1.
    #[arg(long, env = "KALE_STOP_SIGNAL", value_name = "SIGNAL")]
    pub(in crate::cli) stop_signal: Option<StopSignal>,
    /// Which keys `inject` wrote out beside this command, so that its `--remove` can tell them: without effect.
    #[arg(long = "written-out", value_name = "KEYS", hide = true)]
    pub(in crate::cli) _written_out: Option<String>,
    /// Exit codes of the command that count as success, such as 3,10-12.
    #[arg(long, env = "KALE_ACCEPT_CODES", value_name = "CODES")]
    pub(in crate::cli) accept_codes: Option<AcceptedCodes>,
    /// Try the command again when it fails, at most so many times; each try is an attempt of its own [default: 0].
    #[arg(long, env = "KALE_RETRIES", value_name = "N")]
    pub(in crate::cli) retries: Option<u32>,
    /// How long to pause before the first of them; twice as long before each further one, at most 5min [default: 1s].
    #[arg(long, env = "KALE_RETRY_PAUSE", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(in crate::cli) retry_pause: Option<Duration>,
    /// What becomes of outputs when the command fails [default: discard].
    #[arg(long, env = "KALE_ON_FAILURE", value_name = "WHAT")]
    pub(in crate::cli) on_failure: Option<OnFailureArg>,
    /// When the command fails, hold the step as it is for somebody to look at, at most this long: see `resume`.
    #[arg(long, env = "KALE_PAUSE_ON_FAILURE", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(in crate::cli) pause_on_failure: Option<Duration>,
    /// The agent's own folder for this step [default: a temporary one].
    #[arg(long, env = "KALE_DIR", value_name = "PATH")]
    pub(in crate::cli) dir: Option<PathBuf>,
    /// Whether stdout and stderr are captured on their way through [default: capture].
    #[arg(long, env = "KALE_LOG", value_name = "HOW")]
    pub(in crate::cli) log: Option<LogArg>,
    /// When another attempt has committed: succeed, or fail with code 196 [default: succeed].
    #[arg(long, env = "KALE_ON_COMMITTED", value_name = "WHAT")]
    pub(in crate::cli) on_committed: Option<OnCommittedArg>,
    /// When what is committed is other work than this: fail with code 196, or accept it [default: fail].
    #[arg(long, env = "KALE_ON_CHANGED", value_name = "WHAT")]
    pub(in crate::cli) on_changed: Option<OnChangedArg>,
    /// The most memory, in bytes, that `save` in Python may hand over before it is stored [default: half of what the
    /// container still allows].
    #[arg(long, env = "KALE_HAND_OVER", value_name = "BYTES")]
    pub(in crate::cli) hand_over: Option<u64>,
    #[command(flatten)]
    pub(in crate::cli) data: DataArgs,
    /// A YAML or JSON file with the same settings; flags and variables win over it.
    #[arg(long, env = "KALE_SPEC", value_name = "FILE")]
    pub(in crate::cli) spec: Option<PathBuf>,
    /// A file with more arguments for the command, behind those given here: each ended by a NUL byte, or a list in JSON.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) args_file: Option<PathBuf>,
    /// What becomes of an argument that is longer than the kernel passes in one, 128 KiB: fail, or in its place `file`, the
    /// path of a file that holds it, or `@file` [default: fail].
    #[arg(long, env = "KALE_LONG_ARGS", value_name = "HOW")]
    pub(in crate::cli) long_args: Option<LongArgs>,
    /// The command and its arguments.
    #[arg(last = true, value_name = "CMD")]
    pub(in crate::cli) command: Vec<OsString>,
}

/// How data is moved.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct DataArgs {
    /// Compression: auto (by content, and by how fast the medium was the last time or is in a short trial), never, zstd or
    /// zstd:LEVEL, which compresses numbers, too [default: auto].
    #[arg(long, env = "KALE_COMPRESS", value_name = "HOW")]
    pub(in crate::cli) compress: Option<Compress>,
    /// Whether content that the store has is referred to, or stored again: `never` after damage [default: auto].
    #[arg(long, env = "KALE_DEDUP", value_name = "HOW")]
    pub(in crate::cli) dedup: Option<DedupArg>,
    /// Whether what is stored is made to outlive a crash of the machine: `never` for stores that do not outlive it
    /// themselves, such as a RAM disk [default: always].
    #[arg(long, env = "KALE_SYNC", value_name = "WHEN")]
    pub(in crate::cli) sync: Option<SyncArg>,
    /// Threads that move data [default: one a core that the container may use].
    #[arg(long, env = "KALE_THREADS", value_name = "N")]
    pub(in crate::cli) threads: Option<NonZeroUsize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::cli) enum DedupArg {
    /// Against the step's inputs and what the shard committed last.
    Auto,
    /// Everything is stored anew.
    Never,
}

impl From<DedupArg> for Dedup {
    fn from(typed: DedupArg) -> Self {
        match typed {
            DedupArg::Auto => Self::Auto,
            DedupArg::Never => Self::Never,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::cli) enum SyncArg {
    /// Everything, before anything refers to it.
    Always,
    /// The system writes when it likes.
    Never,
}

impl From<SyncArg> for Sync {
    fn from(typed: SyncArg) -> Self {
        match typed {
            SyncArg::Always => Self::Always,
            SyncArg::Never => Self::Never,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::cli) enum LogArg {
    /// Passed through, and kept with the attempt.
    Capture,
    /// The command has the agent's own stdout and stderr.
    Inherit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::cli) enum OnCommittedArg {
    /// The step is done.
    Succeed,
    /// An error.
    Fail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::cli) enum OnFailureArg {
    /// What step code saved is kept with the failed attempt, and nothing else.
    Discard,
    /// What lies at the outputs' paths, too: to look at, never committed.
    KeepOutputs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::cli) enum OnChangedArg {
    /// An error that names the differences.
    Fail,
    /// What is committed is taken as it is.
    Accept,
}
