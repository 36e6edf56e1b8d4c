//! One regular file: made, filled with verified content, given its mode and time.

use super::{super::MarshalError, folders::Spot};
use kale_protocol::path::ArtifactPath;
use nix::{
    fcntl::{OFlag, openat},
    sys::{
        stat::{Mode, UtimensatFlags, fchmod, fstat, futimens, utimensat},
        time::TimeSpec,
    },
    unistd::close,
};
use std::{
    fs::File,
    hint, io,
    os::unix::fs::FileExt,
    sync::{
        Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Zeros are looked for in blocks of this length: what file systems allocate.
const BLOCK: usize = 4096;
/// The mode of a file that is ours alone.
const OURS: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);
/// Bits that a write takes away.
const SPECIAL: Mode = Mode::S_ISUID.union(Mode::S_ISGID).union(Mode::S_ISVTX);
/// How often a writer looks whether it is its turn before it sleeps, and how long it pauses in between: well below a
/// millisecond in all, and about twice as long as the write that it waits for.
const LOOKS: u32 = 2000;
const PAUSES: u32 = 8;
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// What a file gets besides content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traits {
    /// Its mode, 12 bits.
    pub(crate) mode: u16,
    /// Its time.
    pub(crate) modified_ns: i64,
    /// Its length.
    pub(crate) bytes: u64,
    /// Whether blocks of zeros become holes.
    pub(crate) sparse: bool,
}

/// A file that is being written, by any number of threads.
#[derive(Debug)]
pub(crate) struct FileWriter<'s> {
    spot: Spot<'s>,
    file: File,
    traits: Traits,
    written: AtomicU64,
    /// Whoever writes holds it: two in one inode wait for each other in the kernel, for much longer than the writes take.
    turn: Mutex<()>,
}

impl<'s> FileWriter<'s> {
    /// Makes the file; its content is read by nobody but us until it is finished.
    pub(crate) fn create(spot: Spot<'s>, traits: Traits) -> Result<Self, MarshalError> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        // A folder of ours lets nobody in, so that a file in it may have its final mode from the start, if we can write
        // with it wherever it is, and no write takes anything of it away.
        let wanted = mode_bits(traits.mode);
        let plain = wanted.contains(OURS) && !wanted.intersects(SPECIAL) && spot.is_inside();
        let mode = if plain { wanted } else { OURS };
        let file = openat(spot.folder(), spot.name(), flags, mode).map_err(spot.fail("create"))?.into();
        Ok(Self { spot, file, traits, written: AtomicU64::new(0), turn: Mutex::new(()) })
    }

    /// Gives it its length, where that saves each write to make it longer.
    pub(crate) fn extend(&self) -> Result<(), MarshalError> {
        self.resize(self.traits.bytes)
    }

    /// Its path in the artifact.
    pub(crate) fn path(&self) -> &ArtifactPath {
        &self.spot.path
    }

    /// Writes verified content at its place; what is written may come in any order.
    pub(crate) fn write(&self, offset: u64, content: &[u8]) -> Result<(), MarshalError> {
        let turn = self.turn();
        let written = if self.traits.sparse {
            write_sparse(&self.file, offset, content)
        } else {
            self.file.write_all_at(content, offset)
        };
        drop(turn);
        self.written.fetch_add(content.len() as u64, Relaxed);
        written.map_err(self.fail("write"))
    }

    /// Waits for the turn to write, awake for as long as a write takes: to be woken takes a tenth of a restore.
    fn turn(&self) -> MutexGuard<'_, ()> {
        for _ in 0..LOOKS {
            match self.turn.try_lock() {
                Ok(turn) => return turn,
                Err(TryLockError::Poisoned(turn)) => return turn.into_inner(),
                Err(TryLockError::WouldBlock) => (0..PAUSES).for_each(|_| hint::spin_loop()),
            }
        }
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file itself, to clone into.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Whether blocks of zeros become holes.
    pub(crate) fn is_sparse(&self) -> bool {
        self.traits.sparse
    }

    /// Counts content as written that came otherwise.
    pub(crate) fn skip(&self, bytes: u64) {
        self.written.fetch_add(bytes, Relaxed);
    }

    /// Sets length, mode and time, and closes it: some file systems tell only then that a write failed.
    pub(crate) fn finish(self) -> Result<(), MarshalError> {
        if self.traits.sparse || self.written.load(Relaxed) != self.traits.bytes {
            self.resize(self.traits.bytes)?;
        }
        let Self { spot, file, traits, .. } = self;
        // Last, for a write takes set-user-id away, and after the mode nobody may write. The umask or the folder's
        // access control list may have taken from the mode that was asked for.
        let wanted = mode_bits(traits.mode);
        let found = fstat(&file).map_err(spot.fail("look at"))?;
        if Mode::from_bits_truncate(found.st_mode) != wanted {
            fchmod(&file, wanted).map_err(spot.fail("set the mode of"))?;
        }
        futimens(&file, &TimeSpec::UTIME_OMIT, &time(traits.modified_ns)).map_err(spot.fail("set the time of"))?;
        close(file).map_err(spot.fail("write"))
    }

    fn resize(&self, bytes: u64) -> Result<(), MarshalError> {
        self.file.set_len(bytes).map_err(self.fail("write"))
    }

    fn fail(&self, action: &'static str) -> impl FnOnce(io::Error) -> MarshalError {
        move |source| MarshalError::Io { action, path: self.spot.shown(), source }
    }
}

/// Writes runs of blocks that are not zero.
fn write_sparse(file: &File, offset: u64, content: &[u8]) -> io::Result<()> {
    // Blocks are those of the file: the first may be cut off.
    let first = (BLOCK - (offset % BLOCK as u64) as usize) % BLOCK;
    let mut at = 0;
    let mut run = 0;
    while at < content.len() {
        let end = if at == 0 && first > 0 { first } else { at + BLOCK }.min(content.len());
        let block = &content[at..end];
        if block == &ZEROS[..block.len()] {
            if run < at {
                file.write_all_at(&content[run..at], offset + run as u64)?;
            }
            run = end;
        }
        at = end;
    }
    if run < content.len() { file.write_all_at(&content[run..], offset + run as u64) } else { Ok(()) }
}

/// A mode as the system takes it.
pub(crate) fn mode_bits(mode: u16) -> Mode {
    Mode::from_bits_truncate(u32::from(mode & 0o7777))
}

/// A time as the system takes it.
pub(crate) fn time(ns: i64) -> TimeSpec {
    const SECOND: i64 = 1_000_000_000;
    TimeSpec::new(ns.div_euclid(SECOND), ns.rem_euclid(SECOND))
}

/// Sets the time of a link or FIFO itself.
pub(crate) fn set_time(spot: &Spot<'_>, modified_ns: i64) -> Result<(), MarshalError> {
    let flag = UtimensatFlags::NoFollowSymlink;
    utimensat(spot.folder(), spot.name(), &TimeSpec::UTIME_OMIT, &time(modified_ns), flag)
        .map_err(spot.fail("set the time of"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn blocks_of_zeros_are_skipped_wherever_a_piece_starts() {
        let zeros = vec![0; 3 * BLOCK];
        let ones = vec![1; BLOCK];
        for offset in [0, 1, 4095, 4096, 5000] {
            for content in [
                vec![],
                vec![0],
                vec![1],
                zeros.clone(),
                [&zeros[..], &ones].concat(),
                [&ones[..], &zeros].concat(),
                [&ones[..], &zeros, &ones].concat(),
                [&zeros[..], &ones, &zeros].concat(),
            ] {
                let file = tempfile::tempfile().unwrap();
                write_sparse(&file, offset, &content).unwrap();
                file.set_len(offset + content.len() as u64).unwrap();
                let mut found = vec![9; content.len()];
                file.read_exact_at(&mut found, offset).unwrap();
                assert!(found == content, "at {offset}");
                let data = content.iter().filter(|byte| **byte != 0).count();
                // Each run of data may touch one block more than it fills, and there are at most two.
                let limit = data + 2 * BLOCK;
                assert!(file.metadata().unwrap().blocks() * 512 <= limit as u64, "at {offset}");
            }
        }
    }
}
