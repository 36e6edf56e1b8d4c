//! Reads chunks out of packs: every byte is hashed before it counts as content.

use super::{
    MarshalError,
    pieces::{Part, Piece, Place, Stored},
    room::Room,
    shuffle,
};
use crate::store::{StoreError, Transport};
use bytes::Bytes;
use kale_protocol::{
    chunk::{Codec, Frame},
    digest::Digest,
    envelope::{self, HEADER_BYTES, Kind},
    id::PackId,
    layout, limits,
    object::{Object, ObjectError},
    pack::{PackHead, PackIndex, PackTail, TAIL_BYTES, read_index},
};
use std::{
    fmt, mem,
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
};
use zstd::bulk::Decompressor;

/// Most bytes that reads of neighbours are joined to.
const JOINED_BYTES: u64 = 2 << 20;
/// Memory of so many readers is kept, unless it is longer than this.
const SPARE: usize = 4;
const SPARE_BYTES: usize = 4 << 20;
/// Most bytes between two neighbours that are read and not needed.
const GAP_BYTES: u64 = 64 << 10;

/// A reader of chunks for one thread; remembers the frame that it decoded last, which neighbours share.
pub(crate) struct ChunkReader<'t> {
    transport: &'t dyn Transport,
    decompressor: Decompressor<'static>,
    stored: Room,
    decoded: Room,
    /// A frame whose elements are still to be put together.
    apart: Room,
    cached: Option<(PackId, Frame)>,
    /// Stretches of packs that are worth one read each, by pack and offset; each is read once.
    planned: Vec<Stretch>,
    joined: Room,
    gathered: Vec<u8>,
    joined_from: Option<Stretch>,
}

impl Drop for ChunkReader<'_> {
    fn drop(&mut self) {
        let mut spare = spare();
        if spare.len() < SPARE && self.stored.len() <= SPARE_BYTES {
            spare.push(mem::take(&mut self.stored));
        }
    }
}

/// Memory of readers that are gone: of 64 inputs each has readers of its own, and to fault in a gigabyte's worth of new
/// memory takes as long as to read it.
fn spare() -> MutexGuard<'static, Vec<Room>> {
    static ALL: Mutex<Vec<Room>> = Mutex::new(Vec::new());
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

type Stretch = (PackId, Range<u64>);

/// What is wrong with a chunk that was looked at.
pub(crate) struct Flaw {
    /// The chunk.
    pub(crate) chunk: Digest,
    /// Where it, or its frame, starts in the pack.
    pub(crate) offset: u64,
}

/// Why a frame's bytes are not there.
enum Unreadable {
    Store(StoreError),
    Decode,
}

impl<'t> ChunkReader<'t> {
    /// A reader with nothing read yet.
    pub(crate) fn new(transport: &'t dyn Transport) -> Result<Self, MarshalError> {
        let decompressor = Decompressor::new().map_err(|source| MarshalError::Io {
            action: "take memory for",
            path: "a zstd decoder".into(),
            source,
        })?;
        Ok(Self {
            transport,
            decompressor,
            stored: spare().pop().unwrap_or_default(),
            decoded: Room::default(),
            apart: Room::default(),
            cached: None,
            planned: Vec::new(),
            joined: Room::default(),
            gathered: Vec::new(),
            joined_from: None,
        })
    }

    /// Tells which raw stretches will be read soon, so that neighbours are read in one go.
    pub(crate) fn plan(&mut self, soon: impl Iterator<Item = (PackId, Range<u64>)>) {
        let mut single: Vec<Stretch> = soon.collect();
        single.sort_by_key(|(pack, range)| (*pack, range.start));
        self.planned.clear();
        let mut alone = true;
        for (pack, range) in single {
            match self.planned.last_mut() {
                Some((last_pack, last))
                    if *last_pack == pack
                        && range.start <= last.end + GAP_BYTES
                        && range.end.max(last.end) - last.start <= JOINED_BYTES =>
                {
                    last.end = last.end.max(range.end);
                    alone = false;
                }
                last => {
                    // A stretch without neighbours is read where it is needed, without a copy.
                    if last.is_some() && alone {
                        self.planned.pop();
                    }
                    self.planned.push((pack, range));
                    alone = true;
                }
            }
        }
        if alone {
            self.planned.pop();
        }
    }

    /// Where the bytes of a planned stretch are now; none where it was not planned, or where only a read of its own can
    /// tell what is wrong.
    fn joined(&mut self, pack: PackId, range: Range<u64>) -> Option<Held> {
        let covers =
            |stretch: &Stretch| stretch.0 == pack && stretch.1.start <= range.start && range.end <= stretch.1.end;
        if !self.joined_from.as_ref().is_some_and(covers) {
            let found = self.planned.iter().position(covers)?;
            let (_, all) = self.planned.swap_remove(found);
            self.joined_from = None;
            let joined = self.joined.of(all.start, (all.end - all.start) as usize);
            self.transport.read_at(&layout::pack(&pack), all.start, joined).ok()?;
            self.joined_from = Some((pack, all));
        }
        let start = (range.start - self.joined_from.as_ref()?.1.start) as usize;
        Some(Held::Joined(start..start + (range.end - range.start) as usize))
    }

    /// A piece's content, every chunk of it verified, until the next read; `what` names the content in errors.
    pub(crate) fn piece<'p>(&'p mut self, piece: &'p Piece, what: &dyn fmt::Display) -> Result<&'p [u8], MarshalError> {
        match &piece.parts[..] {
            [Part::Inline(content)] => Ok(content),
            [Part::Stored(stored)] => self.stored(stored, what),
            parts => {
                let mut gathered = mem::take(&mut self.gathered);
                gathered.clear();
                for part in parts {
                    match part {
                        Part::Inline(content) => gathered.extend_from_slice(content),
                        Part::Stored(stored) => gathered.extend_from_slice(self.stored(stored, what)?),
                    }
                }
                self.gathered = gathered;
                Ok(&self.gathered)
            }
        }
    }

    /// A piece's content in parts, every chunk of it verified, where the medium holds it in memory; else, and where it is
    /// damaged there, `None`: then [`Self::piece`] is to be asked.
    pub(crate) fn shared(&self, piece: &Piece) -> Option<Vec<Bytes>> {
        let [Part::Stored(stored)] = &piece.parts[..] else { return None };
        let Place::Raw(offset) = stored.place else { return None };
        let parts = self.transport.shared(&layout::pack(&stored.pack), offset, stored.bytes())?;
        let sound = stored.each().all(|(chunk, before, _)| {
            Digest::of_parts(within(&parts, before..before + chunk.bytes as usize)) == chunk.digest
        });
        sound.then_some(parts)
    }

    /// Fills `out` with a piece's content, every chunk of it verified; `what` names the content in errors.
    pub(crate) fn read_piece(
        &mut self,
        piece: &Piece,
        what: &dyn fmt::Display,
        out: &mut Vec<u8>,
    ) -> Result<(), MarshalError> {
        out.clear();
        out.extend_from_slice(self.piece(piece, what)?);
        Ok(())
    }

    /// The content of chunks, verified, until the next read.
    fn stored(&mut self, stored: &Stored, what: &dyn fmt::Display) -> Result<&[u8], MarshalError> {
        let damaged = |chunk: Digest, offset: u64| MarshalError::Damaged {
            what: what.to_string(),
            chunk,
            place: format!("pack {} at byte {offset}", stored.pack),
        };
        let content = match self.fetch(stored) {
            Ok(held) => self.held(&held),
            Err(Unreadable::Store(error)) => return Err(error.into()),
            Err(Unreadable::Decode) => return Err(damaged(stored.chunks[0].digest, stored.place.offset())),
        };
        match flaws(stored, content).next() {
            Some(flaw) => Err(damaged(flaw.chunk, flaw.offset)),
            None => Ok(content),
        }
    }

    /// Looks at chunks and tells of each that is not there as it should be; fails only where the medium does.
    pub(crate) fn examine(&mut self, stored: &Stored, tell: &mut dyn FnMut(Flaw)) -> Result<(), MarshalError> {
        match self.fetch(stored) {
            Ok(held) => flaws(stored, self.held(&held)).for_each(tell),
            Err(Unreadable::Store(error @ StoreError::Io { .. })) => return Err(error.into()),
            // A pack that is cut short may still have the first of these chunks.
            Err(Unreadable::Store(StoreError::Short { .. }))
                if stored.chunks.len() > 1 && matches!(stored.place, Place::Raw(_)) =>
            {
                stored.singly().try_for_each(|single| self.examine(&single, tell))?;
            }
            Err(_) => all_flaws(stored).for_each(tell),
        }
        Ok(())
    }

    /// Reads the bytes where the chunks should be, not verified.
    fn fetch(&mut self, stored: &Stored) -> Result<Held, Unreadable> {
        let bytes = stored.bytes();
        match stored.place {
            Place::Raw(offset) => {
                if let Some(held) = self.joined(stored.pack, offset..offset + bytes as u64) {
                    return Ok(held);
                }
                let room = self.stored.of(offset, bytes);
                self.transport.read_at(&layout::pack(&stored.pack), offset, room).map_err(Unreadable::Store)?;
                Ok(Held::Stored(bytes))
            }
            Place::Framed(frame, start) => {
                self.frame(stored.pack, frame)?;
                let range = start as usize..start as usize + bytes;
                if range.end > frame.raw_bytes as usize { Err(Unreadable::Decode) } else { Ok(Held::Decoded(range)) }
            }
        }
    }

    /// The bytes that were read last.
    fn held(&self, held: &Held) -> &[u8] {
        match held {
            Held::Joined(range) => &self.joined[range.clone()],
            Held::Stored(bytes) => &self.stored[..*bytes],
            Held::Decoded(range) => &self.decoded[range.clone()],
        }
    }

    /// The decoded bytes of a frame, not verified.
    fn frame(&mut self, pack: PackId, frame: Frame) -> Result<&[u8], Unreadable> {
        let raw_bytes = frame.raw_bytes as usize;
        if self.cached == Some((pack, frame)) {
            return Ok(&self.decoded[..raw_bytes]);
        }
        self.cached = None;
        let key = layout::pack(&pack);
        let decoded = self.decoded.of(frame.offset, raw_bytes);
        match frame.codec {
            Codec::Raw => self.transport.read_at(&key, frame.offset, decoded).map_err(Unreadable::Store)?,
            Codec::Zstd | Codec::ZstdShuffled { .. } => {
                let stored = self.stored.of(frame.offset, frame.stored_bytes as usize);
                self.transport.read_at(&key, frame.offset, stored).map_err(Unreadable::Store)?;
                let shuffled = if let Codec::ZstdShuffled { width } = frame.codec { Some(width) } else { None };
                let out = if shuffled.is_some() { self.apart.of(0, raw_bytes) } else { &mut *decoded };
                if self.decompressor.decompress_to_buffer(stored, out).ok() != Some(raw_bytes) {
                    return Err(Unreadable::Decode);
                }
                if let Some(width) = shuffled {
                    shuffle::together(&self.apart[..raw_bytes], width, decoded);
                }
            }
        }
        self.cached = Some((pack, frame));
        Ok(&self.decoded[..raw_bytes])
    }
}

/// What of some parts, one behind the other, lies in a range of all of them.
fn within(parts: &[Bytes], range: Range<usize>) -> impl Iterator<Item = &[u8]> {
    let mut end = 0;
    parts.iter().filter_map(move |part| {
        let start = end;
        end += part.len();
        let here = range.start.clamp(start, end) - start..range.end.clamp(start, end) - start;
        (!here.is_empty()).then(|| &part[here])
    })
}

/// Which of a reader's memory holds what was read.
enum Held {
    Joined(Range<usize>),
    Stored(usize),
    Decoded(Range<usize>),
}

/// Chunks of `stored` whose bytes do not match.
fn flaws(stored: &Stored, content: &[u8]) -> impl Iterator<Item = Flaw> {
    stored.each().filter_map(move |(chunk, before, place)| {
        let bytes = &content[before..before + chunk.bytes as usize];
        (Digest::of(bytes) != chunk.digest).then(|| Flaw { chunk: chunk.digest, offset: place.offset() })
    })
}

fn all_flaws(stored: &Stored) -> impl Iterator<Item = Flaw> {
    stored.each().map(|(chunk, _, place)| Flaw { chunk: chunk.digest, offset: place.offset() })
}

/// Reads a pack's head and index, and checks that they are this pack's.
pub(crate) fn open_pack(transport: &dyn Transport, id: PackId) -> Result<PackIndex, MarshalError> {
    let key = layout::pack(&id);
    let store = || transport.location().to_owned();
    let object = |source| StoreError::Object { store: store(), key: key.clone(), source };
    let stat = transport.stat(&key)?.ok_or_else(|| StoreError::NotFound { store: store(), key: key.clone() })?;

    let unfinished = || object(ObjectError::Rule { kind: Kind::Pack, rule: "it has no tail" });
    let tail_offset = stat.bytes.checked_sub(TAIL_BYTES as u64).ok_or_else(unfinished)?;
    let mut tail = [0; TAIL_BYTES];
    transport.read_at(&key, tail_offset, &mut tail)?;
    let tail = PackTail::from_bytes(&tail, stat.bytes).ok_or_else(unfinished)?;
    if !tail.adopted {
        let mut head = vec![0; HEADER_BYTES];
        transport.read_at(&key, 0, &mut head)?;
        let header = envelope::parse_header(&head, Kind::Pack).map_err(|error| object(error.into()))?;
        head.resize(HEADER_BYTES + header.stored_bytes as usize, 0);
        transport.read_at(&key, HEADER_BYTES as u64, &mut head[HEADER_BYTES..])?;
        if PackHead::from_object(&head).map_err(object)?.id != id {
            return Err(object(ObjectError::Rule { kind: Kind::Pack, rule: "it belongs to another pack" }).into());
        }
    }
    let mut index = vec![0; tail.index_bytes as usize];
    transport.read_at(&key, tail.index_offset, &mut index)?;
    Ok(read_index(&index, id, tail).map_err(object)?)
}

/// Reads a small object that lies in one frame of its own, such as a manifest page, and checks its digest.
pub(crate) fn read_frame(
    transport: &dyn Transport,
    pack: PackId,
    frame: Frame,
    digest: &Digest,
    what: &dyn fmt::Display,
) -> Result<Vec<u8>, MarshalError> {
    debug_assert!(frame.raw_bytes <= limits::FRAME, "checked when the manifest was decoded");
    let mut reader = ChunkReader::new(transport)?;
    match reader.frame(pack, frame) {
        Ok(decoded) if Digest::of(decoded) == *digest => return Ok(decoded.to_vec()),
        Ok(_) | Err(Unreadable::Decode) => {}
        Err(Unreadable::Store(error)) => return Err(error.into()),
    }
    let place = format!("pack {pack} at byte {}", frame.offset);
    Err(MarshalError::Damaged { what: what.to_string(), chunk: *digest, place })
}
