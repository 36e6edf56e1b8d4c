//! Parts of long files, read and hashed by the workers.

use super::{
    super::{MarshalError, cut, known::Known, room::Room, source::Regular},
    buffer::Buffer,
    hashed::HashedChunk,
    policy::Policy,
};
use kale_protocol::{chunk::Chunk, digest::Digest};
use std::{ops::Range, sync::Arc};

/// Where a part of a large file begins, and whether its content is wanted, or only what it hashes to.
pub(super) struct Part {
    pub(super) file: Arc<Regular>,
    pub(super) offset: u64,
    pub(super) wanted: bool,
}

/// Reads a chunk of a file once more; it has to be what it was.
pub(super) fn read_again(file: &Regular, offset: u64, chunk: &Chunk, content: &mut [u8]) -> Result<(), MarshalError> {
    file.read_exact(content, offset)?;
    if Digest::of(content) == chunk.digest {
        return Ok(());
    }
    let how = format!("its content from byte {offset} on changed");
    Err(MarshalError::Changed { path: file.path().to_owned(), how })
}

/// Reads parts.
///
/// Each chunk is hashed while it is in the cache. Content that nobody will want, since the store has it, is read to the
/// same place again and again, which stays in this core's.
#[derive(Default)]
pub(super) struct PartReader {
    scratch: Room,
    /// Whether the last chunk was known: then the next one often is.
    was_known: bool,
}

impl PartReader {
    /// Room for content that nobody wants, which begins at this offset in its file.
    pub(super) fn aside(&mut self, offset: u64, bytes: usize) -> &mut [u8] {
        &mut self.scratch.of(offset, cut::MAX.max(bytes))[..bytes]
    }

    /// Chunks of these lengths, one behind the other.
    pub(super) fn read(
        &mut self,
        part: &Part,
        buffer: &mut Buffer,
        lengths: &[u32],
        known: &Known,
        policy: Policy,
    ) -> Result<Vec<HashedChunk>, MarshalError> {
        if part.wanted {
            buffer.make_room(lengths.iter().sum::<u32>() as usize);
            buffer.bytes.begin_at(part.offset);
        }
        let (mut chunks, mut start) = (Vec::with_capacity(lengths.len()), 0);
        for bytes in lengths {
            let end = start + *bytes as usize;
            let aside = !part.wanted || self.was_known && policy == Policy::Raw;
            chunks.push(self.chunk(part, buffer, start..end, aside, known)?);
            start = end;
        }
        Ok(chunks)
    }

    fn chunk(
        &mut self,
        part: &Part,
        buffer: &mut Buffer,
        place: Range<usize>,
        aside: bool,
        known: &Known,
    ) -> Result<HashedChunk, MarshalError> {
        let is_known = |hashed: &HashedChunk| hashed.zeros || known.place(&hashed.chunk.digest).is_some();
        let (start, offset) = (place.start, part.offset + place.start as u64);
        if !aside {
            part.file.read_exact(&mut buffer.bytes[place.clone()], offset)?;
            let hashed = HashedChunk::of(&buffer.bytes[place], start);
            self.was_known = is_known(&hashed);
            return Ok(hashed);
        }
        let content = self.aside(offset, place.len());
        part.file.read_exact(content, offset)?;
        let mut hashed = HashedChunk::of(content, start);
        let known = is_known(&hashed);
        hashed.held = part.wanted && !known;
        if hashed.held {
            buffer.bytes[place].copy_from_slice(content);
        }
        self.was_known = known;
        Ok(hashed)
    }
}
