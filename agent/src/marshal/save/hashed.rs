//! Batches of chunks of which everything is known.

use super::{
    super::{
        MarshalError,
        room::Room,
        zeros::{is_zeros, zeros_digest},
    },
    buffer::Buffer,
    part::{Part, read_again},
    policy::Policy,
};
use kale_protocol::{
    chunk::{Chunk, Codec},
    digest::Digest,
};
use std::collections::HashSet;

/// A batch of which everything is known.
pub(super) struct Hashed {
    /// None where no chunk is held.
    pub(super) buffer: Option<Buffer>,
    /// Where it was read from, for chunks that the buffer does not have.
    pub(super) part: Option<Part>,
    pub(super) chunks: Vec<HashedChunk>,
    /// How many of them each file has, where these are the files of a group.
    pub(super) files: Vec<usize>,
    pub(super) policy: Policy,
    /// A frame of some of the chunks, if it is worth it.
    pub(super) packed: Option<Packed>,
}

/// A chunk of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct HashedChunk {
    pub(super) chunk: Chunk,
    /// Where it starts in the buffer.
    pub(super) start: usize,
    pub(super) zeros: bool,
    /// Whether the buffer has its content; that of known ones need not be there.
    pub(super) held: bool,
    /// Whether it belongs to a run of its file, and to no frame that files share.
    pub(super) run: bool,
}

impl HashedChunk {
    /// Hashes content that starts there in its buffer.
    pub(super) fn of(content: &[u8], start: usize) -> Self {
        let (zeros, bytes) = (is_zeros(content), content.len() as u32);
        let digest = if zeros { zeros_digest(bytes) } else { Digest::of(content) };
        Self { chunk: Chunk { bytes, digest }, start, zeros, held: true, run: false }
    }

    /// Chunks of these lengths, one behind the other.
    pub(super) fn all_of(content: &[u8], lengths: &[u32]) -> Vec<Self> {
        let starts = lengths.iter().scan(0, |end, bytes| {
            let start = *end;
            *end += *bytes as usize;
            Some(start..*end)
        });
        starts.map(|place| Self::of(&content[place.clone()], place.start)).collect()
    }

    /// Its content, which has to be held.
    pub(super) fn content<'b>(&self, buffer: &'b Buffer) -> &'b [u8] {
        &buffer.bytes[self.start..self.start + self.chunk.bytes as usize]
    }
}

/// A compressed frame; its bytes are in [`Buffer::packed`].
pub(super) struct Packed {
    /// Which chunks of the batch are in it.
    pub(super) members: Vec<usize>,
    /// How it is to be decoded.
    pub(super) codec: Codec,
}

impl Hashed {
    /// The content of one of its chunks, read again where the buffer does not have it.
    pub(super) fn content<'c>(&'c self, index: usize, aside: &'c mut Room) -> Result<&'c [u8], MarshalError> {
        let hashed = &self.chunks[index];
        let Some(part) = self.part.as_ref().filter(|_| !hashed.held) else {
            return Ok(hashed.content(self.held()));
        };
        let offset = part.offset + hashed.start as u64;
        let content = aside.of(offset, hashed.chunk.bytes as usize);
        read_again(&part.file, offset, &hashed.chunk, content)?;
        Ok(content)
    }

    /// The buffer, where chunks are held.
    pub(super) fn held(&self) -> &Buffer {
        self.buffer.as_ref().expect("what holds chunks has a buffer")
    }
}

/// The first of each chunk that may share a frame, and is neither zeros nor known.
pub(super) fn new_members(chunks: &[HashedChunk], mut is_known: impl FnMut(&Digest) -> bool) -> Vec<usize> {
    let mut seen = HashSet::new();
    let mut new = |HashedChunk { chunk, zeros, run, .. }: &HashedChunk| {
        !zeros && !run && !is_known(&chunk.digest) && seen.insert(chunk.digest)
    };
    (0..chunks.len()).filter(|index| new(&chunks[*index])).collect()
}
