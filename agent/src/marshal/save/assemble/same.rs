//! Chunks that were found to be what an earlier artifact had.

use super::{
    super::{item::Same, part::read_again},
    Assembler, HashedChunk, MarshalError, Place, Policy,
};
use crate::marshal::zeros::zeros_digest;

impl Assembler<'_> {
    /// Chunks that are known; those that would break up a raw file are read again and written after all.
    pub(super) fn same(&mut self, same: &Same) -> Result<(), MarshalError> {
        let mut offset = same.offset;
        let mut content = Vec::new();
        for chunk in &same.guide[same.chunks.clone()] {
            let place = match self.place(&chunk.digest) {
                Some(place) if same.policy != Policy::Raw => {
                    self.file.bytes += u64::from(chunk.bytes);
                    self.file.last = None;
                    Place::Pack(place)
                }
                known => {
                    let zeros = known.is_none() && chunk.digest == zeros_digest(chunk.bytes);
                    let hashed = HashedChunk { chunk: *chunk, start: 0, zeros, held: false, run: true };
                    self.raw_chunk(&hashed, same.policy, || {
                        content.resize(chunk.bytes as usize, 0);
                        read_again(&same.file, offset, chunk, &mut content)?;
                        Ok(&content[..])
                    })?
                }
            };
            self.file_chunk(*chunk, place)?;
            offset += u64::from(chunk.bytes);
        }
        self.monitor.advance(offset - same.offset);
        Ok(())
    }
}
