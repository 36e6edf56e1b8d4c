//! Long objects on a volume: packs.

use super::{
    super::{Created, ObjectWriter, StoreError},
    failed,
    publish::Temporary,
    root::Root,
    write_behind::WriteBehind,
};
use std::{io::Write, path::PathBuf, sync::Arc};

/// An object that is being written.
#[derive(Debug)]
pub(super) struct VolumeWriter {
    behind: WriteBehind,
    temporary: Temporary,
    target: PathBuf,
}

impl VolumeWriter {
    pub(super) fn begin(root: &Root, target: PathBuf) -> Result<Self, StoreError> {
        Ok(Self::of(Temporary::beside(root, &target)?, target))
    }

    /// An object of which the beginning is written.
    pub(super) fn of(temporary: Temporary, target: PathBuf) -> Self {
        let behind = WriteBehind::noting(Arc::clone(temporary.root().pace()));
        Self { behind, temporary, target }
    }
}

impl ObjectWriter for VolumeWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.temporary.file().write_all(bytes).map_err(failed("write", &self.target))?;
        if self.temporary.root().writes_behind() {
            self.behind.advance(self.temporary.file(), bytes.len() as u64);
        }
        Ok(())
    }

    fn publish(self: Box<Self>) -> Result<Created, StoreError> {
        let Self { mut behind, temporary, target } = *self;
        behind.end();
        temporary.publish(&target)
    }
}
