//! Long files that the store may take as they are: hashed where they lie, and nothing of them is written.
//!
//! Which it is is known only once all is hashed: of a file of which the store has most, what is new is copied, so that
//! a second version costs what changed.

use super::{
    super::{
        MarshalError,
        pack_writer::{PackWriter, new_id},
        source::Regular,
    },
    hashed::HashedChunk,
    part::read_again,
    policy::Policy,
};
use crate::store::{Adoption, Transport};
use kale_protocol::{
    chunk::{Codec, Frame},
    id::PackId,
    layout, limits,
    pack::IndexedFrame,
};
use std::sync::Arc;

/// Shorter files are copied: they share packs.
const FROM: u64 = 8 << 20;
/// Longer ones are copied: their chunks, at 64 KiB each, might be more than a pack can have.
const UP_TO: u64 = 16 << 30;
/// A file of which less is new is copied.
const NEW_PERCENT: u64 = 90;

/// A file that is being hashed where it lies.
pub(super) struct Adoptable {
    file: Arc<Regular>,
    adoption: Box<dyn Adoption>,
    /// How it is stored where it is not taken.
    policy: Policy,
    /// Each with its offset in the file as its start.
    chunks: Vec<HashedChunk>,
    bytes: u64,
}

/// Watches a file that is to be stored as it is, if the medium can adopt it.
pub(super) fn watch(
    adopter: &dyn Transport,
    file: &Arc<Regular>,
    policy: Policy,
) -> Result<Option<Adoptable>, MarshalError> {
    if !(FROM..=UP_TO).contains(&file.bytes()) || file.is_sparse() {
        return Ok(None);
    }
    let Some(single) = file.single() else { return Ok(None) };
    let adoption = adopter.adopt(single, file.path())?;
    Ok(adoption.map(|adoption| Adoptable { file: Arc::clone(file), adoption, policy, chunks: Vec::new(), bytes: 0 }))
}

impl Adoptable {
    /// Adds the next chunks; returns how long they are.
    pub(super) fn remember(&mut self, chunks: &[HashedChunk]) -> u64 {
        let before = self.bytes;
        for chunk in chunks {
            self.chunks.push(HashedChunk { start: self.bytes as usize, ..*chunk });
            self.bytes += u64::from(chunk.chunk.bytes);
        }
        self.bytes - before
    }

    /// How it is stored where it is not taken.
    pub(super) fn policy(&self) -> Policy {
        self.policy
    }

    /// All of its chunks.
    pub(super) fn chunks(&self) -> &[HashedChunk] {
        &self.chunks
    }

    /// Whether so much of it is new that it is worth taking.
    pub(super) fn is_mostly(&self, is_new: impl Fn(&HashedChunk) -> bool) -> bool {
        let new: u64 = self.chunks.iter().filter(|chunk| is_new(chunk)).map(|chunk| u64::from(chunk.chunk.bytes)).sum();
        new >= self.bytes / 100 * NEW_PERCENT
    }

    /// Takes it, where nobody has written to it since it was first looked at: from then on it is a pack.
    pub(super) fn take(
        &self,
        transport: &dyn Transport,
        packs: &mut PackWriter<'_>,
    ) -> Result<Option<PackId>, MarshalError> {
        self.file.check_unchanged()?;
        let id = new_id(transport)?;
        let Some(object) = self.adoption.take(&layout::pack(&id))? else { return Ok(None) };
        packs.adopt(id, object, self.bytes, self.frames())?;
        Ok(Some(id))
    }

    /// Runs of chunks that are not zero, each as long as a frame may be.
    fn frames(&self) -> Vec<IndexedFrame> {
        let mut frames: Vec<IndexedFrame> = Vec::new();
        for HashedChunk { chunk, start, zeros, .. } in &self.chunks {
            let offset = *start as u64;
            match frames.last_mut() {
                _ if *zeros => {}
                Some(IndexedFrame { frame, chunks })
                    if frame.offset + u64::from(frame.raw_bytes) == offset
                        && frame.raw_bytes + chunk.bytes <= limits::FRAME =>
                {
                    frame.raw_bytes += chunk.bytes;
                    frame.stored_bytes += chunk.bytes;
                    chunks.push(*chunk);
                }
                _ => {
                    let frame = Frame { offset, stored_bytes: chunk.bytes, raw_bytes: chunk.bytes, codec: Codec::Raw };
                    frames.push(IndexedFrame { frame, chunks: vec![*chunk] });
                }
            }
        }
        frames
    }

    /// Reads a chunk again, which has to be what it was.
    pub(super) fn read<'b>(&self, chunk: &HashedChunk, buffer: &'b mut [u8]) -> Result<&'b [u8], MarshalError> {
        let content = &mut buffer[..chunk.chunk.bytes as usize];
        read_again(&self.file, chunk.start as u64, &chunk.chunk, content)?;
        Ok(content)
    }
}
