//! Puts items in order without a thread of its own: whoever has the next one assembles it, so that content is written by
//! the core that has just hashed it, and hardly any thread waits for another.
//!
//! What is finished before its turn is left behind for whoever has the turn, and its worker goes on. A worker waits only
//! with content to be written as it is, where the item just before is being assembled: that is over before another core
//! would have fetched the content; and where it has no other buffer to go on with.

use super::{
    super::MarshalError,
    assemble::Assembler,
    buffer::{Buffer, Buffers},
    item::{Item, Outline, Stop},
};
use std::{
    collections::BTreeMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    thread::{self, Thread},
};

/// Items that may be left behind.
const EARLY: usize = 64;

/// The items of one save, each with its number from 0 on.
pub(super) struct Turns<'a> {
    state: Mutex<State<'a>>,
    buffers: Buffers,
}

struct State<'a> {
    /// Away while an item is assembled.
    assembler: Option<Assembler<'a>>,
    /// The item that is being assembled, or is to be next.
    next: u64,
    early: BTreeMap<u64, Item>,
    /// Threads that wait, by their turn.
    waiting: BTreeMap<u64, Thread>,
    /// The first error of the assembler.
    error: Option<MarshalError>,
    stopped: bool,
}

impl<'a> Turns<'a> {
    /// Begins with item 0; buffers of what was left behind go back to these.
    pub(super) fn new(assembler: Assembler<'a>, buffers: Buffers) -> Self {
        let (next, early, waiting, error, stopped) = (0, BTreeMap::new(), BTreeMap::new(), None, false);
        let state = State { assembler: Some(assembler), next, early, waiting, error, stopped };
        Self { state: Mutex::new(state), buffers }
    }

    /// Hands over an item that holds no buffer; waits only where too much is left behind.
    pub(super) fn send(&self, at: u64, item: Item) -> Result<(), Stop> {
        self.take(at, item, |state| state.early.len() < EARLY, || Some(None)).map(drop)
    }

    /// Hands over a batch, whose buffer goes back to the shelf; one that `swaps` gives it to its worker, and where it is
    /// left behind, which it is not without, another one.
    pub(super) fn hand_over(&self, at: u64, item: Item, swaps: bool) -> Result<Option<Buffer>, Stop> {
        let spare = || if swaps { self.buffers.try_take().map(Some) } else { Some(None) };
        let may_leave = |state: &State<'_>| {
            let is_soon = at == state.next + 1 && state.assembler.is_none();
            state.early.len() < EARLY && !(swaps && is_soon)
        };
        let back = self.take(at, item, may_leave, spare)?;
        if swaps {
            return Ok(back);
        }
        back.into_iter().for_each(|buffer| self.buffers.give_back(buffer));
        Ok(None)
    }

    /// Assembles an item when it is its turn, for its buffer, or leaves it behind, for what `spare` has.
    fn take(
        &self,
        at: u64,
        item: Item,
        may_leave: impl FnOnce(&State<'_>) -> bool,
        spare: impl FnOnce() -> Option<Option<Buffer>>,
    ) -> Result<Option<Buffer>, Stop> {
        let mut state = self.lock();
        if at != state.next && !state.stopped {
            if may_leave(&state)
                && let Some(spare) = spare()
            {
                state.early.insert(at, item);
                return Ok(spare);
            }
            state = self.wait(state, at);
        }
        if state.stopped { Err(Stop::Gone) } else { self.assemble(state, item) }
    }

    /// Assembles the next item and what was left behind it; gives the buffer of the first.
    fn assemble<'t>(&'t self, mut state: MutexGuard<'t, State<'a>>, item: Item) -> Result<Option<Buffer>, Stop> {
        let (mut item, mut own) = (item, None);
        loop {
            let mut assembler = state.assembler.take().expect("who has the next item is alone with it");
            drop(state);
            let assembled = assembler.assemble(item);
            state = self.lock();
            state.assembler = Some(assembler);
            match assembled {
                Ok(buffer) if own.is_none() => own = Some(buffer),
                Ok(buffer) => buffer.into_iter().for_each(|buffer| self.buffers.give_back(buffer)),
                Err(error) => {
                    state.error.get_or_insert(error);
                    drop(state);
                    self.stop();
                    return Err(Stop::Gone);
                }
            }
            state.next += 1;
            let next = state.next;
            if let Some(thread) = state.waiting.get(&next) {
                thread.unpark();
            }
            match state.early.remove(&next) {
                Some(left) => item = left,
                None => return Ok(own.flatten()),
            }
        }
    }

    /// Whether nothing is taken any more.
    pub(super) fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Takes nothing any more, and lets nobody wait.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        // Somebody may wait for what is in them.
        let early = mem::take(&mut state.early);
        state.waiting.values().for_each(Thread::unpark);
        drop(state);
        drop(early);
        self.buffers.close();
    }

    /// What lets nobody wait for a thread that panics.
    pub(super) fn guard<'t>(&'t self) -> Guard<'t, 'a> {
        Guard(self)
    }

    /// The assembler, and what came of it.
    pub(super) fn end(self) -> (Assembler<'a>, Result<Outline, MarshalError>) {
        let State { assembler, error, .. } = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut assembler = assembler.expect("it is away only in a call, or where that panicked, which was passed on");
        let outline = error.map_or_else(|| assembler.outline(), Err);
        (assembler, outline)
    }

    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn, or for the end of all. Each thread is woken for its own turn alone.
    fn wait<'t>(&'t self, mut state: MutexGuard<'t, State<'a>>, at: u64) -> MutexGuard<'t, State<'a>> {
        state.waiting.insert(at, thread::current());
        while at != state.next && !state.stopped {
            drop(state);
            thread::park();
            state = self.lock();
        }
        state.waiting.remove(&at);
        state
    }
}

/// Stops all when it is dropped by a panic.
pub(super) struct Guard<'t, 'a>(&'t Turns<'a>);

impl Drop for Guard<'_, '_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop();
        }
    }
}
