//! A step whose command failed, held as it is for somebody to look at: the container, its files, the agent's folder.

use super::{StepError, dir::StepDir, session::Session, supervise::Signals};
use crate::report::Monitor;
use kale_protocol::ipc::{Reply, Resume};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::oneshot;

/// Where somebody says how to go on, while a step is held.
#[derive(Debug, Default)]
pub(super) struct Pause {
    asked: Mutex<Option<oneshot::Sender<Resume>>>,
}

impl Pause {
    /// Goes on as somebody said; an error where the step is not held.
    pub(super) fn resume(&self, how: Resume) -> Result<Reply, StepError> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        match asked.map(|asked| asked.send(how)) {
            Some(Ok(())) => Ok(Reply::Done),
            Some(Err(_)) | None => Err(StepError::settings(
                "this step is not held: its command runs, or somebody has said how to go on",
                "run it with --pause-on-failure to have it held when its command fails",
            )),
        }
    }

    fn begin(&self) -> oneshot::Receiver<Resume> {
        let (sender, receiver) = oneshot::channel();
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    fn end(&self) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Holds the step until somebody says how to go on; `None` after this long: then it goes on as if it had not been held.
pub(super) async fn hold(
    session: &Session,
    dir: &StepDir,
    why: &str,
    limit: Duration,
    signals: &mut Signals,
    monitor: &Arc<dyn Monitor>,
) -> Result<Option<Resume>, StepError> {
    let asked = session.pause.begin();
    let (agent, socket) = (dir.root().join("bin/kale-agent"), dir.socket());
    monitor.warn(&format!(
        "{why}; held for {} as it is, in {}. To go on: {} resume --socket {} retry, continue (its outputs are good) or abort",
        humantime::format_duration(limit),
        dir.root().display(),
        agent.display(),
        socket.display(),
    ));
    let how = tokio::select! {
        how = asked => Ok(how.ok()),
        () = tokio::time::sleep(limit) => Ok(None),
        signal = signals.terminated() => match signal {
            Ok(signal) => Err(StepError::Stopped { signal, when: "while it was held after a failure" }),
            Err(error) => Err(error.into()),
        },
    };
    session.pause.end();
    how
}
