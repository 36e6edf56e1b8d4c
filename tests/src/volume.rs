//! Small volumes of their own, to fill up and to write-protect.

use crate::skip;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

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

/// Mounts a new XFS, which shares blocks between files, on a new folder; `None`, counted as skipped, where that is not
/// possible. Its image lies beside the folder.
pub fn sharing(test: &str, folder: &Path) -> Option<Mounted> {
    std::fs::create_dir_all(folder).expect("a folder to mount on");
    let image = folder.with_extension("image");
    std::fs::File::create(&image).and_then(|file| file.set_len(SHARING_BYTES)).expect("an image beside the folder");
    let mut make = Command::new("mkfs.xfs");
    make.args(["-q", "-m", "reflink=1"]).arg(&image);
    let mut attach = Command::new("mount");
    attach.args(["-o", "loop"]).arg(&image).arg(folder);
    for command in [&mut make, &mut attach] {
        let refused = match command.output() {
            Ok(done) if done.status.success() => continue,
            Ok(done) => String::from_utf8_lossy(&done.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        let program = command.get_program().to_string_lossy().into_owned();
        skip::skip(test, &format!("{program} is refused: {refused}"));
        return None;
    }
    Some(Mounted(folder.to_owned()))
}

/// The least that mkfs.xfs takes, and room for some content.
const SHARING_BYTES: u64 = 512 << 20;

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
