//! Long objects on a volume: packs.

use super::{
    super::{Created, ObjectWriter, StoreError},
    failed,
    publish::Temporary,
    write_behind::WriteBehind,
};
use std::{
    io::Write,
    path::{Path, PathBuf},
};

/// An object that is being written.
#[derive(Debug)]
pub(super) struct VolumeWriter {
    behind: WriteBehind,
    temporary: Temporary,
    root: PathBuf,
    target: PathBuf,
}

impl VolumeWriter {
    pub(super) fn begin(root: &Path, target: PathBuf) -> Result<Self, StoreError> {
        let temporary = Temporary::beside(root, &target)?;
        Ok(Self { behind: WriteBehind::default(), temporary, root: root.to_owned(), target })
    }
}

impl ObjectWriter for VolumeWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let file = self.temporary.file();
        file.write_all(bytes).map_err(failed("write", &self.target))?;
        self.behind.advance(file, bytes.len() as u64);
        Ok(())
    }

    fn publish(self: Box<Self>) -> Result<Created, StoreError> {
        let Self { mut behind, temporary, root, target } = *self;
        behind.end();
        temporary.publish(&root, &target)
    }
}
