//! Buffers that content travels in, a bounded number of them.

use super::{super::cut, item::Stop};
use crossbeam_channel::{Receiver, TryRecvError};

/// Batches of chunks are about this long: one frame where they are compressed.
pub(super) const BATCH: usize = 1 << 20;

/// Content on its way: a batch, and as much again for looking ahead.
pub(super) struct Buffer {
    pub(super) bytes: Box<[u8]>,
    /// The batch as a compressed frame, where it was compressed.
    pub(super) packed: Vec<u8>,
}

impl Buffer {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; BATCH + cut::MAX].into_boxed_slice(), packed: Vec::new() }
    }
}

/// A bounded number of buffers, made when they are needed first.
pub(super) struct Buffers {
    back: Receiver<Buffer>,
    unmade: usize,
}

impl Buffers {
    /// At most so many, given back through a channel.
    pub(super) fn new(most: usize, back: Receiver<Buffer>) -> Self {
        Self { back, unmade: most }
    }

    /// One that is free, or else one that comes back.
    pub(super) fn take(&mut self) -> Result<Buffer, Stop> {
        match self.back.try_recv() {
            Ok(buffer) => return Ok(buffer),
            Err(TryRecvError::Disconnected) => return Err(Stop::Gone),
            Err(TryRecvError::Empty) => {}
        }
        if self.unmade > 0 {
            self.unmade -= 1;
            return Ok(Buffer::new());
        }
        self.back.recv().map_err(|_| Stop::Gone)
    }
}
