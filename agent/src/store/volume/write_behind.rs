//! Starts the medium on what was written while more is being written, so that the sync at the end is short.

use super::super::pace::Pace;
use std::{
    fs::File,
    io,
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

/// So much is handed to the medium at a time.
const STRETCH: u64 = 8 << 20;
/// Stretches that may wait for the medium: a writer that is faster than it is held up here, not by the whole machine's
/// limit for unwritten pages.
const WAITING: usize = 8;

/// Follows a writer from behind, on a thread of its own: the call that starts the medium waits where its queue is full,
/// and content could be hashed meanwhile.
#[derive(Debug, Default)]
pub(super) struct WriteBehind {
    written: u64,
    begun: u64,
    pace: Arc<Pace>,
    follower: Option<Follower>,
}

#[derive(Debug)]
struct Follower {
    stretches: SyncSender<(u64, u64)>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl WriteBehind {
    /// Follows a new file; how fast the medium is goes there.
    pub(super) fn noting(pace: Arc<Pace>) -> Self {
        Self { written: 0, begun: 0, pace, follower: None }
    }

    /// Tells that so many more bytes were written to the file, which is the same at every call.
    pub(super) fn advance(&mut self, file: &File, bytes: u64) {
        self.written += bytes;
        if self.written - self.begun < STRETCH {
            return;
        }
        if self.follower.is_none() {
            // Without a thread or a second descriptor all is left to the sync at the end, which is what counts.
            self.follower = Follower::start(file, Arc::clone(&self.pace)).ok();
        }
        if let Some(follower) = &self.follower {
            // It ends only when it is told to.
            let _ = follower.stretches.send((self.begun, self.written - self.begun));
        }
        self.begun = self.written;
    }

    /// Ends the thread; what it had not begun is left to the sync.
    pub(super) fn end(&mut self) {
        if let Some(Follower { stretches, stop, thread }) = self.follower.take() {
            stop.store(true, Relaxed);
            drop(stretches);
            // It has nothing to tell.
            let _ = thread.join();
        }
    }
}

impl Drop for WriteBehind {
    fn drop(&mut self) {
        self.end();
    }
}

impl Follower {
    fn start(file: &File, pace: Arc<Pace>) -> io::Result<Self> {
        let file = file.try_clone()?;
        let (stretches, waiting) = sync_channel(WAITING);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let follow = move || {
            // The sync at the end would wait for the stretches that are timed, too.
            for (at, bytes) in waiting.iter().take_while(|_| pace.is_wanted() || !stopped.load(Relaxed)) {
                if !pace.is_wanted() {
                    write_back(&file, at, bytes, libc::SYNC_FILE_RANGE_WRITE);
                    continue;
                }
                // Waited for, which holds nobody up: several more may be written meanwhile.
                let began = Instant::now();
                if write_back_and_wait(&file, at, bytes) {
                    pace.took(bytes, began.elapsed());
                }
            }
        };
        let thread = thread::Builder::new().name("write-behind".to_owned()).spawn(follow)?;
        Ok(Self { stretches, stop, thread })
    }
}

/// Has a stretch written and waits until the medium has taken it; whether that was done.
pub(super) fn write_back_and_wait(file: &File, offset: u64, bytes: u64) -> bool {
    write_back(file, offset, bytes, libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER)
}

/// Whether it was done: without effect where it is not supported, and no error then.
#[expect(unsafe_code, reason = "sync_file_range has no safe wrapper")]
fn write_back(file: &File, offset: u64, bytes: u64, how: libc::c_uint) -> bool {
    let (Ok(offset), Ok(bytes)) = (i64::try_from(offset), i64::try_from(bytes)) else { return false };
    // SAFETY: the descriptor is open, and the call reads and writes no memory of ours.
    unsafe { libc::sync_file_range(file.as_raw_fd(), offset, bytes, how) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn follows_by_whole_stretches_and_ends_with_its_writer() {
        let mut file = tempfile::tempfile().unwrap();
        let mut behind = WriteBehind::default();
        let piece = vec![1; 3 << 20];
        for _ in 0..30 {
            file.write_all(&piece).unwrap();
            behind.advance(&file, piece.len() as u64);
        }
        assert_eq!((behind.written, behind.begun), (90 << 20, 90 << 20));
        assert!(behind.follower.is_some());
        behind.end();
        assert!(behind.follower.is_none());
        // A file system that knows the call said how fast it is.
        let knows = write_back(&file, 0, 1, libc::SYNC_FILE_RANGE_WRITE);
        assert_eq!(behind.pace.rate().is_some(), knows);
        let mut short = WriteBehind::default();
        short.advance(&file, STRETCH - 1);
        assert!(short.follower.is_none());
    }
}
