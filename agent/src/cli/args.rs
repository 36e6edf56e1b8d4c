//! The command line as typed.

mod run;

pub(super) use run::{DataArgs, DedupArg, LogArg, OnChangedArg, OnCommittedArg, OnFailureArg, RunArgs, SyncArg};

use crate::inject::Platform;
use clap::{Args, Parser, Subcommand, ValueEnum};
use kale_protocol::{address::Address, id::AttemptId, id::StoreId, name::Name};
use std::path::PathBuf;

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
    /// Copy this binary to a path, or into a folder: what an init container does.
    Install(InstallArgs),
    /// Put the agent in front of every step of a manifest: Argo, KFP v2, Tekton, Kubernetes, compose.
    Inject(Box<InjectArgs>),
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
    /// Ask an image's registry, over the network, where nothing else knows what the image runs.
    #[arg(long)]
    pub(super) registry: bool,
    /// The platform whose image is meant where there are several [default: linux on this machine's processor].
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(super) platform: Option<Platform>,
}
