//! Small volumes of their own, to fill up and to write-protect.

use crate::skip;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::path::{Path, PathBuf};

/// A mounted tmpfs; unmounted when dropped.
#[derive(Debug)]
pub struct Mounted(PathBuf);

/// Mounts a tmpfs of so many MiB on a new folder; `None`, counted as skipped, where that is not allowed.
pub fn small(folder: &Path, mib: u32) -> Option<Mounted> {
    std::fs::create_dir_all(folder).expect("a folder to mount on");
    let options = format!("size={mib}m");
    match mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())) {
        Ok(()) => Some(Mounted(folder.to_owned())),
        Err(errno) => {
            skip::skip("a small volume", &format!("mounting is refused: {errno}"));
            None
        }
    }
}

impl Mounted {
    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes it read-only.
    pub fn remount_read_only(&self) {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(Some("tmpfs"), &self.0, Some("tmpfs"), flags, None::<&str>).expect("our own mount can be remounted");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a test that failed may still have a file open there.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}
