//! Memory for what is on its way from a bucket and to it, used again and again: new memory costs a fault for each page, and
//! an allocator keeps for a while what it was given back.

use bytes::Bytes;
use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
};

/// Buffers of one length.
#[derive(Debug)]
pub(super) struct Buffers {
    bytes: usize,
    /// How many are kept that nobody uses.
    most: usize,
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Buffers {
    /// None yet; each is to have room for so many bytes, and at most so many are kept.
    pub(super) fn new(bytes: usize, most: usize) -> Arc<Self> {
        Arc::new(Self { bytes, most, spare: Mutex::default() })
    }

    /// An empty buffer, which comes back when nobody has any of it.
    pub(super) fn take(self: &Arc<Self>) -> Buffer {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer { content: spare.unwrap_or_else(|| Vec::with_capacity(self.bytes)), home: Arc::clone(self) }
    }

    fn give_back(&self, mut content: Vec<u8>) {
        content.clear();
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < self.most {
            spare.push(content);
        }
    }
}

/// A buffer that is being filled.
#[derive(Debug)]
pub(super) struct Buffer {
    content: Vec<u8>,
    home: Arc<Buffers>,
}

impl Buffer {
    /// How many bytes are in it.
    pub(super) fn len(&self) -> usize {
        self.content.len()
    }

    /// Adds bytes at its end; beyond its room it grows.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.content.extend_from_slice(bytes);
    }

    /// What is in it, to be shared, and not to be changed any more.
    pub(super) fn share(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.give_back(mem::take(&mut self.content));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_any_of_is_used_again_empty() {
        let buffers = Buffers::new(64, 1);
        let fill = |content: &[u8]| {
            let mut buffer = buffers.take();
            assert_eq!(buffer.len(), 0);
            buffer.extend(content);
            buffer.share()
        };
        let shared = fill(b"content");
        let (place, part) = (shared.as_ptr(), shared.slice(3..));
        drop(shared);
        assert_ne!(fill(b"other").as_ptr(), place, "some of it is still in use");
        assert_eq!(part, &b"tent"[..]);
        drop(buffers.take());
        let kept = buffers.take();
        drop(part);
        assert_eq!(fill(b"third").as_ptr(), place);
        drop(kept);
        assert_eq!(buffers.spare.lock().unwrap().len(), 1, "no more than that are kept");
    }
}
