//! What the end of a command means for its step.

use super::{
    StepError,
    policy::AcceptedCodes,
    supervise::{Finished, Stop},
};
use kale_protocol::{ipc::Resume, record::Exit};
use std::{ffi::OsString, io, time::Duration};

/// What is to be made of a command that has ended.
#[derive(Debug)]
pub(super) struct Verdict {
    /// The agent's status for it, 0 where its outputs count; an error where the agent has one of its own.
    pub status: Result<u8, StepError>,
    /// What the user should be told.
    pub message: Option<String>,
    /// What comes next.
    pub next: Next,
}

/// What comes after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    End,
    /// Another one, if there are to be more: it failed by itself or by its time, and another may not.
    MayRetry,
    /// Another one in any case, at once.
    Again,
}

impl Verdict {
    /// A step that was stopped is never a success, whatever its command says: what it left may be half of its work.
    pub(super) fn of(
        finished: &Finished,
        accepted: &AcceptedCodes,
        timeout: Option<Duration>,
        command: &[OsString],
    ) -> Self {
        let status = finished.exit.status();
        let next = if matches!(finished.exit, Exit::NotStarted { .. }) { Next::End } else { Next::MayRetry };
        match (&finished.stopped_by, timeout) {
            (Some(Stop::Timeout), Some(limit)) => {
                Self { status: Err(StepError::Timeout { limit }), message: None, next: Next::MayRetry }
            }
            (Some(Stop::Signal(signal)), _) if status == 0 => {
                let stopped = StepError::Stopped { signal: *signal, when: "while the command ran" };
                Self { status: Err(stopped), message: None, next: Next::End }
            }
            (Some(_), _) => Self { status: Ok(status), message: out_of_memory(finished), next: Next::End },
            (None, _) if matches!(finished.exit, Exit::Code(code) if accepted.accept(code)) => {
                let message =
                    (status != 0).then(|| format!("the command ended with {status}, which counts as success"));
                Self { status: Ok(0), message, next: Next::End }
            }
            (None, _) => {
                let message = not_started(finished, command).or_else(|| out_of_memory(finished));
                Self { status: Ok(status), message, next }
            }
        }
    }

    /// Why it failed, in words for people.
    pub(super) fn why(&self) -> String {
        match (&self.message, &self.status) {
            (Some(message), _) => message.clone(),
            (None, Ok(status)) => format!("the command ended with status {status}"),
            (None, Err(error)) => error.to_string(),
        }
    }

    /// The agent's own failure, whatever the command did.
    pub(super) fn failed(error: StepError) -> Self {
        Self { status: Err(error), message: None, next: Next::End }
    }

    /// What becomes of it as somebody said who has looked at it.
    pub(super) fn resumed(self, how: Resume) -> Self {
        match how {
            Resume::Abort => Self { next: Next::End, ..self },
            Resume::Retry => Self { next: Next::Again, ..self },
            Resume::Continue => {
                let message = format!("{}, and somebody said that its outputs are good", self.why());
                Self { status: Ok(0), message: Some(message), next: Next::End }
            }
        }
    }

    /// Whether its outputs are to be stored and committed.
    pub(super) fn is_success(&self) -> bool {
        matches!(self.status, Ok(0))
    }
}

fn not_started(finished: &Finished, command: &[OsString]) -> Option<String> {
    let Exit::NotStarted { errno } = finished.exit else { return None };
    let program = command.first().map(|program| program.to_string_lossy()).unwrap_or_default();
    let why = io::Error::from_raw_os_error(errno);
    let remedy = finished.not_started.as_deref().unwrap_or("check its name, PATH and permissions in this image");
    Some(format!("cannot start the command '{program}': {why}; {remedy}"))
}

/// Says that memory was the reason: the kernel kills without a word to anybody in the container.
fn out_of_memory(finished: &Finished) -> Option<String> {
    let killed = match finished.oom_kills {
        0 => return None,
        1 => "one process".to_owned(),
        more => format!("{more} processes"),
    };
    let who = match finished.exit {
        Exit::Signal { signal: 9, .. } => "the command was killed",
        _ => "the command failed",
    };
    Some(format!(
        "{who}: out of memory, the kernel killed {killed} of this container; give the step a higher memory limit"
    ))
}
