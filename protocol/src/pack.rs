//! Packs: stored files of chunks. `docs/formats/pack.md`.
//!
//! `head | frames … | index | tail`: data first, so that a pack can be written as a stream; the index and
//! a fixed tail last, so that a pack without them is known to be unfinished.

use crate::{
    chunk::{Chunk, Codec, Frame},
    envelope::{HEADER_BYTES, Kind},
    extension::Extensions,
    id::PackId,
    limits,
    object::{Object, ObjectError},
};
use serde::{Deserialize, Serialize};

/// Raw content of at least [`ALIGNED_FROM`] bytes starts at a multiple of this: a page, and the block that
/// file systems clone by.
pub const ALIGNMENT: u64 = 4096;
/// From this length on raw content is aligned.
pub const ALIGNED_FROM: u64 = 64 << 10;
/// Length of the tail, in bytes.
pub const TAIL_BYTES: usize = 32;

const TAIL_MAGIC: [u8; 8] = *b"KALEPEND";
const ADOPTED_MAGIC: [u8; 8] = *b"KALEPADO";

/// The head of a pack, at its first byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackHead {
    /// The pack's own id: a pack under another's name is found out.
    pub id: PackId,
    /// Later additions.
    pub extensions: Extensions,
}

/// Everything a pack holds: enough to verify it, or to find its chunks, without any manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackIndex {
    /// The pack's own id.
    pub id: PackId,
    /// Its frames by offset; bytes between frames are padding and mean nothing.
    pub frames: Vec<IndexedFrame>,
    /// Later additions.
    pub extensions: Extensions,
}

/// A frame and the chunks in it, one behind the other from its first decoded byte on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedFrame {
    /// Where and how it is stored.
    pub frame: Frame,
    /// Its chunks.
    pub chunks: Vec<Chunk>,
}

impl Object for PackHead {
    const KIND: Kind = Kind::Pack;

    fn extensions(&self) -> &Extensions {
        &self.extensions
    }
}

impl Object for PackIndex {
    const KIND: Kind = Kind::PackIndex;

    fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    fn check(&self) -> Result<(), &'static str> {
        let mut end = 0;
        for IndexedFrame { frame, chunks } in &self.frames {
            frame.check()?;
            if frame.offset < end {
                return Err("frames overlap or are out of order");
            }
            end = frame.offset + u64::from(frame.stored_bytes);
            let raw: u64 = chunks.iter().map(|chunk| u64::from(chunk.bytes)).sum();
            if raw != u64::from(frame.raw_bytes) || chunks.iter().any(|chunk| chunk.bytes == 0) {
                return Err("chunks do not fill their frame");
            }
        }
        Ok(())
    }
}

/// The fixed end of a pack: where its index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackTail {
    /// Where the index object starts.
    pub index_offset: u64,
    /// Length of the index object, envelope included.
    pub index_bytes: u64,
    /// Whether the pack began as a file of its own, which was adopted: then it has no head, and content may be at its
    /// first byte.
    pub adopted: bool,
}

impl PackTail {
    /// The stored bytes: two little-endian numbers, their check, the magic.
    pub fn to_bytes(self) -> [u8; TAIL_BYTES] {
        let mut bytes = [0; TAIL_BYTES];
        bytes[..8].copy_from_slice(&self.index_offset.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.index_bytes.to_le_bytes());
        let check = blake3::hash(&bytes[..16]);
        bytes[16..24].copy_from_slice(&check.as_bytes()[..8]);
        bytes[24..].copy_from_slice(if self.adopted { &ADOPTED_MAGIC } else { &TAIL_MAGIC });
        bytes
    }

    /// Reads a tail, given the length of the whole pack; `None` where it is none.
    pub fn from_bytes(bytes: &[u8; TAIL_BYTES], pack_bytes: u64) -> Option<Self> {
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let tail = Self { index_offset: number(0)?, index_bytes: number(8)?, adopted: bytes[24..] == ADOPTED_MAGIC };
        let ends_here = tail.index_offset.checked_add(tail.index_bytes)?.checked_add(TAIL_BYTES as u64)? == pack_bytes;
        let header = HEADER_BYTES as u64;
        let sane = tail.index_offset >= tail.content_from()
            && (header..=limits::PACK_INDEX + header).contains(&tail.index_bytes);
        (tail.to_bytes() == *bytes && ends_here && sane).then_some(tail)
    }

    /// The first offset at which content can be.
    pub const fn content_from(self) -> u64 {
        if self.adopted { 0 } else { HEADER_BYTES as u64 }
    }
}

/// Where content of this length and codec goes, given the pack's current end.
///
/// Raw content from [`ALIGNED_FROM`] on is put where its offset has the same remainder by [`ALIGNMENT`] as
/// its offset in the file, so that it can be mapped or cloned at page granularity.
pub fn place(end: u64, codec: Codec, raw_bytes: u64, file_offset: u64) -> u64 {
    if codec != Codec::Raw || raw_bytes < ALIGNED_FROM {
        return end;
    }
    let want = file_offset % ALIGNMENT;
    end + (ALIGNMENT + want - end % ALIGNMENT) % ALIGNMENT
}

/// Reads the index object of a pack, to which its tail has led, and checks that it is this pack's.
pub fn read_index(object: &[u8], id: PackId, tail: PackTail) -> Result<PackIndex, ObjectError> {
    let index = PackIndex::from_object(object)?;
    let broken = |rule| Err(ObjectError::Rule { kind: Kind::PackIndex, rule });
    if index.id != id {
        return broken("it belongs to another pack");
    }
    match index.frames.first() {
        Some(first) if first.frame.offset < tail.content_from() => broken("a frame begins within the pack's head"),
        _ => Ok(index),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_round_trip_and_refusals() {
        let begins_at = |index_offset, adopted| {
            let tail = PackTail { index_offset, index_bytes: 100, adopted };
            PackTail::from_bytes(&tail.to_bytes(), index_offset + 100 + 32) == Some(tail)
        };
        assert!(begins_at(64, false) && begins_at(64, true) && begins_at(0, true) && !begins_at(63, false));
        let tail = PackTail { index_offset: 4096, index_bytes: 100, adopted: false };
        let bytes = tail.to_bytes();
        assert_eq!(PackTail::from_bytes(&bytes, 4096 + 100 + 32), Some(tail));
        assert_eq!(PackTail::from_bytes(&bytes, 4096 + 100 + 33), None);
        for at in 0..TAIL_BYTES {
            let mut flipped = bytes;
            flipped[at] ^= 1;
            assert_eq!(PackTail::from_bytes(&flipped, 4096 + 100 + 32), None, "byte {at}");
        }
    }

    #[test]
    fn raw_content_is_congruent_with_its_file() {
        for (end, file_offset) in [(64, 0), (4096, 0), (4097, 1 << 20), (70, 4100), (4095, 4095)] {
            let at = place(end, Codec::Raw, ALIGNED_FROM, file_offset);
            assert!(at >= end && at - end < ALIGNMENT && at % ALIGNMENT == file_offset % ALIGNMENT);
        }
        assert_eq!(place(65, Codec::Raw, 10, 0), 65);
        assert_eq!(place(65, Codec::Zstd, 1 << 20, 0), 65);
    }
}
