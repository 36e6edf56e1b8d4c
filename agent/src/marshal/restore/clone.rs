//! Clones of stored content: on a file system that shares blocks between files, the bytes are not moved at all.

use crate::store::Transport;
use kale_protocol::{id::PackId, layout};
use std::{
    fs::{File, OpenOptions},
    ops::Range,
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
};

/// What file systems share: whole blocks of this length. Packs put raw content where it fits.
const BLOCK: u64 = 4096;
/// The shortest stretch that is worth a call of its own; a copy of it takes about as long as its share of a transaction.
pub(crate) const LEAST: u64 = 1 << 20;

/// Clones until it is refused once; from then on everything is copied.
pub(crate) struct Cloner<'t> {
    transport: &'t dyn Transport,
    refused: bool,
    /// The pack that was cloned from last.
    pack: Option<(PackId, File)>,
}

impl<'t> Cloner<'t> {
    /// A cloner that has not tried yet.
    pub(crate) fn new(transport: &'t dyn Transport) -> Self {
        Self { transport, refused: false, pack: None }
    }

    /// Whether a stretch of raw content may be cloned: `offset` is where it starts in its pack, `at` where in its file.
    pub(crate) fn may(&self, offset: u64, at: u64, bytes: u64) -> bool {
        let middle = middle(at, bytes);
        !self.refused && offset % BLOCK == at % BLOCK && middle.end.saturating_sub(middle.start) >= LEAST
    }

    /// Clones the whole blocks of a stretch into `file`, and says which bytes of `file` they are: none where that is
    /// not possible. What is wrong with the pack, if anything is, a copy will tell.
    pub(crate) fn clone(&mut self, pack: PackId, offset: u64, file: &File, at: u64, bytes: u64) -> Range<u64> {
        if !self.may(offset, at, bytes) {
            return at..at;
        }
        let cloned = middle(at, bytes);
        let source = offset + (cloned.start - at);
        let done = self.source(pack).is_some_and(|from| share(from, source, file, &cloned));
        if done {
            return cloned;
        }
        self.refused = true;
        at..at
    }

    fn source(&mut self, pack: PackId) -> Option<&File> {
        if self.pack.as_ref().is_none_or(|(last, _)| *last != pack) {
            let path = self.transport.local_path(&layout::pack(&pack))?;
            // A link in its place is not followed, since the store makes none, and a FIFO holds nobody up.
            let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
            let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
            self.pack = Some((pack, file));
        }
        self.pack.as_ref().map(|(_, file)| file)
    }
}

/// The whole blocks of a stretch of a file.
fn middle(at: u64, bytes: u64) -> Range<u64> {
    let start = at.next_multiple_of(BLOCK);
    let end = (at + bytes) / BLOCK * BLOCK;
    start..end.max(start)
}

#[expect(unsafe_code, reason = "FICLONERANGE has no safe wrapper")]
fn share(from: &File, offset: u64, to: &File, range: &Range<u64>) -> bool {
    let asked = libc::file_clone_range {
        src_fd: from.as_raw_fd().into(),
        src_offset: offset,
        src_length: range.end - range.start,
        dest_offset: range.start,
    };
    // SAFETY: both descriptors are open, and the call only reads the structure, which outlives it.
    unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONERANGE, &raw const asked) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Memory;

    #[test]
    fn only_whole_blocks_of_what_is_long_and_aligned() {
        let memory = Memory::new();
        let cloner = Cloner::new(&memory);
        assert_eq!(middle(0, 8192), 0..8192);
        assert_eq!(middle(100, 12_288), 4096..12_288);
        assert_eq!(middle(100, 200), 4096..4096);
        assert!(cloner.may(4096, 0, LEAST) && cloner.may(4196, 100, LEAST + 8192));
        assert!(!cloner.may(4097, 0, LEAST), "another offset in the block");
        assert!(!cloner.may(4096, 0, LEAST - 1) && !cloner.may(4196, 100, LEAST), "too short");
    }

    #[test]
    fn a_medium_without_files_is_asked_once() {
        let memory = Memory::new();
        let mut cloner = Cloner::new(&memory);
        let file = tempfile::tempfile().unwrap();
        assert!(cloner.clone(PackId([1; 16]), 4096, &file, 0, 4 << 20).is_empty());
        assert!(!cloner.may(4096, 0, 4 << 20));
    }
}
