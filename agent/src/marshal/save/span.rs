//! Cutting by content on all workers: a long stretch is cut in spans, each by the worker that reads and hashes it.
//!
//! Where a chunk ends depends on where it begins, and that is known only when the span before is cut. So a worker
//! begins by a guess: as if its span's first byte were a cut. Both rules look at nothing but the bytes just before a
//! position, so chains of cuts that began at different places soon meet, mostly after the second chunk; from there
//! on the guess was right. What lies before is cut, and hashed, once it is known where the span before ended. So the
//! cuts are those of one thread that reads from front to end; only a tenth of the content is looked at twice. Content
//! without any mark, where the longest length decides, never meets: there the worker cuts anew, and wasted its guess.

use super::{
    super::{
        MarshalError,
        cut::{self, Rule},
        segment::Segment,
        source::Regular,
    },
    buffer::{Buffer, STEP},
    hashed::HashedChunk,
};
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use std::{mem, ops::Range, sync::Arc};

/// A stretch of a segment, to be cut by a worker.
pub(super) struct Span {
    file: Arc<Regular>,
    /// Where it starts and ends in the file.
    place: Range<u64>,
    /// Where its segment ends.
    segment_end: u64,
    /// Where its first chunk starts: here, or up to [`cut::MAX`] bytes before.
    start: Receiver<u64>,
    /// Where the first chunk of the next span starts.
    next: Sender<u64>,
}

impl Span {
    /// The spans of a segment, in order, each of which needs so much room with the end of the one before it, more than
    /// [`cut::MAX`]. Whoever works on one may wait for the one before: they are to be begun in order.
    pub(super) fn of(file: &Arc<Regular>, segment: Segment, room: usize) -> impl Iterator<Item = Self> {
        let span = room - cut::MAX;
        let (first, mut start) = bounded(1);
        // There is room for it, and its receiver is here.
        let _ = first.send(segment.start);
        let file = Arc::clone(file);
        (segment.start..segment.end).step_by(span).map(move |at| {
            let (next, after) = bounded(1);
            let start = mem::replace(&mut start, after);
            let place = at..(at + span as u64).min(segment.end);
            Self { file: Arc::clone(&file), place, segment_end: segment.end, start, next }
        })
    }

    /// Reads it into a buffer and cuts it; nothing where the span before was given up.
    pub(super) fn cut(&self, buffer: &mut Buffer) -> Result<Option<Vec<HashedChunk>>, MarshalError> {
        buffer.make_room(cut::MAX + (self.place.end - self.place.start) as usize);
        let base = self.place.start.saturating_sub(cut::MAX as u64);
        buffer.bytes.begin_at(base);
        let mut view = View { span: self, bytes: &mut buffer.bytes, base, read: self.place.start };
        let (guess, start) = match self.start.try_recv() {
            Ok(start) => (Guess::default(), start),
            Err(TryRecvError::Disconnected) => return Ok(None),
            Err(TryRecvError::Empty) => {
                let guess = view.guess()?;
                let Ok(start) = self.start.recv() else { return Ok(None) };
                (guess, start)
            }
        };
        view.read_before(start)?;
        if guess.cuts.is_empty() {
            // Nothing is to be met, so each chunk is hashed while it is in the cache.
            let (chunks, end) = view.hash_from(start)?;
            self.end(end);
            return Ok(Some(chunks));
        }
        let (fresh, met) = view.meet(start, &guess)?;
        self.end(met.map_or(*fresh.last().unwrap_or(&start), |_| guess.end()));
        let starts = [&[start], &fresh[..]].concat();
        let mut chunks: Vec<HashedChunk> = starts.windows(2).map(|ends| view.hash(ends[0], ends[1])).collect();
        chunks.extend(met.map_or(&[][..], |index| &guess.chunks[index..]));
        Ok(Some(chunks))
    }

    /// Tells the next span where it starts; where there is none, or it was given up, nobody listens.
    fn end(&self, end: u64) {
        let _ = self.next.send(end);
    }
}

/// Cuts of a chain that began at the span's first byte, and the chunks between each two of them.
#[derive(Default)]
struct Guess {
    cuts: Vec<u64>,
    chunks: Vec<HashedChunk>,
}

impl Guess {
    fn end(&self) -> u64 {
        self.cuts.last().copied().unwrap_or_default()
    }
}

/// What was read of a span, and of what lies before it.
struct View<'s> {
    span: &'s Span,
    bytes: &'s mut [u8],
    /// Where the buffer's first byte lies in the file.
    base: u64,
    /// Up to where the span was read.
    read: u64,
}

impl View<'_> {
    /// Cuts as if the span's first byte were a cut.
    fn guess(&mut self) -> Result<Guess, MarshalError> {
        let mut guess = Guess::default();
        let Some(first) = self.chunk_end(self.span.place.start, &mut 0)? else { return Ok(guess) };
        (guess.chunks, _) = self.hash_from(first)?;
        let mut end = first;
        guess.cuts.push(first);
        for hashed in &guess.chunks {
            end += u64::from(hashed.chunk.bytes);
            guess.cuts.push(end);
        }
        Ok(guess)
    }

    /// Cuts and hashes from a cut on, as far as the span decides; the last cut, too.
    fn hash_from(&mut self, start: u64) -> Result<(Vec<HashedChunk>, u64), MarshalError> {
        let (mut chunks, mut at, mut tested) = (Vec::new(), start, 0);
        while let Some(end) = self.chunk_end(at, &mut tested)? {
            chunks.push(self.hash(at, end));
            at = end;
        }
        Ok((chunks, at))
    }

    /// Cuts from a cut on, up to one that was guessed, whose index is given, or else as far as the span decides.
    fn meet(&mut self, start: u64, guess: &Guess) -> Result<(Vec<u64>, Option<usize>), MarshalError> {
        let (mut fresh, mut at, mut tested) = (Vec::new(), start, 0);
        loop {
            if let Ok(index) = guess.cuts.binary_search(&at) {
                return Ok((fresh, Some(index)));
            }
            let Some(end) = self.chunk_end(at, &mut tested)? else { return Ok((fresh, None)) };
            fresh.push(end);
            at = end;
        }
    }

    /// Where the chunk that starts at `start` ends; `None` where later spans decide, or nothing is left.
    fn chunk_end(&mut self, start: u64, tested: &mut usize) -> Result<Option<u64>, MarshalError> {
        let Range { end, .. } = self.span.place;
        let longest = (self.span.segment_end - start).min(cut::MAX as u64);
        if longest == 0 {
            return Ok(None);
        }
        loop {
            let seen = self.read.saturating_sub(start).min(longest);
            let window = self.place(start, start + seen);
            if let Some(bytes) = Rule::Content.first_chunk(&self.bytes[window], seen == longest, tested) {
                return Ok(Some(start + bytes as u64));
            }
            if self.read == end {
                return Ok(None);
            }
            let until = (self.read + STEP as u64).min(end);
            let place = self.place(self.read, until);
            self.span.file.read_exact(&mut self.bytes[place], self.read)?;
            self.read = until;
        }
    }

    /// Reads what lies between a cut in the span before and this span.
    fn read_before(&mut self, start: u64) -> Result<(), MarshalError> {
        let place = self.place(start, self.span.place.start);
        self.span.file.read_exact(&mut self.bytes[place], start)
    }

    fn hash(&self, start: u64, end: u64) -> HashedChunk {
        let place = self.place(start, end);
        HashedChunk::of(&self.bytes[place.clone()], place.start)
    }

    fn place(&self, start: u64, end: u64) -> Range<usize> {
        (start - self.base) as usize..(end - self.base) as usize
    }
}

#[cfg(test)]
mod tests;
