//! The life of a step: plan → wait → restore → run → collect → commit.

mod awaited;
mod collect;
mod commit;
mod compare;
mod dir;
mod direct;
mod env;
mod error;
mod gate;
mod handed;
mod inputs;
mod maps;
mod plan;
mod record;
mod request;
mod restore;
mod saves;
mod session;
pub mod settings;
mod socket;
pub mod supervise;

pub use direct::{Direct, DirectlySaved, PIPELINE, save_directly};
pub use error::StepError;
pub use inputs::source_of;
pub use plan::StepPlan;
pub use record::now_ns;
pub use request::code_of;
pub use settings::StepSettings;

use crate::report::{Monitor, Phase};
use commit::Published;
use dir::StepDir;
use gate::Gate;
use inputs::ReadyInput;
use kale_protocol::{log::Log, record::Exit};
use plan::Work;
use record::Recorder;
use session::{Session, Stored};
use socket::{Server, Service};
use std::{ffi::OsString, io, path::Path, sync::Arc, time::Duration};
use supervise::{Finished, Output, Signals, Stop, Supervision, supervise};

/// How a step ended, without an error of the agent's own.
#[derive(Debug)]
pub struct Ended {
    /// The exit status for the agent: the command's, as a shell would report it.
    pub status: u8,
    /// What the user should be told, if anything.
    pub message: Option<String>,
}

/// Lives the life of a step. A plan without a store is a plain init: it runs the command and tells nothing.
pub async fn run(
    plan: StepPlan,
    workdir: &Path,
    signals: &mut Signals,
    monitor: Arc<dyn Monitor>,
) -> Result<Ended, StepError> {
    let StepPlan { command, timeout, grace, work } = plan;
    let base =
        Supervision { command: &command, workdir: None, env: &[], grace, timeout, output: Output::Inherit, stop: None };
    let Some(work) = work.map(Arc::new) else {
        let finished = supervise(signals, base).await?;
        timed_out(&finished, timeout)?;
        let message = not_started(&finished, &command);
        return Ok(Ended { status: finished.exit.status(), message });
    };
    let mut recorder = Recorder::new(work.spec(&command, workdir), now_ns());

    let inputs = unless_stopped(signals, inputs::ready(&work, &monitor)).await??;
    recorder.times.ready_ns = now_ns();
    if let Some(done) = commit::already(&work, &recorder.spec, &inputs)? {
        let message = format!("{} is committed already, by attempt {}: nothing to do", work.shard, done.attempt);
        return Ok(Ended { status: 0, message: Some(message) });
    }
    let dir = Arc::new(StepDir::open(work.dir.as_deref())?);
    crate::store::begin_run(&work.store, &work.shard.run, now_ns())?;
    let manifests: Vec<_> = inputs.iter().flat_map(|i| i.sources.iter().map(|(s, ..)| s.manifest)).collect();
    let session = Arc::new(Session::open(Arc::clone(&work), &manifests, Arc::clone(&monitor)));
    let mut log = None;
    let life = async {
        unless_stopped(signals, restore_all(&inputs, &session, &dir)).await??;
        recorder.times.restored_ns = now_ns();

        let finished = run_command(base, &inputs, &session, &dir, signals).await?;
        recorder.times.ran_ns = now_ns();
        recorder.exit = Some(finished.exit);
        recorder.usage = Some(finished.usage);
        recorder.notes.extend(finished.leftovers.iter().cloned());
        recorder.log = finished.log.as_ref().map(|(_, summary)| *summary);
        session.gate.failure()?;
        let message = not_started(&finished, &command);
        let timed_out = timed_out(&finished, timeout);
        let status = judge(&finished);
        log = finished.log.map(|(log, _)| log);
        let saved = match finished.stopped_by {
            // Whoever stops a step does not wait for what will not count.
            Some(_) => Ok(()),
            None => handed_over(&session, signals, &monitor).await,
        };
        timed_out?;
        match (status?, saved) {
            (0, saved) => saved?,
            (status, saved) => {
                if let Err(error) = saved {
                    monitor.warn(&crate::report::chain(&error));
                }
                return Ok(Ended { status, message });
            }
        }
        let (at, place) = (Arc::clone(&session), Arc::clone(&dir));
        let collected = blocking(move || collect::outputs(&at, &place));
        unless_stopped_twice(signals, &monitor, collected).await???;
        verified(&session, signals, &monitor).await?;
        recorder.times.stored_ns = now_ns();
        Ok(Ended { status: 0, message: None })
    }
    .await;
    session.gate.give_up();
    let stored = session.stored();
    let ended = finish(&work, &inputs, &recorder, &stored, log.as_ref(), life, &monitor);
    drop(session);
    match Arc::try_unwrap(dir) {
        Ok(dir) => dir.close()?,
        Err(busy) => busy.abandon(),
    }
    ended
}

/// Writes what is to be written at the end: a commit, or the record of a failed attempt.
fn finish(
    work: &Work,
    inputs: &[ReadyInput],
    recorder: &Recorder,
    stored: &Stored,
    log: Option<&Log>,
    life: Result<Ended, StepError>,
    monitor: &Arc<dyn Monitor>,
) -> Result<Ended, StepError> {
    let status = match &life {
        Ok(ended) => ended.status,
        Err(error) => error.status(),
    };
    if status != 0 {
        let record = recorder.failed(work, inputs, stored, status, life.as_ref().err());
        if let Err(error) = commit::write_attempt(work, &record, log) {
            // The step's own failure is what its user must hear; this one comes on top.
            monitor.warn(&format!("the failed attempt could not be recorded: {}", crate::report::chain(&error)));
        }
        return life;
    }
    let record = recorder.stored(work, inputs, stored);
    match commit::publish(work, inputs, stored, &record, log)? {
        Published::Won(warning) => {
            if let Some(warning) = warning {
                monitor.warn(&warning);
            }
            Ok(Ended { status: 0, message: None })
        }
        Published::Lost(winner) => {
            let message = format!(
                "{} was committed by attempt {} in the meantime: this attempt's outputs were discarded",
                work.shard, winner.attempt
            );
            Ok(Ended { status: 0, message: Some(message) })
        }
    }
}

/// Restores all inputs; what could be cloned is verified from then on.
async fn restore_all(inputs: &[ReadyInput], session: &Arc<Session>, dir: &Arc<StepDir>) -> Result<(), StepError> {
    if inputs.is_empty() {
        return Ok(());
    }
    let (at, place, inputs) = (Arc::clone(session), Arc::clone(dir), inputs.to_vec());
    let restore = move || restore::all(&inputs, at.store(), &place, &at.work, at.monitor.as_ref());
    for unverified in blocking(restore).await?? {
        Gate::add(session, unverified);
    }
    Ok(())
}

async fn run_command(
    base: Supervision<'_>,
    inputs: &[ReadyInput],
    session: &Arc<Session>,
    dir: &Arc<StepDir>,
    signals: &mut Signals,
) -> Result<Finished, StepError> {
    let service = Service { session: Arc::clone(session), dir: Arc::clone(dir), inputs: inputs.to_vec() };
    let mut server = Server::bind(service)?;
    let output = match session.work.log {
        settings::LogPolicy::Capture(limit) => Output::Capture { limit },
        settings::LogPolicy::Inherit => Output::Inherit,
    };
    let variables = env::variables(&session.work, inputs, dir);
    let stop = Some(session.gate.stopper());
    let supervision = Supervision { env: &variables, output, stop, ..base };
    let finished = tokio::select! {
        finished = supervise(signals, supervision) => finished,
        () = server.serve() => unreachable!("the server accepts for ever"),
    };
    if finished.as_ref().is_ok_and(|finished| finished.stopped_by.is_some()) {
        session.saves.give_up();
    }
    server.close().await;
    Ok(finished?)
}

/// Waits until all that step code handed over is stored.
async fn handed_over(
    session: &Arc<Session>,
    signals: &mut Signals,
    monitor: &Arc<dyn Monitor>,
) -> Result<(), StepError> {
    let at = Arc::clone(session);
    if !session.saves.under_way() {
        return at.saves.finish();
    }
    waited_for(Phase::Save, "what was handed over", signals, monitor, move || at.saves.finish()).await
}

/// Waits until all that was given to the command unverified is verified.
async fn verified(session: &Arc<Session>, signals: &mut Signals, monitor: &Arc<dyn Monitor>) -> Result<(), StepError> {
    let at = Arc::clone(session);
    if !session.gate.under_way() {
        return at.gate.failure();
    }
    waited_for(Phase::Verify, "inputs", signals, monitor, move || at.gate.finish()).await
}

/// Waits for the end of what goes on beside the command, and shows that.
async fn waited_for(
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

/// The exit status for how a step's command ended; a step that was stopped is never a success, whatever its command
/// says: what it left may be half of its work.
fn judge(finished: &Finished) -> Result<u8, StepError> {
    match (&finished.stopped_by, finished.exit.status()) {
        (Some(Stop::Signal(signal)), 0) => Err(StepError::Stopped { signal: *signal, when: "while the command ran" }),
        (_, status) => Ok(status),
    }
}

fn timed_out(finished: &Finished, timeout: Option<Duration>) -> Result<(), StepError> {
    match (&finished.stopped_by, timeout) {
        (Some(Stop::Timeout), Some(limit)) => Err(StepError::Timeout { limit }),
        _ => Ok(()),
    }
}

fn not_started(finished: &Finished, command: &[OsString]) -> Option<String> {
    let Exit::NotStarted { errno } = finished.exit else { return None };
    let program = command.first().map(|program| program.to_string_lossy()).unwrap_or_default();
    let why = io::Error::from_raw_os_error(errno);
    Some(format!("cannot start the command '{program}': {why}; check its name, PATH and permissions in this image"))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StepError> {
    tokio::task::spawn_blocking(work).await.map_err(StepError::Panicked)
}

/// Gives up on something that a signal to stop overtakes.
async fn unless_stopped<T>(signals: &mut Signals, future: impl Future<Output = T>) -> Result<T, StepError> {
    tokio::select! {
        done = future => Ok(done),
        signal = signals.terminated() => {
            Err(StepError::Stopped { signal: signal?, when: "before the command was started" })
        }
    }
}

/// Goes on with storing what the command made although a signal to stop comes: its work is done, and an engine that
/// cannot wait kills. A second signal is meant.
async fn unless_stopped_twice<T>(
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
