//! Chunks, and where they lie: `docs/formats/manifest.md`, section extents.

use crate::{digest::Digest, id::PackId, limits};
use serde::{Deserialize, Serialize};

/// A piece of content, named by the BLAKE3 of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Chunk {
    /// Its length in bytes: 1 to [`limits::CHUNK`].
    pub bytes: u32,
    /// BLAKE3 of its bytes.
    pub digest: Digest,
}

/// How a frame's bytes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Codec {
    /// As they are.
    Raw,
    /// One zstd frame (RFC 8878).
    Zstd,
    /// One zstd frame of the content with the bytes of its elements apart: the first byte of each element, then the
    /// second of each, and so on; at the end, as they are, bytes that make no whole element.
    ZstdShuffled {
        /// Bytes of an element: 2, 4 or 8.
        width: u8,
    },
}

/// A frame: the unit of compression, inside a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Frame {
    /// Where it starts in its pack, in bytes.
    pub offset: u64,
    /// Bytes in the pack.
    pub stored_bytes: u32,
    /// Bytes once decoded.
    pub raw_bytes: u32,
    /// How to decode it.
    pub codec: Codec,
}

/// A stretch of a file's content, in file order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Extent {
    /// The bytes themselves: one chunk, at most [`limits::INLINE`] bytes.
    Inline {
        /// The content.
        #[serde(with = "crate::bytes")]
        content: Vec<u8>,
    },
    /// `count` chunks of `chunk_bytes` zero bytes each, stored nowhere; restored as a hole.
    Zeros {
        /// How many chunks.
        count: u64,
        /// The length of each.
        chunk_bytes: u32,
    },
    /// Chunks that lie one behind the other, as they are, in a pack: one read, one map or one clone.
    Raw {
        /// Index into the manifest's pack table.
        pack: u32,
        /// Where the first chunk starts in the pack.
        offset: u64,
        /// The chunks.
        chunks: Vec<Chunk>,
    },
    /// Chunks that lie one behind the other in a decoded frame.
    Framed {
        /// Index into the manifest's pack table.
        pack: u32,
        /// The frame.
        frame: Frame,
        /// Where the first chunk starts in the decoded frame.
        start: u32,
        /// The chunks.
        chunks: Vec<Chunk>,
    },
}

impl Extent {
    /// Bytes of content that it stands for.
    pub fn raw_bytes(&self) -> u64 {
        match self {
            Self::Inline { content } => content.len() as u64,
            Self::Zeros { count, chunk_bytes } => count.saturating_mul(u64::from(*chunk_bytes)),
            Self::Raw { chunks, .. } | Self::Framed { chunks, .. } => total(chunks),
        }
    }

    /// The pack table index it refers to, if it does.
    pub fn pack(&self) -> Option<u32> {
        match self {
            Self::Raw { pack, .. } | Self::Framed { pack, .. } => Some(*pack),
            Self::Inline { .. } | Self::Zeros { .. } => None,
        }
    }

    /// Checks sizes and sums; `packs` is the length of the manifest's pack table.
    pub(crate) fn check(&self, packs: usize) -> Result<(), &'static str> {
        if self.pack().is_some_and(|pack| pack as usize >= packs) {
            return Err("an extent names a pack that is not in the pack table");
        }
        match self {
            Self::Inline { content } if content.is_empty() || content.len() > limits::INLINE => {
                Err("inline content is empty or over 16 KiB")
            }
            Self::Zeros { count, chunk_bytes }
                if *count == 0
                    || *chunk_bytes == 0
                    || *chunk_bytes > limits::CHUNK
                    || self.raw_bytes() > i64::MAX as u64 =>
            {
                Err("a run of zeros is empty or too long")
            }
            Self::Raw { offset, chunks, .. } => {
                check_chunks(chunks)?;
                match offset.checked_add(total(chunks)) {
                    Some(end) if end <= i64::MAX as u64 => Ok(()),
                    _ => Err("a raw extent ends beyond any file"),
                }
            }
            Self::Framed { frame, start, chunks, .. } => {
                check_chunks(chunks)?;
                frame.check()?;
                if u64::from(*start) + total(chunks) > u64::from(frame.raw_bytes) {
                    return Err("chunks end beyond their frame");
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Frame {
    /// Checks sizes and sums.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.stored_bytes == 0
            || self.raw_bytes == 0
            || self.stored_bytes > limits::FRAME
            || self.raw_bytes > limits::FRAME
        {
            return Err("a frame is empty or over 16 MiB");
        }
        if self.codec == Codec::Raw && self.stored_bytes != self.raw_bytes {
            return Err("a raw frame has two lengths");
        }
        if matches!(self.codec, Codec::ZstdShuffled { width } if !matches!(width, 2 | 4 | 8)) {
            return Err("a frame is shuffled by a width other than 2, 4 and 8");
        }
        match self.offset.checked_add(u64::from(self.stored_bytes)) {
            Some(end) if end <= i64::MAX as u64 => Ok(()),
            _ => Err("a frame ends beyond any file"),
        }
    }
}

fn total(chunks: &[Chunk]) -> u64 {
    chunks.iter().map(|chunk| u64::from(chunk.bytes)).sum()
}

fn check_chunks(chunks: &[Chunk]) -> Result<(), &'static str> {
    if chunks.is_empty() {
        return Err("an extent has no chunk");
    }
    if chunks.iter().any(|chunk| chunk.bytes == 0 || chunk.bytes > limits::CHUNK) {
        return Err("a chunk is empty or over 4 MiB");
    }
    Ok(())
}

/// Where one chunk can be read, for deduplication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkPlace {
    /// As it is, at this offset of the pack.
    Raw {
        /// The pack.
        pack: PackId,
        /// Where the chunk starts.
        offset: u64,
    },
    /// In a frame, from this byte of the decoded frame on.
    Framed {
        /// The pack.
        pack: PackId,
        /// The frame.
        frame: Frame,
        /// Where the chunk starts in the decoded frame.
        start: u32,
    },
}
