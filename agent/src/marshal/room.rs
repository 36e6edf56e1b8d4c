//! Memory for content, placed so that the kernel copies it fast.
//!
//! It copies between a page of its cache and our memory by `rep movsb`. Processors do that byte by byte where the target lies
//! up to 63 bytes behind the source, as far as the last 12 bits of the addresses tell: a tensor that begins 8 bytes behind a
//! page took twice as long to save and to load (AMD EPYC, `docs/decisions/0008-save-path.md`). So content has here the place
//! within a page that it has in its file.

use std::ops::{Deref, DerefMut};

const PAGE: usize = 4096;

/// Bytes that begin at a chosen place within a page: zeros at first, later what was there last.
#[derive(Debug, Default)]
pub(super) struct Room {
    memory: Vec<u8>,
    start: usize,
    bytes: usize,
}

impl Room {
    /// So many zeros.
    pub(super) fn new(bytes: usize) -> Self {
        let mut room = Self { memory: vec![0; bytes + PAGE], start: 0, bytes };
        room.begin_at(0);
        room
    }

    /// Lets it begin where a byte of this offset does in a file. What was in it means nothing from then on.
    pub(super) fn begin_at(&mut self, offset: u64) {
        let to_page = self.memory.as_ptr().align_offset(PAGE);
        self.start = (to_page + (offset % PAGE as u64) as usize) % PAGE;
    }

    /// The first bytes of it, which begin where a byte of this offset does in a file; it grows to what is needed most.
    pub(super) fn of(&mut self, offset: u64, bytes: usize) -> &mut [u8] {
        if self.bytes < bytes {
            let bytes = bytes.max(2 * self.bytes);
            // The old memory goes first.
            *self = Self::default();
            *self = Self::new(bytes);
        }
        self.begin_at(offset);
        &mut self[..bytes]
    }
}

impl Deref for Room {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.bytes]
    }
}

impl DerefMut for Room {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.bytes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_lies_in_memory_as_it_does_in_its_file() {
        let mut room = Room::default();
        assert_eq!(room.len(), 0);
        for (offset, bytes) in
            [(0, 1), (1, 5000), (4095, 3), (4096, 100_000), (7 << 40 | 77, 99_999), (u64::MAX, 1 << 20)]
        {
            let content = room.of(offset, bytes);
            assert_eq!((content.len(), content.as_ptr() as usize % PAGE), (bytes, (offset % PAGE as u64) as usize));
            content.fill(7);
        }
        assert_eq!(Room::new(10)[..], [0; 10]);
    }
}
