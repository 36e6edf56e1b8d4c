//! What a step is told to do, once flags, environment and spec file have been brought together.

use super::{StepError, policy::FailurePolicy, supervise::StopSignal};
use kale_protocol::{address::Address, id::StoreId, layout::Shard, name::Name};
use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, str::FromStr, time::Duration};

/// Everything `kale-agent run` was told, each value parsed and none checked against another.
#[derive(Clone, Debug)]
pub struct StepSettings {
    /// The command and its arguments; not empty.
    pub command: Vec<OsString>,
    /// What becomes of arguments that the kernel does not pass on.
    pub long_args: LongArgs,
    /// The store's location.
    pub store: Option<String>,
    /// The id that the store must have.
    pub store_id: Option<StoreId>,
    /// The pipeline.
    pub pipeline: Option<Name>,
    /// The run.
    pub run: Option<Name>,
    /// The step.
    pub step: Option<Name>,
    /// The shard.
    pub shard: Shard,
    /// Inputs.
    pub inputs: Vec<InputSetting>,
    /// Outputs.
    pub outputs: Vec<OutputSetting>,
    /// Steps whose number of shards this step decides, and that number where it is known beforehand.
    pub fan_outs: Vec<FanOutSetting>,
    /// Named parameters.
    pub params: BTreeMap<String, String>,
    /// How many producers a fan-in must have, where the settings say so.
    pub expect: Option<u32>,
    /// How long to wait for inputs; `None`: they must be there.
    pub wait: Option<Duration>,
    /// How long the command may run.
    pub timeout: Option<Duration>,
    /// How long the command may take to end after TERM.
    pub grace: Duration,
    /// The signal that an engine stops the step with, if it is none that asks for an end anyway.
    pub stop_signal: Option<StopSignal>,
    /// What to do about a command that fails.
    pub policy: FailurePolicy,
    /// The agent's own folder for this step.
    pub dir: Option<PathBuf>,
    /// Whether the command's output is captured.
    pub log: LogPolicy,
    /// What a commit by someone else means.
    pub on_committed: OnCommitted,
    /// What a commit of other work means.
    pub on_changed: OnChanged,
    /// Threads that move data; `None`: as many as can run at once here.
    pub threads: Option<std::num::NonZeroUsize>,
    /// The most memory that saves may hand over at a time; `None`: half of what the container still allows.
    pub hand_over: Option<u64>,
    /// Whether content that the store has is referred to.
    pub dedup: Dedup,
    /// Whether what is stored is made to outlive a crash of the machine.
    pub sync: crate::store::Sync,
    /// Whether and how content is compressed.
    pub compress: crate::marshal::Compress,
}

/// Whether the command's output is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogPolicy {
    /// Passed through and kept, up to this many bytes.
    Capture(usize),
    /// The command has the agent's own stdout and stderr.
    Inherit,
}

/// What becomes of an argument that is longer than the kernel passes in one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LongArgs {
    /// The command cannot be started.
    #[default]
    Fail,
    /// The path of a file that holds it is in its place.
    File,
    /// The same with an `@` in front, which many programs read as the content of a file.
    AtFile,
}

impl FromStr for LongArgs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "fail" => Ok(Self::Fail),
            "file" => Ok(Self::File),
            "@file" => Ok(Self::AtFile),
            _ => Err("say fail, file or @file".to_owned()),
        }
    }
}

/// Whether content that the store has already is referred to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dedup {
    /// Content of the step's inputs, and of what this shard committed last, is referred to.
    #[default]
    Auto,
    /// Everything is stored anew: after damage, since what has rotted would be referred to again.
    Never,
}

/// What a commit by another attempt at the same work means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnCommitted {
    /// The step is done.
    #[default]
    Succeed,
    /// An error.
    Fail,
}

/// What a commit of other work means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnChanged {
    /// An error that names the differences.
    #[default]
    Fail,
    /// What is committed is taken as it is.
    Accept,
}

/// An input as given: `REF[=PATH]` or `NAME=REF[=PATH]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputSetting {
    /// Its name for this step: the artifact's, if no other was given.
    pub name: Name,
    /// The reference, as typed.
    pub reference: String,
    /// What it refers to; its step and artifact are given.
    pub address: Address,
    /// Where to put it.
    pub path: Option<PathBuf>,
}

/// An output as given: `NAME[=PATH]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSetting {
    /// Its name.
    pub name: Name,
    /// Whether it must be there.
    pub required: bool,
    /// Where the command leaves it.
    pub path: Option<PathBuf>,
}

/// A fan-out as given: `STEP[=N]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FanOutSetting {
    /// The step that is fanned out.
    pub step: Name,
    /// How many shards it has; else step code says so.
    pub count: Option<u32>,
}

impl FromStr for InputSetting {
    type Err = String;

    /// Left of the first `=` stands a reference if it has a colon, else a name for the input.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, rest) = match text.split_once('=') {
            Some((first, rest)) => (first, Some(rest)),
            None => (text, None),
        };
        let (name, reference, path) = match rest {
            None => (None, first, None),
            Some(path) if first.contains(':') => (None, first, Some(path)),
            Some(rest) => match rest.split_once('=') {
                Some((reference, path)) => (Some(first), reference, Some(path)),
                None => (Some(first), rest, None),
            },
        };
        let address: Address = reference.parse().map_err(|e| format!("{e}"))?;
        let (Some(_), Some(artifact)) = (&address.step, &address.artifact) else {
            return Err(format!("'{reference}' names no step and artifact, such as prep:table"));
        };
        let name = match name {
            Some(name) => name.parse().map_err(|e| format!("{e}"))?,
            None => artifact.clone(),
        };
        let path = path.map(local_path).transpose()?;
        Ok(Self { name, reference: reference.to_owned(), address, path })
    }
}

impl OutputSetting {
    /// Reads `NAME[=PATH]`.
    pub fn parse(text: &str, required: bool) -> Result<Self, String> {
        let (name, path) = match text.split_once('=') {
            Some((name, path)) => (name, Some(local_path(path)?)),
            None => (text, None),
        };
        Ok(Self { name: name.parse().map_err(|e| format!("{e}"))?, required, path })
    }
}

impl FromStr for FanOutSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (step, count) = match text.split_once('=') {
            Some((step, count)) => (step, Some(count)),
            None => (text, None),
        };
        let count = match count.map(str::parse::<u32>) {
            None => None,
            Some(Ok(count)) if (1..=kale_protocol::limits::SHARDS).contains(&count) => Some(count),
            Some(_) => return Err(format!("'{text}' has no possible number of shards: 1 to 1048576")),
        };
        Ok(Self { step: step.parse().map_err(|e| format!("{e}"))?, count })
    }
}

fn local_path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("the path after '=' is empty".to_owned()) } else { Ok(PathBuf::from(text)) }
}

impl StepSettings {
    /// Whether anything of it needs a store.
    pub fn needs_store(&self) -> bool {
        self.store.is_some()
            || !self.inputs.is_empty()
            || !self.outputs.is_empty()
            || !self.fan_outs.is_empty()
            || self.step.is_some()
    }

    /// Pipeline, run and step, which a store needs; an error names all that are missing.
    pub(crate) fn identity(&self) -> Result<(Name, Name, Name), StepError> {
        match (&self.pipeline, &self.run, &self.step) {
            (Some(pipeline), Some(run), Some(step)) => Ok((pipeline.clone(), run.clone(), step.clone())),
            (pipeline, run, step) => {
                let missing: Vec<&str> = [
                    pipeline.is_none().then_some("--pipeline (KALE_PIPELINE)"),
                    run.is_none().then_some("--run (KALE_RUN)"),
                    step.is_none().then_some("--step (KALE_STEP)"),
                ]
                .into_iter()
                .flatten()
                .collect();
                Err(StepError::settings(
                    format!("a step with a store needs to know which step it is: {} missing", missing.join(", ")),
                    "give them as flags or variables, or leave out store, inputs and outputs for a plain init",
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_in_every_form() {
        let read = |text: &str| text.parse::<InputSetting>().unwrap();
        assert_eq!(read("prep:train").name.as_str(), "train");
        let placed = read("prep:train=/data/x=y");
        assert_eq!((placed.name.as_str(), placed.path.unwrap()), ("train", PathBuf::from("/data/x=y")));
        let named = read("scores=train[*]:metrics");
        assert_eq!((named.name.as_str(), named.reference.as_str(), named.path), ("scores", "train[*]:metrics", None));
        let both = read("scores=train[*]:metrics=/m");
        assert_eq!((both.name.as_str(), both.path.unwrap()), ("scores", PathBuf::from("/m")));
        for bad in ["train", "x=train", "prep:", "prep:train=", "a/b=prep:train"] {
            assert!(bad.parse::<InputSetting>().is_err(), "{bad}");
        }
    }

    #[test]
    fn fan_outs() {
        assert_eq!("train=12".parse::<FanOutSetting>().unwrap().count, Some(12));
        assert_eq!("train".parse::<FanOutSetting>().unwrap().count, None);
        for bad in ["train=0", "train=x", "=3", "train=2000000"] {
            assert!(bad.parse::<FanOutSetting>().is_err(), "{bad}");
        }
    }
}
