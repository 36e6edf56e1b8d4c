//! Writes packs: begun when there is something to write, closed at about 64 MiB, published before any manifest names
//! them.

use super::MarshalError;
use crate::store::{Created, ObjectWriter, StoreError, Transport};
use kale_protocol::{
    chunk::{Chunk, Codec, Frame},
    extension::Extensions,
    id::PackId,
    layout, limits,
    object::Object,
    pack::{self, IndexedFrame, PackHead, PackIndex, PackTail},
};
use std::{
    collections::VecDeque,
    io,
    panic::resume_unwind,
    thread::{self, JoinHandle},
};

/// A pack of this length is closed where no run of raw content goes on.
const CLOSE_AT: u64 = 64 << 20;
/// No pack is longer.
const LONGEST: u64 = 64 << 30;

static PADDING: [u8; pack::ALIGNMENT as usize] = [0; pack::ALIGNMENT as usize];

/// Where bytes were put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    /// The pack, which may not be published yet.
    pub(crate) pack: PackId,
    /// Where they start.
    pub(crate) offset: u64,
}

/// What was written, once all of it is published.
#[derive(Clone, Debug, Default)]
pub(crate) struct PackStats {
    /// The packs, in the order in which they were begun.
    pub(crate) packs: Vec<PackId>,
    /// Their length.
    pub(crate) stored_bytes: u64,
}

/// Packs that are published while the next one is written: the medium's sync is waited for only at the end.
const PUBLISHING: usize = 2;

/// Appends frames to packs, one pack at a time. Memory: the index of the open pack, at most 10 MiB.
pub(crate) struct PackWriter<'a> {
    transport: &'a dyn Transport,
    open: Option<OpenPack>,
    publishing: VecDeque<Publishing>,
    stats: PackStats,
}

/// A pack that is whole and on its way.
struct Publishing {
    id: PackId,
    bytes: u64,
    published: JoinHandle<Result<Created, StoreError>>,
}

struct OpenPack {
    id: PackId,
    object: Box<dyn ObjectWriter>,
    end: u64,
    frames: Vec<IndexedFrame>,
    chunks: usize,
}

impl<'a> PackWriter<'a> {
    /// Writes nothing yet.
    pub(crate) fn new(transport: &'a dyn Transport) -> Self {
        Self { transport, open: None, publishing: VecDeque::new(), stats: PackStats::default() }
    }

    /// Whether a pack was begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.open.is_some() || !self.publishing.is_empty() || !self.stats.packs.is_empty()
    }

    /// Appends a frame as it is stored, one behind the other without alignment.
    pub(crate) fn frame(
        &mut self,
        codec: Codec,
        stored: &[u8],
        chunks: Vec<Chunk>,
    ) -> Result<(PackId, Frame), MarshalError> {
        self.frame_of(codec, &[stored], chunks)
    }

    /// The same, of what is stored in parts.
    pub(crate) fn frame_of(
        &mut self,
        codec: Codec,
        parts: &[&[u8]],
        chunks: Vec<Chunk>,
    ) -> Result<(PackId, Frame), MarshalError> {
        let raw_bytes = chunks.iter().map(|chunk| chunk.bytes).sum();
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let open = self.room_for(chunks.len(), bytes as u64, false)?;
        let frame = Frame { offset: open.end, stored_bytes: bytes as u32, raw_bytes, codec };
        parts.iter().try_for_each(|part| open.object.write(part))?;
        open.end += bytes as u64;
        open.chunks += chunks.len();
        open.frames.push(IndexedFrame { frame, chunks });
        Ok((open.id, frame))
    }

    /// Appends one chunk of a large file as it is: directly behind `last`, where that chunk of the same file still ends
    /// its pack, else at an offset congruent with its own in the file.
    pub(crate) fn raw(
        &mut self,
        chunk: Chunk,
        content: &[u8],
        file_offset: u64,
        last: Option<Spot>,
    ) -> Result<Spot, MarshalError> {
        let at_end = |open: &OpenPack| last == Some(Spot { pack: open.id, offset: open.end });
        let goes_on = self.open.as_ref().is_some_and(at_end);
        let open = self.room_for(1, content.len() as u64, goes_on)?;
        let offset = match last {
            Some(last) if (last == Spot { pack: open.id, offset: open.end }) => open.end,
            _ => pack::place(open.end, Codec::Raw, pack::ALIGNED_FROM, file_offset),
        };
        open.object.write(&PADDING[..(offset - open.end) as usize])?;
        open.object.write(content)?;
        open.end = offset + u64::from(chunk.bytes);
        open.chunks += 1;
        match open.frames.last_mut().filter(|_| goes_on) {
            Some(IndexedFrame { frame, chunks })
                if frame.codec == Codec::Raw && frame.raw_bytes + chunk.bytes <= limits::FRAME =>
            {
                frame.raw_bytes += chunk.bytes;
                frame.stored_bytes += chunk.bytes;
                chunks.push(chunk);
            }
            _ => {
                let frame = Frame { offset, stored_bytes: chunk.bytes, raw_bytes: chunk.bytes, codec: Codec::Raw };
                open.frames.push(IndexedFrame { frame, chunks: vec![chunk] });
            }
        }
        Ok(Spot { pack: open.id, offset })
    }

    /// Publishes what is open: from then on all packs are durable.
    pub(crate) fn finish(&mut self) -> Result<PackStats, MarshalError> {
        if let Some(Closed { id, bytes, object }) = self.close()? {
            let published = object.publish();
            self.settle_all()?;
            self.published(id, bytes, published?)?;
        }
        self.settle_all()?;
        Ok(self.stats.clone())
    }

    /// Discards what is open and removes what was published; nobody else can know these packs. A pack that cannot be
    /// removed is left for garbage collection.
    pub(crate) fn abandon(mut self) {
        drop(self.open.take());
        while !self.publishing.is_empty() {
            // Whatever goes wrong here, another error was first.
            let _ = self.settle();
        }
        for id in &self.stats.packs {
            // Best effort: whatever led here is the error that counts, and an unreferenced pack is only garbage.
            drop(self.transport.remove(&layout::pack(id)));
        }
    }

    /// The open pack, after it was closed where it is full, and begun where there is none.
    fn room_for(&mut self, chunks: usize, bytes: u64, goes_on: bool) -> Result<&mut OpenPack, MarshalError> {
        let full = self.open.as_ref().is_some_and(|open| {
            open.chunks + chunks > limits::PACK_CHUNKS
                || open.end + bytes + pack::ALIGNMENT > LONGEST
                || (!goes_on && open.end >= CLOSE_AT)
        });
        if full && let Some(closed) = self.close()? {
            self.publish(closed)?;
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => OpenPack::begin(self.transport)?,
        };
        Ok(self.open.insert(open))
    }

    /// Writes the end of the open pack.
    fn close(&mut self) -> Result<Option<Closed>, MarshalError> {
        let Some(OpenPack { id, object, end, frames, .. }) = self.open.take() else { return Ok(None) };
        Closed::end(id, object, end, frames, false).map(Some)
    }

    /// Makes a pack of a file that was taken into the store with all that is in it.
    pub(crate) fn adopt(
        &mut self,
        id: PackId,
        object: Box<dyn ObjectWriter>,
        bytes: u64,
        frames: Vec<IndexedFrame>,
    ) -> Result<(), MarshalError> {
        let closed = Closed::end(id, object, bytes, frames, true)?;
        self.publish(closed)
    }

    /// Publishes on a thread of its own, after the one before the last.
    fn publish(&mut self, closed: Closed) -> Result<(), MarshalError> {
        if self.publishing.len() >= PUBLISHING {
            self.settle()?;
        }
        self.publishing.push_back(closed.publish());
        Ok(())
    }

    fn settle_all(&mut self) -> Result<(), MarshalError> {
        while !self.publishing.is_empty() {
            self.settle()?;
        }
        Ok(())
    }

    /// Waits for the pack that was closed first.
    fn settle(&mut self) -> Result<(), MarshalError> {
        let Some(Publishing { id, bytes, published }) = self.publishing.pop_front() else { return Ok(()) };
        let created = published.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        self.published(id, bytes, created)
    }

    fn published(&mut self, id: PackId, bytes: u64, created: Created) -> Result<(), MarshalError> {
        match created {
            Created::New => {
                self.stats.packs.push(id);
                self.stats.stored_bytes += bytes;
                Ok(())
            }
            Created::Exists => {
                let place = format!("{} in {}", layout::pack(&id), self.transport.location());
                let source = io::Error::new(io::ErrorKind::AlreadyExists, "another pack has the id that was drawn");
                Err(StoreError::Io { action: "publish", place, source }.into())
            }
        }
    }
}

/// A pack whose end is written.
struct Closed {
    id: PackId,
    bytes: u64,
    object: Box<dyn ObjectWriter>,
}

impl Closed {
    /// Appends index and tail.
    fn end(
        id: PackId,
        mut object: Box<dyn ObjectWriter>,
        end: u64,
        frames: Vec<IndexedFrame>,
        adopted: bool,
    ) -> Result<Self, MarshalError> {
        let index = PackIndex { id, frames, extensions: Extensions::default() }.to_object();
        let tail = PackTail { index_offset: end, index_bytes: index.len() as u64, adopted }.to_bytes();
        object.write(&index)?;
        object.write(&tail)?;
        Ok(Self { id, bytes: end + (index.len() + tail.len()) as u64, object })
    }

    fn publish(self) -> Publishing {
        let Self { id, bytes, object } = self;
        Publishing { id, bytes, published: thread::spawn(move || object.publish()) }
    }
}

/// An id that no other pack has.
pub(crate) fn new_id(transport: &dyn Transport) -> Result<PackId, StoreError> {
    let mut id = PackId([0; 16]);
    getrandom::fill(&mut id.0).map_err(|error| StoreError::Io {
        action: "draw an id for a pack of",
        place: transport.location().to_owned(),
        source: error.raw_os_error().map_or(io::ErrorKind::Unsupported.into(), io::Error::from_raw_os_error),
    })?;
    Ok(id)
}

impl OpenPack {
    fn begin(transport: &dyn Transport) -> Result<Self, MarshalError> {
        let id = new_id(transport)?;
        let mut object = transport.writer(&layout::pack(&id))?;
        let head = PackHead { id, extensions: Extensions::default() }.to_object();
        object.write(&head)?;
        Ok(Self { id, object, end: head.len() as u64, frames: Vec::new(), chunks: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Memory;
    use kale_protocol::digest::Digest;

    fn chunk(content: &[u8]) -> Chunk {
        Chunk { bytes: content.len() as u32, digest: Digest::of(content) }
    }

    #[test]
    fn raw_runs_are_contiguous_and_congruent_and_the_index_is_sound() {
        let memory = Memory::new();
        let mut packs = PackWriter::new(&memory);
        packs.frame(Codec::Raw, b"small", vec![chunk(b"small")]).unwrap();
        let piece = vec![5; 1 << 20];
        let mut last = None;
        let mut first = None;
        for at in 0..20u64 {
            let spot = packs.raw(chunk(&piece), &piece, 100 + (at << 20), last).unwrap();
            assert!(last.is_none_or(|end| end == spot));
            first.get_or_insert(spot);
            last = Some(Spot { offset: spot.offset + (1 << 20), ..spot });
        }
        assert_eq!(first.unwrap().offset % 4096, 100);
        let stats = packs.finish().unwrap();
        let key = layout::pack(&stats.packs[0]);
        let object = memory.read(&key, u64::MAX).unwrap();
        assert_eq!(object.len() as u64, stats.stored_bytes);
        let tail = object[object.len() - pack::TAIL_BYTES..].try_into().unwrap();
        let tail = PackTail::from_bytes(&tail, object.len() as u64).unwrap();
        let index = &object[tail.index_offset as usize..][..tail.index_bytes as usize];
        let index = pack::read_index(index, stats.packs[0], tail).unwrap();
        assert_eq!(index.frames.len(), 3);
        for IndexedFrame { frame, chunks } in &index.frames {
            let mut at = frame.offset as usize;
            for chunk in chunks {
                assert_eq!(Digest::of(&object[at..at + chunk.bytes as usize]), chunk.digest);
                at += chunk.bytes as usize;
            }
        }
    }

    #[test]
    fn full_packs_are_closed_and_abandoned_ones_are_gone() {
        let memory = Memory::new();
        let mut packs = PackWriter::new(&memory);
        let piece = vec![7; 1 << 20];
        for _ in 0..70 {
            packs.frame(Codec::Raw, &piece, vec![chunk(&piece)]).unwrap();
        }
        packs.settle_all().unwrap();
        assert_eq!(memory.keys().len(), 1);
        packs.abandon();
        assert_eq!(memory.keys(), Vec::<String>::new());
    }
}
