//! The folder of a store, and how much is asked of its medium.

use super::{
    super::{StoreError, pace::Pace},
    failed,
};
use std::{
    fs::File,
    io,
    ops::Deref,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Whether what is written is made to outlive a crash of the machine before anything refers to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// Every object, and every name, before the next step of its publication.
    #[default]
    Always,
    /// Never: the system writes when it likes. A crash of the agent or of the step leaves the store whole all the same;
    /// a crash of the machine may leave commits whose content is gone, which is noticed when it is read. For stores
    /// that do not outlive their machine: a RAM disk, an emptyDir, a test.
    Never,
}

/// The root of a store.
#[derive(Clone, Debug)]
pub(super) struct Root {
    path: PathBuf,
    sync: Sync,
    pace: Arc<Pace>,
}

impl Root {
    pub(super) fn new(path: PathBuf, sync: Sync) -> Self {
        Self { path, sync, pace: Arc::default() }
    }

    /// Makes a file's content durable.
    pub(super) fn sync_file(&self, file: &File, path: &Path) -> Result<(), StoreError> {
        match self.sync {
            Sync::Always => tolerate_no_sync(file.sync_all()).map_err(failed("sync", path)),
            Sync::Never => Ok(()),
        }
    }

    /// Makes the names in the folder of a path durable.
    pub(super) fn sync_folder(&self, path: &Path) -> Result<(), StoreError> {
        match (self.sync, path.parent()) {
            (Sync::Always, Some(folder)) => tolerate_no_sync(File::open(folder).and_then(|folder| folder.sync_all()))
                .map_err(failed("sync", folder)),
            _ => Ok(()),
        }
    }

    /// How fast the medium takes what is written, as far as it is made durable.
    pub(super) fn pace(&self) -> &Arc<Pace> {
        &self.pace
    }

    /// Whether the medium is to begin with what is still being written.
    pub(super) fn writes_behind(&self) -> bool {
        self.sync == Sync::Always
    }
}

impl Deref for Root {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

/// Media that cannot sync say so (restic met them); there is nothing more to be had from them.
fn tolerate_no_sync(synced: io::Result<()>) -> io::Result<()> {
    match synced {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTSUP | libc::EINVAL)) => Ok(()),
        other => other,
    }
}
