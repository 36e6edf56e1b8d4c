//! Comparing a file with the chunks that an earlier artifact had: what needs neither cutting nor keeping is read and
//! hashed by all workers.

use super::super::{MarshalError, known::Guide, source::Regular};
use crossbeam_channel::{Receiver, Sender, bounded};
use kale_protocol::{chunk::Chunk, digest::Digest};
use std::{
    convert::Infallible,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A file that is being compared with its guide.
struct Compared {
    file: Arc<Regular>,
    guide: Guide,
    /// The first chunk that was found to be another, or was not compared.
    other: AtomicUsize,
}

/// Some chunks one behind the other, for a worker.
pub(super) struct Comparison {
    of: Arc<Compared>,
    chunks: Range<usize>,
    offset: u64,
    /// Gone when this is done, or given up.
    _done: Sender<Infallible>,
}

impl Comparison {
    /// Compares chunk by chunk, up to the first that is another; `content` has room for the longest.
    pub(super) fn compare(self, content: &mut [u8]) -> Result<(), MarshalError> {
        let Compared { file, guide, other } = &*self.of;
        let mut offset = self.offset;
        for index in self.chunks {
            if other.load(Ordering::Relaxed) <= index {
                break;
            }
            let chunk = &guide[index];
            let is_same = is_same(file, offset, chunk, content);
            if !matches!(is_same, Ok(true)) {
                other.fetch_min(index, Ordering::Relaxed);
            }
            is_same?;
            offset += u64::from(chunk.bytes);
        }
        Ok(())
    }
}

/// Whether a file has a chunk there.
pub(super) fn is_same(file: &Regular, offset: u64, chunk: &Chunk, content: &mut [u8]) -> Result<bool, MarshalError> {
    let content = &mut content[..chunk.bytes as usize];
    file.read_exact(content, offset)?;
    Ok(Digest::of(content) == chunk.digest)
}

/// Sends comparisons, and collects what they found.
pub(super) struct Comparer {
    of: Arc<Compared>,
    done: Sender<Infallible>,
    all_done: Receiver<Infallible>,
}

impl Comparer {
    /// Nothing is compared yet.
    pub(super) fn new(file: Arc<Regular>, guide: Guide) -> Self {
        let (done, all_done) = bounded(0);
        let other = AtomicUsize::new(guide.len());
        Self { of: Arc::new(Compared { file, guide, other }), done, all_done }
    }

    /// A task for chunks that start at `offset`; none where an earlier one is another already.
    pub(super) fn task(&self, chunks: Range<usize>, offset: u64) -> Option<Comparison> {
        let wanted = chunks.start < self.of.other.load(Ordering::Relaxed);
        wanted.then(|| Comparison { of: Arc::clone(&self.of), chunks, offset, _done: self.done.clone() })
    }

    /// How many of the first chunks are the same, once all tasks are done.
    ///
    /// Tasks that were dropped undone count as the same: then their worker has failed, and with it the save.
    pub(super) fn finish(self) -> usize {
        let Self { of, done, all_done } = self;
        drop(done);
        // Nothing is ever sent: this ends when the last sender is gone.
        let _ = all_done.recv();
        of.other.load(Ordering::Relaxed)
    }
}
