//! Small volumes of their own, to fill up and to write-protect.

use crate::skip;
use nix::{
    fcntl::{PosixFadviseAdvice, posix_fadvise},
    mount::{MntFlags, MsFlags, mount, umount2},
};
use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

/// A mounted tmpfs; unmounted when dropped.
#[derive(Debug)]
pub struct Mounted(PathBuf);

/// Mounts a tmpfs of so many MiB on a new folder; `None`, counted as skipped, where that is not allowed.
pub fn small(folder: &Path, mib: u32) -> Option<Mounted> {
    fs::create_dir_all(folder).expect("a folder to mount on");
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
    attached(test, folder, &["mkfs.xfs", "-q", "-m", "reflink=1"], SHARING_BYTES)
}

/// Mounts a new ext4 on a new folder, whose medium can be made to fail; `None`, counted as skipped, where that is not
/// possible. Its image lies beside the folder.
pub fn failing(test: &str, folder: &Path) -> Option<Mounted> {
    attached(test, folder, &["mkfs.ext4", "-q"], FAILING_BYTES)
}

/// The least that mkfs.xfs takes, and room for some content.
const SHARING_BYTES: u64 = 512 << 20;
const FAILING_BYTES: u64 = 64 << 20;
/// What is left of a medium that fails: so much that its tables, which lie in front, can be read.
const LEFT_BYTES: u64 = 24 << 20;

fn image(folder: &Path) -> PathBuf {
    folder.with_extension("image")
}

fn attached(test: &str, folder: &Path, make: &[&str], bytes: u64) -> Option<Mounted> {
    fs::create_dir_all(folder).expect("a folder to mount on");
    let image = image(folder);
    File::create(&image).and_then(|file| file.set_len(bytes)).expect("an image beside the folder");
    let mut made = Command::new(make[0]);
    made.args(&make[1..]).arg(&image);
    let mut attach = Command::new("mount");
    attach.args(["-o", "loop"]).arg(&image).arg(folder);
    for command in [&mut made, &mut attach] {
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

impl Mounted {
    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Cuts the medium behind it short, and forgets what is in memory of a file on it. Returns how much of the file can
    /// still be read, which is less than all if the file is long enough.
    pub fn fail(&self, path: &Path) -> u64 {
        let mut file = File::open(path).expect("a file on the volume");
        file.sync_all().expect("what was written is on the medium");
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).expect("pages can be dropped");
        let medium = fs::OpenOptions::new().write(true).open(image(&self.0)).expect("the image");
        medium.set_len(LEFT_BYTES).expect("an image can be cut short");
        let mut read = 0;
        let mut block = vec![0; 1 << 20];
        while let Ok(got @ 1..) = file.read(&mut block) {
            read += got as u64;
        }
        read
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
