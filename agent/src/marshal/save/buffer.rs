//! Buffers that content travels in, a bounded number of them.

use super::{
    super::{cut, room::Room},
    item::Stop,
};
use crate::limits::Limits;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Batches of chunks are about this long: one frame where they are compressed.
pub(super) const BATCH: usize = 1 << 20;
/// So much of a long file is cut, or only hashed, at a time: each handing over costs what 100 KiB cost.
pub(super) const PART: usize = 4 << 20;

/// What is read at a time where content is cut by what it is: it stays in the core's cache until it is hashed, and little
/// of it is copied to the next buffer.
pub(super) const STEP: usize = 256 << 10;

/// A batch, and as much again for looking ahead.
const SHORT: usize = BATCH + cut::MAX;

/// What a buffer takes with its frame.
const TAKEN: u64 = (SHORT + BATCH) as u64;

/// One that is cut from, and the one that comes next.
const LEAST: usize = 2;

/// How much of a long file goes into one of so many buffers: [`PART`], or what they have room for anyway, where memory
/// for so much is not there. What is stored is the same.
pub(super) fn part(buffers: usize) -> usize {
    if Limits::default().budget() < buffers as u64 * PART as u64 { SHORT } else { PART }
}

/// Content on its way. What is read into it is at most a batch, unless room for a part was made.
#[derive(Default)]
pub(super) struct Buffer {
    pub(super) bytes: Room,
    /// The batch as a compressed frame, where it was compressed.
    pub(super) packed: Vec<u8>,
}

impl Buffer {
    pub(super) fn new() -> Self {
        Self { bytes: Room::new(SHORT), packed: Vec::new() }
    }

    /// Makes it long enough for a part; then what was in it is gone. Most trees have none, and take half of the memory.
    pub(super) fn make_room(&mut self, bytes: usize) {
        if self.bytes.len() < bytes {
            // The old room goes first.
            self.bytes = Room::default();
            self.bytes = Room::new(bytes.max(PART));
        }
    }
}

/// Buffers, made when they are needed first. The one that came back last goes out first: it may still be in a cache.
#[derive(Clone)]
pub(super) struct Buffers {
    shelf: Arc<(Mutex<Shelf>, Condvar)>,
    most: usize,
}

struct Shelf {
    free: Vec<Buffer>,
    unmade: usize,
    closed: bool,
}

impl Buffers {
    /// As many as these workers, who have one each besides, and the caller's thread keep busy; fewer where memory for so
    /// many is not there, which is slower, and stores the same.
    pub(super) fn for_workers(workers: usize) -> Self {
        let room = usize::try_from(Limits::default().budget() / TAKEN).unwrap_or(usize::MAX);
        Self::new((workers + 2).min(room.saturating_sub(workers).max(LEAST)))
    }

    /// At most so many.
    fn new(most: usize) -> Self {
        let shelf = Shelf { free: Vec::new(), unmade: most, closed: false };
        Self { shelf: Arc::new((Mutex::new(shelf), Condvar::new())), most }
    }

    /// How many there may be.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that is free, or else one that comes back.
    pub(super) fn take(&self) -> Result<Buffer, Stop> {
        let mut shelf = self.lock();
        loop {
            if shelf.closed {
                return Err(Stop::Gone);
            }
            if let Some(buffer) = shelf.free.pop() {
                return Ok(buffer);
            }
            if shelf.unmade > 0 {
                shelf.unmade -= 1;
                return Ok(Buffer::new());
            }
            shelf = self.shelf.1.wait(shelf).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// One, if that need not be waited for.
    pub(super) fn try_take(&self) -> Option<Buffer> {
        let mut shelf = self.lock();
        shelf.free.pop().or_else(|| {
            shelf.unmade = shelf.unmade.checked_sub(1)?;
            Some(Buffer::new())
        })
    }

    /// Gives one back.
    pub(super) fn give_back(&self, buffer: Buffer) {
        self.lock().free.push(buffer);
        self.shelf.1.notify_one();
    }

    /// Tells whoever waits, or will, that none comes back any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.shelf.1.notify_all();
    }
}
