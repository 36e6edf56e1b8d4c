//! The command line as typed.

use crate::{
    marshal::Compress,
    step::policy::AcceptedCodes,
    step::settings::{Dedup, FanOutSetting, InputSetting},
    store::Sync,
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use kale_protocol::{address::Address, id::AttemptId, id::StoreId, layout::Shard, name::Name};
use std::{ffi::OsString, num::NonZeroUsize, path::PathBuf, time::Duration};

/// Entrypoint for pipeline steps: restores inputs, runs the step as its init, stores what it made, commits once.
#[derive(Debug, Parser)]
#[command(name = "kale-agent", version, disable_help_subcommand = true, max_term_width = 110)]
pub(super) struct Cli {
    /// Write JSON for machines instead of tables for people.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Show no progress and no remarks.
    #[arg(long, short, global = true)]
    pub(super) quiet: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a command as a step: restore its inputs, be its init, store and commit its outputs.
    Run(Box<RunArgs>),
    /// Make a folder or a prefix of a bucket a store.
    Init(InitArgs),
    /// Store a file, a folder or standard input as an artifact.
    Save(SaveArgs),
    /// Restore an artifact to a path or to standard output.
    Load(LoadArgs),
    /// Within a step: say how many shards a step downstream has.
    FanOut(FanOutArgs),
    /// Say how a step goes on that is held after a failure.
    Resume(ResumeArgs),
    /// List the runs of a pipeline, or of all.
    Runs(RunsArgs),
    /// List what is in a store, a run, a step or an artifact.
    Ls(AddressArgs),
    /// Show everything about a run, a step or an artifact.
    Show(AddressArgs),
    /// Write a file of an artifact to standard output.
    Cat(AddressArgs),
    /// Show the beginning of an artifact by its format: tables, arrays, text.
    Head(HeadArgs),
    /// Show what a step wrote to stdout and stderr.
    Log(LogArgs),
    /// Compare two artifacts, two steps or two runs.
    Diff(DiffArgs),
    /// Read everything again and check it against its digests.
    Verify(VerifyArgs),
}

/// Which store, and where addresses without a pipeline or run are.
#[derive(Clone, Debug, Args)]
pub(super) struct StoreArgs {
    /// The store: a path, file://, s3://, gs:// or az:// URL; without it, the nearest .kale folder upwards.
    #[arg(long, env = "KALE_STORE", value_name = "URL")]
    pub(super) store: Option<String>,
    /// The id that the store must have.
    #[arg(long, env = "KALE_STORE_ID", value_name = "ID")]
    pub(super) store_id: Option<StoreId>,
    /// The pipeline meant where an address names none.
    #[arg(long, env = "KALE_PIPELINE", value_name = "NAME")]
    pub(super) pipeline: Option<Name>,
    /// The run meant where an address names none.
    #[arg(long, env = "KALE_RUN", value_name = "NAME")]
    pub(super) run: Option<Name>,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// The step's name.
    #[arg(long, env = "KALE_STEP", value_name = "NAME")]
    pub(super) step: Option<Name>,
    /// Which of the step's shards this is: I/N, I from 0.
    #[arg(long, env = "KALE_SHARD", value_name = "I/N")]
    pub(super) shard: Option<Shard>,
    /// An input: prep:table, train[3]:model, train[*]:model (all shards), pipeline/run/step:artifact.
    #[arg(long = "in", value_name = "[NAME=]REF[=PATH]")]
    pub(super) inputs: Vec<InputSetting>,
    /// An output that must be there when the command has ended.
    #[arg(long = "out", value_name = "NAME[=PATH]")]
    pub(super) outputs: Vec<String>,
    /// An output that may be missing.
    #[arg(long = "out-optional", value_name = "NAME[=PATH]")]
    pub(super) outputs_optional: Vec<String>,
    /// A step downstream whose number of shards this step decides.
    #[arg(long = "fan-out", value_name = "STEP[=N]")]
    pub(super) fan_outs: Vec<FanOutSetting>,
    /// A parameter: recorded, part of the step's identity, given as KALE_PARAM_<NAME>.
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub(super) params: Vec<String>,
    /// How many producers a fan-in must have.
    #[arg(long, env = "KALE_EXPECT", value_name = "N")]
    pub(super) expect: Option<u32>,
    /// Wait for inputs that are not committed yet, at most this long.
    #[arg(long, env = "KALE_WAIT", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(super) wait: Option<Duration>,
    /// Stop the command when it runs longer than this.
    #[arg(long, env = "KALE_TIMEOUT", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(super) timeout: Option<Duration>,
    /// How long the command may take to end after TERM, before KILL [default: 30s].
    #[arg(long, env = "KALE_GRACE", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(super) grace: Option<Duration>,
    /// Exit codes of the command that count as success, such as 3,10-12.
    #[arg(long, env = "KALE_ACCEPT_CODES", value_name = "CODES")]
    pub(super) accept_codes: Option<AcceptedCodes>,
    /// Try the command again when it fails, at most so many times; each try is an attempt of its own [default: 0].
    #[arg(long, env = "KALE_RETRIES", value_name = "N")]
    pub(super) retries: Option<u32>,
    /// How long to pause before the first of them; twice as long before each further one, at most 5min [default: 1s].
    #[arg(long, env = "KALE_RETRY_PAUSE", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(super) retry_pause: Option<Duration>,
    /// What becomes of outputs when the command fails [default: discard].
    #[arg(long, env = "KALE_ON_FAILURE", value_name = "WHAT")]
    pub(super) on_failure: Option<OnFailureArg>,
    /// When the command fails, hold the step as it is for somebody to look at, at most this long: see `resume`.
    #[arg(long, env = "KALE_PAUSE_ON_FAILURE", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(super) pause_on_failure: Option<Duration>,
    /// The agent's own folder for this step [default: a temporary one].
    #[arg(long, env = "KALE_DIR", value_name = "PATH")]
    pub(super) dir: Option<PathBuf>,
    /// Whether stdout and stderr are captured on their way through [default: capture].
    #[arg(long, env = "KALE_LOG", value_name = "HOW")]
    pub(super) log: Option<LogArg>,
    /// When another attempt has committed: succeed, or fail with code 196 [default: succeed].
    #[arg(long, env = "KALE_ON_COMMITTED", value_name = "WHAT")]
    pub(super) on_committed: Option<OnCommittedArg>,
    /// When what is committed is other work than this: fail with code 196, or accept it [default: fail].
    #[arg(long, env = "KALE_ON_CHANGED", value_name = "WHAT")]
    pub(super) on_changed: Option<OnChangedArg>,
    /// The most memory, in bytes, that `save` in Python may hand over before it is stored [default: half of what the
    /// container still allows].
    #[arg(long, env = "KALE_HAND_OVER", value_name = "BYTES")]
    pub(super) hand_over: Option<u64>,
    #[command(flatten)]
    pub(super) data: DataArgs,
    /// A YAML or JSON file with the same settings; flags and variables win over it.
    #[arg(long, env = "KALE_SPEC", value_name = "FILE")]
    pub(super) spec: Option<PathBuf>,
    /// The command and its arguments.
    #[arg(last = true, value_name = "CMD")]
    pub(super) command: Vec<OsString>,
}

/// How data is moved.
#[derive(Clone, Debug, Args)]
pub(super) struct DataArgs {
    /// Compression: auto, never, zstd or zstd:LEVEL [default: auto].
    #[arg(long, env = "KALE_COMPRESS", value_name = "HOW")]
    pub(super) compress: Option<Compress>,
    /// Whether content that the store has is referred to, or stored again: `never` after damage [default: auto].
    #[arg(long, env = "KALE_DEDUP", value_name = "HOW")]
    pub(super) dedup: Option<DedupArg>,
    /// Whether what is stored is made to outlive a crash of the machine: `never` for stores that do not outlive it
    /// themselves, such as a RAM disk [default: always].
    #[arg(long, env = "KALE_SYNC", value_name = "WHEN")]
    pub(super) sync: Option<SyncArg>,
    /// Threads that move data [default: one a core that the container may use].
    #[arg(long, env = "KALE_THREADS", value_name = "N")]
    pub(super) threads: Option<NonZeroUsize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum DedupArg {
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
pub(super) enum SyncArg {
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
pub(super) enum LogArg {
    /// Passed through, and kept with the attempt.
    Capture,
    /// The command has the agent's own stdout and stderr.
    Inherit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum OnCommittedArg {
    /// The step is done.
    Succeed,
    /// An error.
    Fail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum OnFailureArg {
    /// What step code saved is kept with the failed attempt, and nothing else.
    Discard,
    /// What lies at the outputs' paths, too: to look at, never committed.
    KeepOutputs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum OnChangedArg {
    /// An error that names the differences.
    Fail,
    /// What is committed is taken as it is.
    Accept,
}

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// The folder, or the URL of a bucket, s3://bucket/prefix [default: .kale].
    pub(super) folder: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct SaveArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// The artifact's name.
    pub(super) name: Name,
    /// A file or folder, or - for standard input.
    #[arg(default_value = "-")]
    pub(super) path: PathBuf,
    /// What the content is, such as npy or csv [default: seen from the content].
    #[arg(long)]
    pub(super) format: Option<String>,
    /// Mark it as a value that a program saved as an object.
    #[arg(long)]
    pub(super) value: bool,
    /// Outside of a step: the step that the artifact is committed as [default: the artifact's name].
    #[arg(long, env = "KALE_STEP", value_name = "NAME")]
    pub(super) step: Option<Name>,
    #[command(flatten)]
    pub(super) data: DataArgs,
}

#[derive(Debug, Args)]
pub(super) struct LoadArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// A declared input, or an artifact such as prep:table.
    pub(super) reference: String,
    /// Outside of a step: of this attempt, a failed one too [default: the committed one].
    #[arg(long, value_name = "ATTEMPT")]
    pub(super) attempt: Option<AttemptId>,
    /// Where to put it, or - for standard output [default: within a step the agent chooses and says where].
    pub(super) path: Option<PathBuf>,
    #[command(flatten)]
    pub(super) data: DataArgs,
}

#[derive(Debug, Args)]
pub(super) struct FanOutArgs {
    /// The step that is fanned out.
    pub(super) step: Name,
    /// How many shards it has.
    pub(super) count: u32,
}

#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    /// How.
    pub(super) how: ResumeArg,
    /// The socket of the step's agent, as the step has said it [default: KALE_SOCKET].
    #[arg(long, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ResumeArg {
    /// Try the command again, as another attempt.
    Retry,
    /// Take its outputs as they are now, as if it had done well.
    Continue,
    /// Let it fail.
    Abort,
}

#[derive(Debug, Args)]
pub(super) struct RunsArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// The pipeline [default: all].
    pub(super) name: Option<Name>,
}

#[derive(Debug, Args)]
pub(super) struct AddressArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// pipeline, pipeline/run, pipeline/run/step[shard], or …:artifact/path.
    #[arg(default_value = "")]
    pub(super) address: Address,
    /// Of this attempt at the step, a failed one too [default: the committed one; of logs and records, else the last].
    #[arg(long, value_name = "ATTEMPT")]
    pub(super) attempt: Option<AttemptId>,
}

#[derive(Debug, Args)]
pub(super) struct HeadArgs {
    #[command(flatten)]
    pub(super) address: AddressArgs,
    /// How many rows or lines.
    #[arg(short = 'n', long, default_value_t = 10)]
    pub(super) rows: usize,
}

#[derive(Debug, Args)]
pub(super) struct LogArgs {
    #[command(flatten)]
    pub(super) address: AddressArgs,
    /// Put the time and the stream in front of each line.
    #[arg(long, short = 't')]
    pub(super) timestamps: bool,
}

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// One side.
    pub(super) left: Address,
    /// The other side.
    pub(super) right: Address,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    pub(super) address: AddressArgs,
    #[command(flatten)]
    pub(super) data: DataArgs,
}
