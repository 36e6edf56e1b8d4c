//! The command line as typed.

use crate::{
    marshal::Compress,
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
    /// Make a folder a store.
    Init(InitArgs),
    /// Store a file, a folder or standard input as an artifact.
    Save(SaveArgs),
    /// Restore an artifact to a path or to standard output.
    Load(LoadArgs),
    /// Within a step: say how many shards a step downstream has.
    FanOut(FanOutArgs),
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
    /// Copy this binary to a path, or into a folder: what an init container does.
    Install(InstallArgs),
    /// Put the agent in front of every step of a manifest: Argo, KFP v2, Tekton, Kubernetes, compose.
    Inject(Box<InjectArgs>),
}

/// Which store, and where addresses without a pipeline or run are.
#[derive(Clone, Debug, Args)]
pub(super) struct StoreArgs {
    /// The store: a path or file:// URL; without it, the nearest .kale folder upwards.
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
pub(super) enum OnChangedArg {
    /// An error that names the differences.
    Fail,
    /// What is committed is taken as it is.
    Accept,
}

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// The folder [default: .kale].
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
    /// Of this attempt [default: the committed one, else the last].
    #[arg(long)]
    pub(super) attempt: Option<AttemptId>,
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

#[derive(Debug, Args)]
pub(super) struct InstallArgs {
    /// Where to: a file, or a folder that gets kale-agent.
    pub(super) dest: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct InjectArgs {
    /// The manifest, or - for standard input.
    pub(super) file: PathBuf,
    /// Where the result goes: a file, which may be the same one, or - [default: standard output].
    #[arg(long, short, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// Show what would change, and write nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Take the agent out again.
    #[arg(long)]
    pub(super) remove: bool,
    /// The image with the agent in it, at /kale-agent.
    #[arg(long, env = "KALE_AGENT_IMAGE", value_name = "IMAGE")]
    pub(super) image: Option<String>,
    /// The store as steps see it [default: where --store-claim or --store-host mounts it].
    #[arg(long, value_name = "URL")]
    pub(super) store: Option<String>,
    /// The claim (in compose: the named volume) with the store, and where it is mounted [default: /kale/store].
    #[arg(long, value_name = "CLAIM[:PATH]")]
    pub(super) store_claim: Option<String>,
    /// The same for a folder of the host.
    #[arg(long, value_name = "FOLDER[:PATH]", conflicts_with = "store_claim")]
    pub(super) store_host: Option<String>,
    /// A secret with credentials as variables: all of its keys, or these.
    #[arg(long = "secret", value_name = "NAME[:KEY,...]")]
    pub(super) secrets: Vec<String>,
    /// The pipeline [default: the manifest's name].
    #[arg(long, value_name = "NAME")]
    pub(super) pipeline: Option<Name>,
    /// The run, in the engine's words [default: what the engine calls this execution].
    #[arg(long, value_name = "TEXT")]
    pub(super) run: Option<String>,
    /// A step that stays as it is.
    #[arg(long = "skip", value_name = "STEP")]
    pub(super) skip: Vec<String>,
    /// A YAML file with inputs, outputs and more of steps.
    #[arg(long, value_name = "FILE")]
    pub(super) map: Option<PathBuf>,
    /// A YAML file that says what images run: name, entrypoint, cmd.
    #[arg(long, value_name = "FILE")]
    pub(super) image_index: Option<PathBuf>,
    /// An OCI layout or an archive of `docker save` to look images up in; with a name, it is that image.
    #[arg(long = "image-archive", value_name = "[IMAGE=]FILE")]
    pub(super) image_archives: Vec<String>,
    /// Do not ask the container engine of this machine about images.
    #[arg(long)]
    pub(super) no_engine: bool,
}
