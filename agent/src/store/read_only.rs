//! Files of a store that are lent to others: opened so that nobody can write through them.

use std::{
    ffi::CString,
    fs::File,
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// Opens a file for reading, to be handed to step code: `docs/decisions/0006-maps.md`.
///
/// Where the system allows it, through a mount of the file alone that is read-only: then a descriptor that is opened
/// again, through `/proc`, can be written to by nobody, root included. Elsewhere it is a plain descriptor for reading.
pub fn open_read_only(path: &Path) -> io::Result<File> {
    match through_mount(path) {
        Some(file) => Ok(file),
        None => File::open(path),
    }
}

#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

const MOUNT_ATTR_RDONLY: u64 = 1;

#[expect(unsafe_code, reason = "no safe wrapper for open_tree and mount_setattr")]
fn through_mount(path: &Path) -> Option<File> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: `path` is a string that ends in NUL and outlives the call.
    let number = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    let number = i32::try_from(number).ok().filter(|number| *number >= 0)?;
    // SAFETY: the kernel has just made this descriptor for us, and nothing else knows its number.
    let mount = unsafe { OwnedFd::from_raw_fd(number) };
    let attr = MountAttr { set: MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, userns: 0 };
    // SAFETY: the path is empty and ends in NUL, and `attr` is of the size that is said; both outlive the call.
    let set = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    // The mount goes with `mount`; a file that was opened in it keeps it, as one that nobody else can reach.
    if set == 0 { File::open(format!("/proc/self/fd/{}", mount.as_raw_fd())).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::OpenOptions, io::Read};

    #[test]
    fn what_is_lent_cannot_be_written_to_through_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pack");
        std::fs::write(&path, b"content").unwrap();
        let mut read = Vec::new();
        let file = open_read_only(&path).unwrap();
        (&file).read_to_end(&mut read).unwrap();
        assert_eq!(read, b"content");
        assert!(nix::unistd::write(&file, b"x").is_err());
        if let Some(file) = through_mount(&path) {
            let again = OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", file.as_raw_fd()));
            assert_eq!(again.unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
        }
        assert!(open_read_only(&folder.path().join("none")).is_err());
    }
}
