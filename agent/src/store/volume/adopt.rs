//! Files of the volume itself become objects without being written again.
//!
//! A process that has the file open for writing, or mapped, could change it after it was hashed. A read lease is given
//! by Linux only where there is none such, and whoever opens the file for writing later waits until it is given back,
//! which shows. So it is held from before the file is hashed until it is out of everybody's reach. File systems without
//! leases (NFS, FUSE) adopt nothing.

use super::{
    super::{Adoption, ObjectWriter, StoreError},
    failed,
    publish::Temporary,
    root::Root,
    writer::VolumeWriter,
};
use kale_protocol::layout::Key;
use nix::sys::stat::{FileStat, SFlag, fstat, lstat};
use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, RawFd},
    path::{Path, PathBuf},
};

/// `F_SETSIG` of fcntl(2), which the libc crate does not name.
const F_SETSIG: libc::c_int = 10;

/// A file that is fit, watched by a lease.
#[derive(Debug)]
struct Watched {
    root: Root,
    path: PathBuf,
    file: File,
    found: FileStat,
}

/// Looks whether a file is fit: see [`super::super::Transport::adopt`].
pub(super) fn watch(root: &Root, file: &File, path: &Path) -> Result<Option<Box<dyn Adoption>>, StoreError> {
    let look = || -> io::Result<Option<Watched>> {
        let (found, store) = (fstat(file)?, lstat(&**root)?);
        let fit = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
            && found.st_dev == store.st_dev
            && found.st_nlink == 1
            && found.st_uid == nix::unistd::geteuid().as_raw();
        if !fit {
            return Ok(None);
        }
        let file = file.try_clone()?;
        let held = lease(file.as_raw_fd(), libc::F_RDLCK).is_ok();
        Ok(held.then(|| Watched { root: root.clone(), path: path.to_owned(), file, found }))
    };
    let watched = look().map_err(failed("look at", path))?;
    Ok(watched.map(|watched| Box::new(watched) as Box<dyn Adoption>))
}

impl Adoption for Watched {
    fn take(&self, key: &Key) -> Result<Option<Box<dyn ObjectWriter>>, StoreError> {
        let target = self.root.join(key.as_str());
        let Some(mut taken) = Temporary::take(&self.root, &target, &self.path, &self.found)? else { return Ok(None) };
        // Somebody may have waited for the lease; given back, it is not had again while they have the file.
        let nobody = is_held(&self.file) && lease(self.file.as_raw_fd(), libc::F_UNLCK).is_ok();
        let nobody = nobody && lease(self.file.as_raw_fd(), libc::F_RDLCK).is_ok();
        if !nobody {
            // Whoever waits for it waits no longer.
            let _ = lease(self.file.as_raw_fd(), libc::F_UNLCK);
            return Ok(None);
        }
        // We are about to open it for writing ourselves.
        let _ = lease(self.file.as_raw_fd(), libc::F_UNLCK);
        taken.reopen()?;
        Ok(Some(Box::new(VolumeWriter::of(taken, target))))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Of a file that was never leased, or no more, there is nothing to give back.
        let _ = lease(self.file.as_raw_fd(), libc::F_UNLCK);
    }
}

/// Whether the lease is still ours and nobody waits for it.
fn is_held(file: &File) -> bool {
    fcntl(file.as_raw_fd(), libc::F_GETLEASE, 0) == Ok(libc::F_RDLCK)
}

fn lease(file: RawFd, kind: libc::c_int) -> Result<libc::c_int, nix::errno::Errno> {
    // Whoever breaks the lease makes the kernel send a signal; its default would end us, this one is for children,
    // and one more of it is without effect.
    fcntl(file, F_SETSIG, libc::SIGCHLD)?;
    fcntl(file, libc::F_SETLEASE, kind)
}

#[expect(unsafe_code, reason = "leases have no safe wrapper")]
fn fcntl(file: RawFd, command: libc::c_int, argument: libc::c_int) -> Result<libc::c_int, nix::errno::Errno> {
    // SAFETY: all of these commands take a number and touch no memory of ours; the descriptor is open.
    nix::errno::Errno::result(unsafe { libc::fcntl(file, command, argument) })
}

#[cfg(test)]
mod tests {
    use super::{super::Volume, *};
    use crate::store::{Created, Transport};
    use kale_protocol::{id::PackId, layout};
    use std::{
        fs::{self, OpenOptions},
        io::Write,
        os::unix::fs::{MetadataExt, PermissionsExt},
    };

    fn made(content: &[u8]) -> (tempfile::TempDir, Volume, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let volume = Volume::create(&folder.path().join("store")).unwrap();
        let path = folder.path().join("out.bin");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        (folder, volume, path)
    }

    fn key() -> Key {
        layout::pack(&PackId([3; 16]))
    }

    fn watch(volume: &Volume, path: &Path) -> Option<Box<dyn Adoption>> {
        volume.adopt(&File::open(path).unwrap(), path).unwrap()
    }

    #[test]
    fn a_file_becomes_an_object_and_is_written_to_only_at_its_end() {
        let (_folder, volume, path) = made(b"content");
        let inode = fs::metadata(&path).unwrap().ino();
        let mut writer = watch(&volume, &path).unwrap().take(&key()).unwrap().unwrap();
        assert!(!path.exists());
        writer.write(b" and its end").unwrap();
        assert_eq!(writer.publish().unwrap(), Created::New);
        assert_eq!(volume.read(&key(), 100).unwrap(), b"content and its end");
        let found = fs::metadata(volume.local_path(&key()).unwrap()).unwrap();
        assert_eq!((found.ino(), found.mode() & 0o777, found.nlink()), (inode, 0o444, 1));
    }

    #[test]
    fn what_is_not_published_is_given_back_as_it_was() {
        let (_folder, volume, path) = made(b"content");
        drop(watch(&volume, &path).unwrap());
        let mut writer = watch(&volume, &path).unwrap().take(&key()).unwrap().unwrap();
        writer.write(b" and its end").unwrap();
        drop(writer);
        assert_eq!(fs::read(&path).unwrap(), b"content");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert!(volume.list(&layout::root()).unwrap().iter().all(|entry| entry.segment() == "packs"));
    }

    #[test]
    fn a_file_that_somebody_can_write_to_is_left_where_it_is() {
        let (_folder, volume, path) = made(b"content");
        let writer = OpenOptions::new().append(true).open(&path).unwrap();
        assert!(watch(&volume, &path).is_none());
        drop(writer);
        fs::hard_link(&path, path.with_extension("other")).unwrap();
        assert!(watch(&volume, &path).is_none());
        fs::remove_file(path.with_extension("other")).unwrap();

        let watched = watch(&volume, &path).unwrap();
        let late = std::thread::scope(|scope| {
            let late = scope.spawn(|| OpenOptions::new().append(true).open(&path).unwrap());
            // The kernel marks the lease once the other one waits.
            while is_held_by_path(&path) {
                std::thread::yield_now();
            }
            assert!(watched.take(&key()).unwrap().is_none());
            late.join().unwrap()
        });
        (&late).write_all(b" more").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"content more");
    }

    /// Whether opening for writing does not wait (yet): a waiting opener makes the kernel list the lease as breaking.
    fn is_held_by_path(path: &Path) -> bool {
        let inode = format!(":{} ", fs::metadata(path).unwrap().ino());
        let locks = fs::read_to_string("/proc/locks").unwrap();
        locks.lines().any(|line| line.contains("LEASE") && line.contains("ACTIVE") && line.contains(&inode))
    }

    #[test]
    fn another_file_at_the_path_is_not_taken() {
        let (_folder, volume, path) = made(b"content");
        let watched = watch(&volume, &path).unwrap();
        fs::rename(&path, path.with_extension("moved")).unwrap();
        fs::write(&path, b"other").unwrap();
        assert!(watched.take(&key()).unwrap().is_none());
        assert_eq!(fs::read(&path).unwrap(), b"other");
    }
}
