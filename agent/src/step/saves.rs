//! Saves of step code, one after the other in the order in which they came, on a thread of their own.
//!
//! What was handed over as sealed memory is stored while the step goes on. It counts as memory of the container until
//! then, so it is only taken within a budget; whoever comes above it waits, as everybody does whose bytes could still
//! change.

use super::{StepError, session::Session};
use crate::{limits::Limits, marshal::Source, report, snapshot::Snapshot};
use kale_protocol::{exit::Code, ipc::Reply, manifest::Shape, name::Name};
use std::{
    collections::{BTreeMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

/// Most descriptors that are kept open for saves that wait: an agent may have 1024.
const DESCRIPTORS: usize = 256;

/// Something to be stored.
#[derive(Debug)]
pub(super) struct Job {
    /// The artifact's name.
    pub name: Name,
    /// Its content.
    pub source: Source,
    /// Its shape, where step code says it.
    pub shape: Option<Shape>,
    /// What its content is, where step code says it.
    pub format: Option<String>,
    /// The memory that its content takes, and the descriptors, where nobody can change it any more.
    pub handed: Option<Handed>,
    /// The process whose memory it is, where it is one's.
    pub snapshot: Option<Arc<Snapshot>>,
}

/// Memory that nobody can change.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Handed {
    /// Its length.
    pub bytes: u64,
    /// How much memory it takes, or may come to take.
    pub memory: u64,
    /// How many descriptors it takes.
    pub descriptors: usize,
}

/// All saves of one attempt.
#[derive(Debug)]
pub(super) struct Saves {
    /// The most memory that may be handed over; else half of what the container still allows.
    most: Option<u64>,
    limits: Limits,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    waiting: VecDeque<(u64, Job)>,
    running: bool,
    held: Handed,
    granted: u64,
    /// Processes whose memory is still to be stored.
    snapshots: Vec<Arc<Snapshot>>,
    /// What became of each save that somebody may ask for.
    done: BTreeMap<u64, Reply>,
    /// The first failure of a save that had been answered before.
    failed: Option<StepError>,
}

/// Room for memory that is about to be handed over; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Grant {
    session: Arc<Session>,
    bytes: u64,
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.session.saves.lock().granted -= self.bytes;
    }
}

impl Saves {
    /// No saves yet; `most` bytes of memory may be handed over at a time, or as many as there is room for.
    pub(super) fn new(most: Option<u64>) -> Self {
        Self { most, limits: Limits::default(), state: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much may be handed over at a time, now. What is not known limits nothing but itself: then nothing is taken.
    fn budget(&self) -> u64 {
        let left = self.limits.memory_left().map_or(0, |left| left / 2);
        self.most.map_or(left, |most| most.min(left))
    }

    /// Room for so many bytes, if there is.
    pub(super) fn offer(session: &Arc<Session>, bytes: u64) -> Option<Grant> {
        let saves = &session.saves;
        let budget = saves.budget();
        let mut state = saves.lock();
        let all = state.held.memory.saturating_add(state.granted).saturating_add(bytes);
        if all > budget {
            return None;
        }
        state.granted += bytes;
        drop(state);
        Some(Grant { session: Arc::clone(session), bytes })
    }

    /// Puts a save behind those before it. With `may_take`, memory that is sealed and for which there is room is
    /// answered at once; otherwise the answer comes when it is stored.
    pub(super) fn push(session: &Arc<Session>, job: Job, may_take: bool, grant: Option<Grant>) -> Reply {
        let saves = &session.saves;
        let handed = job.handed.filter(|_| may_take);
        // A grant becomes memory that is held, with no gap in which another could be given.
        let within = handed.is_some_and(|handed| grant.as_ref().is_some_and(|grant| handed.memory <= grant.bytes));
        let budget = if handed.is_some() && !within { saves.budget() } else { 0 };
        let mut state = saves.lock();
        let taken = handed.filter(|handed| {
            let all = state.held.memory.saturating_add(state.granted).saturating_add(handed.memory);
            state.held.descriptors + handed.descriptors <= DESCRIPTORS && (within || all <= budget)
        });
        let ticket = state.next;
        state.next += 1;
        let job = Job { handed: taken, ..job };
        state.snapshots.extend(job.snapshot.clone());
        if let Some(taken) = taken {
            state.held.memory += taken.memory;
            state.held.descriptors += taken.descriptors;
        }
        state.waiting.push_back((ticket, job));
        let start = !state.running;
        state.running = true;
        drop(state);
        drop(grant);
        if start {
            let own = Arc::clone(session);
            thread::spawn(move || own.saves.work(&own));
        }
        match taken {
            Some(taken) => Reply::Taken { raw_bytes: taken.bytes, ticket },
            None => saves.result(ticket, true),
        }
    }

    /// Waits for a save to be stored, and tells what became of it.
    pub(super) fn stored(&self, ticket: u64) -> Result<Reply, StepError> {
        if ticket >= self.lock().next {
            return Err(StepError::settings(format!("no save has the number {ticket}"), "ask for one that was taken"));
        }
        Ok(self.result(ticket, false))
    }

    /// Waits for a result; one that is only for whoever waits is not kept.
    fn result(&self, ticket: u64, only_for_us: bool) -> Reply {
        let mut state = self.lock();
        loop {
            if let Some(reply) = state.done.get(&ticket) {
                let reply = reply.clone();
                if only_for_us {
                    state.done.remove(&ticket);
                }
                return reply;
            }
            if !state.running {
                // Its answer went to whom it was for.
                return Reply::Failed { code: Code::Internal.number(), message: "this save has no result".to_owned() };
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until nothing is left to be stored; the first failure of a save that had been answered before is one of
    /// the step.
    pub(super) fn finish(&self) -> Result<(), StepError> {
        let mut state = self.lock();
        while state.running {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.failed.take().map_or(Ok(()), Err)
    }

    /// Waits until no process is needed any more for its memory.
    pub(super) fn let_go(&self) {
        let mut state = self.lock();
        while !state.snapshots.is_empty() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether a process is needed for its memory.
    pub(super) fn holds(&self) -> bool {
        !self.lock().snapshots.is_empty()
    }

    /// Gives up what waits: the step has been stopped, and will commit nothing.
    pub(super) fn give_up(&self) {
        let mut state = self.lock();
        let State { waiting, done, held, snapshots, .. } = &mut *state;
        // The save that is under way fails, unless it has read everything.
        snapshots.drain(..).for_each(|snapshot| snapshot.end());
        for (ticket, job) in waiting.drain(..) {
            let message = format!("cannot save {}: the step has been stopped", job.name);
            done.insert(ticket, Reply::Failed { code: Code::Internal.number(), message });
            let handed = job.handed.unwrap_or_default();
            held.memory -= handed.memory;
            held.descriptors -= handed.descriptors;
        }
        self.changed.notify_all();
    }

    /// Whether something is still to be stored.
    pub(super) fn under_way(&self) -> bool {
        self.lock().running
    }

    /// Stores what waits until nothing does.
    fn work(&self, session: &Session) {
        loop {
            let (ticket, job) = {
                let mut state = self.lock();
                match state.waiting.pop_front() {
                    Some(next) => next,
                    None => {
                        state.running = false;
                        self.changed.notify_all();
                        return;
                    }
                }
            };
            let Job { name, source, shape, format, handed, snapshot } = job;
            let what = format!("cannot save {name}");
            let saved = catch_unwind(AssertUnwindSafe(|| session.save(&name, source, shape, format)));
            let saved = match saved {
                Ok(saved) => saved.map_err(StepError::marshal(what)),
                Err(_) => Err(StepError::GaveUp { what }),
            };
            let mut state = self.lock();
            // The process ends before anybody is told that nothing is left to be stored of it.
            state.snapshots.retain(|kept| !snapshot.as_ref().is_some_and(|done| Arc::ptr_eq(kept, done)));
            drop(snapshot);
            let reply = match &saved {
                Ok(saved) => Reply::Saved {
                    digest: saved.digest.to_string(),
                    raw_bytes: saved.totals.raw_bytes,
                    stored_bytes: saved.stored_bytes,
                },
                Err(error) => Reply::Failed { code: error.code().number(), message: report::chain(error) },
            };
            state.done.insert(ticket, reply);
            if let Some(handed) = handed {
                state.held.memory -= handed.memory;
                state.held.descriptors -= handed.descriptors;
                if let Err(error) = saved {
                    state.failed.get_or_insert(error);
                }
            }
            self.changed.notify_all();
        }
    }
}
