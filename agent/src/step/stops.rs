//! What a signal to stop overtakes, and what it does not.

use super::{StepError, supervise::Signals};
use crate::report::{Monitor, Phase};
use std::sync::Arc;

/// Runs something that blocks, on a thread for that.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StepError> {
    tokio::task::spawn_blocking(work).await.map_err(StepError::Panicked)
}

/// Gives up on something that a signal to stop overtakes.
pub(super) async fn unless_stopped<T>(signals: &mut Signals, future: impl Future<Output = T>) -> Result<T, StepError> {
    tokio::select! {
        done = future => Ok(done),
        signal = signals.terminated() => {
            Err(StepError::Stopped { signal: signal?, when: "before the command was started" })
        }
    }
}

/// Goes on with storing what the command made although a signal to stop comes: its work is done, and an engine that
/// cannot wait kills. A second signal is meant.
pub(super) async fn unless_stopped_twice<T>(
    signals: &mut Signals,
    monitor: &Arc<dyn Monitor>,
    future: impl Future<Output = T>,
) -> Result<T, StepError> {
    let mut future = std::pin::pin!(future);
    let mut asked = false;
    loop {
        tokio::select! {
            done = &mut future => return Ok(done),
            signal = signals.terminated() => {
                let signal = signal?;
                if asked {
                    return Err(StepError::Stopped { signal, when: "while its outputs were stored" });
                }
                asked = true;
                monitor.warn(&format!("signal {signal}: outputs are still being stored; once more to give up"));
            }
        }
    }
}

/// Waits for the end of what goes on beside the command, and shows that.
pub(super) async fn waited_for(
    phase: Phase,
    what: &str,
    signals: &mut Signals,
    monitor: &Arc<dyn Monitor>,
    finish: impl FnOnce() -> Result<(), StepError> + Send + 'static,
) -> Result<(), StepError> {
    monitor.begin(phase, what, None);
    let finished = unless_stopped_twice(signals, monitor, blocking(finish)).await;
    monitor.end();
    finished??
}
