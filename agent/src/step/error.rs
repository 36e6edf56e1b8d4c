//! What can go wrong in the life of a step.

use super::supervise::SuperviseError;
use crate::{marshal::MarshalError, store::StoreError};
use kale_protocol::{exit::Code, layout::ShardId};
use std::{io, path::PathBuf, time::Duration};

/// A failure of the agent itself, never of the command that it runs.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The settings are wrong or contradict each other.
    #[error("{problem}; {remedy}")]
    Settings {
        /// What is wrong, naming the flag or variable.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Content could not be moved.
    #[error("{what}")]
    Marshal {
        /// Which input or output, and which direction.
        what: String,
        /// What failed.
        #[source]
        source: MarshalError,
    },
    /// Inputs are not committed.
    #[error("not all inputs are there, in run {run} of {store}:\n{}", list(.inputs))]
    Missing {
        /// The store.
        store: String,
        /// The run.
        run: String,
        /// A line for each input that is missing, with what is there instead.
        inputs: Vec<String>,
        /// How long it was waited for.
        waited: Option<Duration>,
        /// Whether a fan-in lacks producers: then the code says so.
        fan_in: bool,
    },
    /// Promised outputs are missing.
    #[error("the command ended well, but not all outputs are there:\n{}", list(.outputs))]
    Output {
        /// A line for each output.
        outputs: Vec<String>,
    },
    /// The shard is committed with other work than this attempt's.
    #[error(
        "{shard} is committed already, by attempt {attempt}, and this attempt is at other work:\n{}\n\
         to do this work, use a new --run; to take what is committed, use --on-changed accept",
        list(.differences)
    )]
    Changed {
        /// What was committed.
        shard: Box<ShardId>,
        /// The attempt that counts.
        attempt: String,
        /// A line for each difference.
        differences: Vec<String>,
    },
    /// The shard is committed, and the settings ask for a failure then.
    #[error("{shard} is committed already, by attempt {attempt}; --on-committed fail makes this an error")]
    Committed {
        /// What was committed.
        shard: Box<ShardId>,
        /// The attempt that counts.
        attempt: String,
    },
    /// A local file or folder of the agent's own failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another agent works in the same folder.
    #[error("{} is in use by another kale-agent; give each step a KALE_DIR of its own", path.display())]
    DirInUse {
        /// The folder.
        path: PathBuf,
    },
    /// The command could not be supervised.
    #[error(transparent)]
    Supervise(#[from] SuperviseError),
    /// A worker thread of the agent panicked.
    #[error("a part of the agent gave up")]
    Panicked(#[source] tokio::task::JoinError),
    /// A part of the agent panicked while it did this.
    #[error("{what}: a part of the agent gave up")]
    GaveUp {
        /// What was being done.
        what: String,
    },
    /// The command ran too long and was stopped.
    #[error("the command ran longer than --timeout {} and was stopped", humantime::format_duration(*.limit))]
    Timeout {
        /// The limit.
        limit: Duration,
    },
    /// A signal asked the agent to stop.
    #[error("stopped by signal {signal} {when}: nothing was committed")]
    Stopped {
        /// The signal's number.
        signal: i32,
        /// In which phase, such as `while the command ran`.
        when: &'static str,
    },
}

fn list(lines: &[String]) -> String {
    lines.iter().map(|line| format!("  - {line}")).collect::<Vec<_>>().join("\n")
}

impl StepError {
    /// An error about settings.
    pub(crate) fn settings(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Settings { problem: problem.into(), remedy: remedy.into() }
    }

    /// An error about content, with what was being done.
    pub(crate) fn marshal(what: impl Into<String>) -> impl FnOnce(MarshalError) -> Self {
        let what = what.into();
        move |source| Self::Marshal { what, source }
    }

    /// The exit code for it, before it becomes the process's.
    pub fn status(&self) -> u8 {
        match self {
            Self::Stopped { signal, .. } => Self::status_of(*signal),
            other => other.code().number(),
        }
    }

    /// The exit code of an agent that a signal has told to end.
    pub(crate) fn status_of(signal: i32) -> u8 {
        128u8.saturating_add(u8::try_from(signal).unwrap_or(127))
    }

    /// The documented code.
    pub fn code(&self) -> Code {
        match self {
            Self::Settings { .. } => Code::Usage,
            Self::Store(error) => error.code(),
            Self::Marshal { source, .. } => source.code(),
            Self::Missing { waited: Some(_), .. } => Code::WaitTimeout,
            Self::Missing { fan_in: true, .. } => Code::Incomplete,
            Self::Missing { .. } => Code::Missing,
            Self::Output { .. } => Code::Output,
            Self::Changed { .. } | Self::Committed { .. } => Code::Committed,
            Self::Io { .. } => Code::Io,
            Self::DirInUse { .. } => Code::Usage,
            Self::Supervise(error) => error.code(),
            Self::Panicked(_) | Self::GaveUp { .. } | Self::Stopped { .. } => Code::Internal,
            Self::Timeout { .. } => Code::Timeout,
        }
    }
}
