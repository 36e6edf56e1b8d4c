//! Files that are read from again and again: packs, kept open, but only so many.

use super::super::StoreError;
use kale_protocol::layout::Key;
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Most files kept open.
const OPEN: usize = 64;

/// The files that were used last, the latest at the end.
#[derive(Debug, Default)]
pub(super) struct Files(Mutex<Vec<(Key, Arc<File>)>>);

impl Files {
    /// The file of an object, opened if it is not among those kept.
    pub(super) fn get(
        &self,
        key: &Key,
        open: impl FnOnce() -> Result<File, StoreError>,
    ) -> Result<Arc<File>, StoreError> {
        if let Some(file) = self.take(key) {
            return Ok(file);
        }
        // Not under the lock: on a slow volume one open would hold up the reads of all other threads.
        let file = Arc::new(open()?);
        let mut kept = self.lock();
        kept.retain(|(other, _)| other != key);
        if kept.len() >= OPEN {
            kept.remove(0);
        }
        kept.push((key.clone(), Arc::clone(&file)));
        Ok(file)
    }

    /// Closes the file of an object that is removed or replaced.
    pub(super) fn forget(&self, key: &Key) {
        self.lock().retain(|(other, _)| other != key);
    }

    /// Closes all files under a folder that is removed.
    pub(super) fn forget_under(&self, folder: &Key) {
        let prefix = format!("{folder}/");
        self.lock().retain(|(other, _)| !other.as_str().starts_with(&prefix));
    }

    fn take(&self, key: &Key) -> Option<Arc<File>> {
        let mut kept = self.lock();
        let at = kept.iter().position(|(other, _)| other == key)?;
        let used = kept.remove(at);
        let file = Arc::clone(&used.1);
        kept.push(used);
        Some(file)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Key, Arc<File>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.lock().len()
    }
}

/// Opens a file of the store for reading. A link in its place is not followed, since the store makes none, and a FIFO
/// does not hold the caller up.
pub(super) fn open(path: &Path) -> io::Result<File> {
    fresh(|| OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path))
}

/// Tries once more where the system's knowledge was stale: over NFS, the handle that was cached for a name may be of a
/// file that is gone, and asking again asks the server.
pub(super) fn fresh<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    match attempt() {
        Err(error) if is_stale(&error) => attempt(),
        other => other,
    }
}

pub(super) fn is_stale(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ESTALE)
}
