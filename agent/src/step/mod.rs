//! The life of a step: plan → wait → restore → run → collect → commit.

mod again;
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
mod last_word;
mod long;
mod maps;
mod pause;
mod plan;
pub mod policy;
mod record;
mod request;
mod restore;
mod saves;
mod session;
pub mod settings;
mod socket;
mod stops;
pub mod supervise;
mod verdict;

pub use direct::{Direct, DirectlySaved, PIPELINE, save_directly};
pub use error::StepError;
pub use inputs::source_of;
pub use plan::StepPlan;
pub use record::now_ns;
pub use request::code_of;
pub use settings::StepSettings;

use crate::report::{Monitor, Phase};
use again::Litter;
use commit::Published;
use dir::StepDir;
use gate::Gate;
use inputs::ReadyInput;
use kale_protocol::log::Log;
use last_word::LastWord;
use plan::Work;
use policy::OnFailure;
use record::Recorder;
use session::{Session, Stored};
use socket::{Server, Service};
use std::{path::Path, sync::Arc};
use stops::{blocking, unless_stopped, unless_stopped_twice, waited_for};
use supervise::{Finished, Kept, Needed, Output, Signals, Stop, Supervision, supervise};
use verdict::{Next, Verdict};

/// How a step ended, without an error of the agent's own.
#[derive(Debug)]
pub struct Ended {
    /// The exit status for the agent: the command's, as a shell would report it.
    pub status: u8,
    /// What the user should be told, if anything.
    pub message: Option<String>,
}

impl Ended {
    fn well(message: Option<String>) -> Self {
        Self { status: 0, message }
    }
}

/// Lives the life of a step, again if its command fails and that was asked for. A plan without a store is a plain init:
/// it runs the command and tells nothing.
pub async fn run(
    plan: StepPlan,
    workdir: &Path,
    signals: &mut Signals,
    monitor: Arc<dyn Monitor>,
) -> Result<Ended, StepError> {
    let mut work = plan.work.clone().map(Arc::new);
    let litter = Litter::of(work.as_deref());
    let mut failures = 0;
    loop {
        let mut next = Next::End;
        let ended = match &work {
            None => plain(&plan, signals, &mut next).await,
            Some(work) => attempt(&plan, work, workdir, signals, &monitor, &mut next).await,
        };
        match next {
            Next::End => return ended,
            Next::Again => {}
            Next::MayRetry => {
                failures += 1;
                let Some(pause) = plan.policy.retries.after(failures) else { return ended };
                monitor.warn(&again::announced(&ended, failures, &plan.policy.retries, pause));
                unless_stopped(signals, tokio::time::sleep(pause)).await?;
            }
        }
        litter.clear()?;
        work = work.as_deref().map(again::attempt);
    }
}

/// The command, and nothing else; `next` is what comes after it, in case of an error too.
async fn plain(plan: &StepPlan, signals: &mut Signals, next: &mut Next) -> Result<Ended, StepError> {
    let StepPlan { command, timeout, grace, policy, .. } = plan;
    let (output, grace, timeout) = (Output::Inherit, *grace, *timeout);
    let prepared = long::Command::prepare(command, plan.long_args, &std::env::temp_dir())?;
    let supervision = Supervision {
        command: &prepared.words,
        workdir: None,
        env: &[],
        grace,
        timeout,
        output,
        stop: None,
        needed: None,
    };
    let finished = supervise(signals, supervision).await?;
    let Verdict { status, message, next: after } = Verdict::of(&finished, &policy.accepted, timeout, command);
    *next = after;
    // Nothing is committed that could be half: a command that was told to end, and ended well, did well.
    let status = if let Some(Stop::Signal(_)) = finished.stopped_by { finished.exit.status() } else { status? };
    Ok(Ended { status, message })
}

/// One attempt at a step that has to do with a store; `next` is what comes after it, in case of an error too.
async fn attempt(
    plan: &StepPlan,
    work: &Arc<Work>,
    workdir: &Path,
    signals: &mut Signals,
    monitor: &Arc<dyn Monitor>,
    next: &mut Next,
) -> Result<Ended, StepError> {
    let command = &plan.command;
    let mut recorder = Recorder::new(work.spec(command, workdir), now_ns());

    let inputs = unless_stopped(signals, inputs::ready(work, monitor)).await??;
    recorder.times.ready_ns = now_ns();
    if let Some(done) = commit::already(work, &recorder.spec, &inputs)? {
        let message = format!("{} is committed already, by attempt {}: nothing to do", work.shard, done.attempt);
        return Ok(Ended::well(Some(message)));
    }
    let dir = Arc::new(StepDir::open(work.dir.as_deref())?);
    let manifests: Vec<_> = inputs.iter().flat_map(|i| i.sources.iter().map(|(s, ..)| s.manifest)).collect();
    let session = Arc::new(Session::open(Arc::clone(work), &manifests, Arc::clone(monitor)));
    let kept = match work.log {
        settings::LogPolicy::Capture(limit) => Some(Kept::within(limit)),
        settings::LogPolicy::Inherit => None,
    };
    let last_word = LastWord::of(&session, &inputs, kept.as_ref());
    // The sign of the run is made durable while inputs are restored; nothing else is written before it is.
    let own = Arc::clone(work);
    let begin = blocking(move || crate::store::begin_run(&own.store, &own.shard.run, now_ns()));
    let (begun, restored) = tokio::join!(begin, unless_stopped(signals, restore_all(&inputs, &session, &dir)));
    if let Err(error) = begun? {
        session.gate.give_up();
        return Err(error.into());
    }
    // That of the shard need not be there before the command is, but before anything is published.
    let own = Arc::clone(work);
    let shard_begun = tokio::task::spawn_blocking(move || crate::store::begin_shard(&own.store, &own.shard));
    let life = async {
        restored??;
        recorder.times.restored_ns = now_ns();
        last_word.listen(signals, &recorder);

        let (finished, verdict) = run_command(plan, &inputs, &session, &dir, kept.as_ref(), signals).await?;
        recorder.times.ran_ns = now_ns();
        recorder.ran(&finished);
        last_word.listen(signals, &recorder);
        session.gate.failure()?;
        let in_haste = finished.is_told_to_end();
        let saved = if in_haste { Ok(()) } else { handed_over(&session, signals, monitor).await };
        if !verdict.is_success() {
            if let Err(error) = saved {
                monitor.warn(&crate::report::chain(&error));
            }
            if plan.policy.outputs == OnFailure::KeepOutputs && !in_haste {
                keep_outputs(&session, &dir, signals, monitor).await?;
            }
            *next = verdict.next;
            let Verdict { status, message, .. } = verdict;
            recorder.cause.clone_from(&message);
            return Ok(Ended { status: status?, message });
        }
        saved?;
        recorder.notes.extend(verdict.message.clone());
        let (at, place) = (Arc::clone(&session), Arc::clone(&dir));
        let collected = blocking(move || collect::outputs(&at, &place));
        unless_stopped_twice(signals, monitor, collected).await???;
        verified(&session, signals, monitor).await?;
        recorder.times.stored_ns = now_ns();
        Ok(Ended::well(verdict.message))
    }
    .await;
    session.gate.give_up();
    let shard_begun = shard_begun.await.map_err(StepError::Panicked)?;
    let life = life.and_then(|ended| Ok(shard_begun.map(|()| ended)?));
    let mut stored = session.stored();
    if last_word.was_said(signals).await {
        // Another attempt may refer to what it says was stored: that stays, even if the other commits first.
        (stored.packs, stored.manifests) = (Vec::new(), Vec::new());
    }
    drop(last_word);
    // What never ran has no log.
    let log = kept.filter(|_| recorder.log.is_some()).map(|kept| kept.take().0);
    let ended = finish(work, &inputs, &recorder, &stored, log.as_ref(), life, monitor);
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
    let status = life.as_ref().map_or_else(StepError::status, |ended| ended.status);
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
            life
        }
        Published::Lost(winner) => {
            let message = format!(
                "{} was committed by attempt {} in the meantime: this attempt's outputs were discarded",
                work.shard, winner.attempt
            );
            Ok(Ended::well(Some(message)))
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

/// Runs the command, with the socket for `save` and `load` beside it; a failure may be held before it is one.
async fn run_command(
    plan: &StepPlan,
    inputs: &[ReadyInput],
    session: &Arc<Session>,
    dir: &Arc<StepDir>,
    kept: Option<&Kept>,
    signals: &mut Signals,
) -> Result<(Finished, Verdict), StepError> {
    let service = Service { session: Arc::clone(session), dir: Arc::clone(dir), inputs: inputs.to_vec() };
    let mut server = Server::bind(service)?;
    let output = kept.map_or(Output::Inherit, |kept| Output::Capture(kept.clone()));
    let variables = env::variables(&session.work, inputs, dir);
    let stop = Some(session.gate.stopper());
    let StepPlan { command, timeout, grace, policy, .. } = plan;
    let (timeout, grace) = (*timeout, *grace);
    let prepared = long::Command::prepare(command, plan.long_args, dir.root())?;
    let needed = Some(Needed {
        until: Box::pin(async {
            let at = Arc::clone(session);
            if session.saves.holds() {
                // It fails only where the runtime ends, and everything with it.
                let _ = blocking(move || at.saves.let_go()).await;
            }
        }),
        give_up: Box::new(|| session.saves.give_up()),
    });
    let supervision =
        Supervision { command: &prepared.words, workdir: None, env: &variables, grace, timeout, output, stop, needed };
    let run = async {
        let mut finished = supervise(signals, supervision).await?;
        let verdict = Verdict::of(&finished, &policy.accepted, timeout, command);
        let Some(limit) = policy.pause.filter(|_| verdict.next == Next::MayRetry) else {
            return Ok((finished, verdict));
        };
        let held = pause::hold(session, dir, &verdict.why(), limit, signals, &session.monitor).await;
        if let Err(StepError::Stopped { signal, .. }) = &held {
            finished.stopped_by = Some(Stop::Signal(*signal));
        }
        let verdict = match held {
            Ok(None) => verdict,
            Ok(Some(how)) => verdict.resumed(how),
            Err(error) => Verdict::failed(error),
        };
        Ok((finished, verdict))
    };
    let ended = tokio::select! {
        ended = run => ended,
        () = server.serve() => unreachable!("the server accepts for ever"),
    };
    if ended.as_ref().is_ok_and(|(finished, _)| finished.is_told_to_end()) {
        session.saves.give_up();
    }
    server.close().await;
    ended
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

/// Stores with a failed attempt what its command left; what cannot be stored is told and stops nothing.
async fn keep_outputs(
    session: &Arc<Session>,
    dir: &Arc<StepDir>,
    signals: &mut Signals,
    monitor: &Arc<dyn Monitor>,
) -> Result<(), StepError> {
    let (at, place) = (Arc::clone(session), Arc::clone(dir));
    let kept = blocking(move || collect::leavings(&at, &place));
    for error in unless_stopped_twice(signals, monitor, kept).await?? {
        monitor.warn(&crate::report::chain(&error));
    }
    Ok(())
}
