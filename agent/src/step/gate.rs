//! What the command was given before it was verified: inputs that were cloned, and what step code has mapped.
//!
//! It is verified beside the command, by one thread that steps back behind it. If something is damaged the command is
//! stopped, and in any case nothing is committed before all is found sound (invariant 4).

use super::{StepError, session::Session};
use crate::marshal::{VerifyOptions, verify_part};
use kale_protocol::{digest::Digest, path::ArtifactPath};
use std::{
    collections::{BTreeSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};
use tokio::sync::oneshot;

/// How nice the thread that verifies is: the command goes first.
const NICE: i32 = 10;

/// A part of an artifact that is still to be verified.
#[derive(Clone, Debug)]
pub(super) struct Unverified {
    /// What it is called in messages.
    pub what: String,
    /// The artifact.
    pub manifest: Digest,
    /// The path inside of it.
    pub inside: ArtifactPath,
}

/// Verification beside one attempt's command.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    given_up: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Unverified>,
    seen: BTreeSet<(Digest, ArtifactPath)>,
    running: bool,
    failed: Option<StepError>,
    stop: Option<oneshot::Sender<String>>,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a reason comes from for the command to be stopped.
    pub(super) fn stopper(&self) -> oneshot::Receiver<String> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.lock();
        match &state.failed {
            // Found while the command was being started.
            Some(failed) => drop(sender.send(crate::report::chain(failed))),
            None => state.stop = Some(sender),
        }
        receiver
    }

    /// Begins to verify something, behind what is being verified already.
    pub(super) fn add(session: &Arc<Session>, unverified: Unverified) {
        let mut state = session.gate.lock();
        if !state.seen.insert((unverified.manifest, unverified.inside.clone())) {
            return;
        }
        state.waiting.push_back(unverified);
        if !std::mem::replace(&mut state.running, true) {
            let own = Arc::clone(session);
            thread::spawn(move || own.gate.work(&own));
        }
    }

    /// Whether something is still to be verified.
    pub(super) fn under_way(&self) -> bool {
        self.lock().running
    }

    /// What was found to be damaged up to now.
    pub(super) fn failure(&self) -> Result<(), StepError> {
        self.lock().failed.take().map_or(Ok(()), Err)
    }

    /// Waits until all is verified.
    pub(super) fn finish(&self) -> Result<(), StepError> {
        let mut state = self.lock();
        while state.running && state.failed.is_none() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.failed.take().map_or(Ok(()), Err)
    }

    /// Ends it: nothing will be committed.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Relaxed);
        self.lock().waiting.clear();
    }

    fn work(&self, session: &Session) {
        step_back();
        loop {
            let next = {
                let mut state = self.lock();
                let next = state.waiting.pop_front();
                state.running = next.is_some();
                next
            };
            let Some(unverified) = next else {
                self.changed.notify_all();
                return;
            };
            let what = &unverified.what;
            let verified = catch_unwind(AssertUnwindSafe(|| unverified.verify(session, &self.given_up)));
            let failed = match verified {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error,
                Err(_) => StepError::GaveUp { what: format!("cannot verify {what}") },
            };
            let mut state = self.lock();
            if let Some(stop) = state.stop.take() {
                // A command that has ended needs no stop.
                let _ = stop.send(crate::report::chain(&failed));
            }
            state.failed.get_or_insert(failed);
            self.changed.notify_all();
        }
    }
}

impl Unverified {
    fn verify(&self, session: &Session, given_up: &AtomicBool) -> Result<(), StepError> {
        // One thread: the cores are the command's.
        let options = VerifyOptions { threads: 1 };
        let report = verify_part(session.store().transport(), &self.manifest, &self.inside, &options, given_up);
        let sound = report.and_then(|report| report.damage.first().map_or(Ok(()), |damage| Err(damage.error())));
        let what = format!("{} is not what was committed, and nothing of this step is committed", self.what);
        sound.map_err(StepError::marshal(what))
    }
}

/// Makes this thread, and those that it starts, step back behind the command's.
fn step_back() {
    #[expect(unsafe_code, reason = "nix has no setpriority")]
    // SAFETY: takes numbers only; 0 is the calling thread, on Linux. It may fail, and then all is as before.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, NICE);
    }
}
