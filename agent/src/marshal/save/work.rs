//! What the worker threads do: read, hash and compress batches of chunks, and assemble them when it is their turn.

use super::{
    super::{MarshalError, cut, known::Known},
    buffer::Buffer,
    compare::Comparison,
    files::Files,
    hashed::{Hashed, HashedChunk, new_members},
    item::{Entry, Item},
    packer::Packer,
    part::{Part, PartReader},
    policy::{Policy, among_known},
    span::Span,
    turns::{Guard, Turns},
};
use std::mem;

/// What a worker is asked to do.
pub(super) enum Task {
    Batch(Box<Job>),
    Compare(Comparison),
}

/// Chunks that lie one behind the other in a buffer, once it is filled.
pub(super) struct Job {
    /// Its turn among all items.
    pub(super) at: u64,
    pub(super) of: Of,
    /// None where the worker takes its own.
    pub(super) buffer: Option<Buffer>,
    pub(super) fill: Fill,
    pub(super) lengths: Vec<u32>,
    pub(super) policy: Policy,
}

/// What chunks belong to.
pub(super) enum Of {
    /// The large file that began last.
    File,
    /// The files among these entries; whether nothing else comes before or after them.
    Group(Vec<Entry>, bool),
}

impl Of {
    fn item(self, batch: Hashed) -> Item {
        match self {
            Self::File => Item::Batch(batch),
            Self::Group(entries, only) => Item::Group { entries, batch: Some(batch), only },
        }
    }
}

/// What is to be read into a buffer before it is hashed: by a worker where that can be, so that the content is hot in
/// the cache of the core that hashes it, and the thread that walks the tree does not wait for it.
pub(super) enum Fill {
    /// Nothing: it is full.
    Full,
    /// A part of a large file.
    Part(Part),
    /// A part of a large file which is still to be cut.
    Span(Span),
    /// Files, each at its place.
    Files(Files),
}

/// One of the threads that read, hash, compress, and, when it is their turn, assemble.
pub(super) struct Worker<'t, 'a> {
    known: &'t Known,
    turns: &'t Turns<'a>,
    packer: Packer,
    reader: PartReader,
    /// What it reads parts and spans into.
    own: Buffer,
    _guard: Guard<'t, 'a>,
}

impl<'t, 'a> Worker<'t, 'a> {
    pub(super) fn new(known: &'t Known, turns: &'t Turns<'a>) -> Self {
        let (packer, reader, own) = (Packer::default(), PartReader::default(), Buffer::default());
        Self { known, turns, packer, reader, own, _guard: turns.guard() }
    }

    /// Does a task. On an error nothing waits for its turn any more.
    pub(super) fn work(&mut self, task: Task) -> Result<(), MarshalError> {
        let done = match task {
            Task::Batch(job) => self.batch(*job),
            Task::Compare(comparison) => comparison.compare(self.reader.aside(0, cut::MAX)),
        };
        if done.is_err() {
            self.turns.stop();
        }
        done
    }

    fn batch(&mut self, job: Job) -> Result<(), MarshalError> {
        if self.turns.is_stopped() {
            return Ok(());
        }
        let Job { at, of, buffer, fill, lengths, policy } = job;
        let is_own = buffer.is_none();
        let mut buffer = buffer.unwrap_or_else(|| mem::take(&mut self.own));
        let (mut part, mut files) = (None, Vec::new());
        let chunks = match fill {
            Fill::Full => HashedChunk::all_of(&buffer.bytes, &lengths),
            Fill::Part(of) => {
                let chunks = self.reader.read(&of, &mut buffer, &lengths, self.known, policy)?;
                part = Some(of);
                chunks
            }
            Fill::Span(span) => match span.cut(&mut buffer)? {
                Some(chunks) => chunks,
                // Whoever gave up the span before has the error.
                None => return Ok(()),
            },
            Fill::Files(group) => {
                let (chunks, counts) = group.hash(&mut buffer)?;
                files = counts;
                chunks
            }
        };
        let packed = match policy {
            Policy::Raw => None,
            Policy::Plain | Policy::Zstd { .. } => {
                let members = new_members(&chunks, |digest| self.known.place(digest).is_some());
                let policy = if policy == Policy::Plain { among_known(&chunks, &members) } else { policy };
                self.packer.pack(&mut buffer, &chunks, members, policy)?
            }
        };
        let is_held = !is_own || chunks.iter().any(|hashed| hashed.held);
        let buffer = if is_held {
            Some(buffer)
        } else {
            self.own = buffer;
            None
        };
        let item = of.item(Hashed { buffer, part, chunks, files, policy, packed });
        // Where the save has failed elsewhere, nothing comes back.
        if let Ok(Some(back)) = self.turns.hand_over(at, item, is_own && is_held) {
            self.own = back;
        }
        Ok(())
    }
}
