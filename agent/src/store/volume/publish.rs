//! The one way in which bytes become durable and visible on a volume.
//!
//! A temporary file of a random name in the target's folder; write; sync; close; `link` to the target; remove the
//! temporary name; sync the folder. After a crash at any point there is at most a temporary file, which no listing shows.

use super::{
    super::{Created, StoreError},
    failed, heal,
    root::Root,
};
use nix::sys::stat::FileStat;
use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::{
        fd::IntoRawFd,
        unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

/// How temporary files begin; a dot, which no name has, and our own mark.
pub(super) const TEMPORARY: &str = ".kale-tmp-";

const READ_ONLY: u32 = 0o444;
const WRITABLE: u32 = 0o644;

/// A temporary file beside a target, removed when dropped.
#[derive(Debug)]
pub(super) struct Temporary {
    path: PathBuf,
    file: Option<File>,
    root: Root,
    /// Where it came from, if it was not made here.
    origin: Option<Origin>,
}

/// What a file was before it was taken.
#[derive(Debug)]
struct Origin {
    path: PathBuf,
    bytes: u64,
    mode: u32,
}

impl Temporary {
    /// Creates the file, and the folders of its target, durably.
    pub(super) fn beside(root: &Root, target: &Path) -> Result<Self, StoreError> {
        let path = temporary_name(root, target)?;
        let create = || OpenOptions::new().write(true).create_new(true).mode(WRITABLE).open(&path);
        let file = in_folder(root, &path, create)?.map_err(failed("create", &path))?;
        Ok(Self { file: Some(file), path, root: root.clone(), origin: None })
    }

    /// Takes a file of the same file system from its path, if it is still there, to be given back when dropped.
    pub(super) fn take(root: &Root, target: &Path, from: &Path, found: &FileStat) -> Result<Option<Self>, StoreError> {
        let path = temporary_name(root, target)?;
        match in_folder(root, &path, || rename_if_absent(from, &path))? {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EXDEV | libc::ENOENT)) => return Ok(None),
            other => other.map_err(failed("take", from))?,
        }
        let mode = found.st_mode & 0o7777;
        let origin = Origin { path: from.to_owned(), bytes: u64::try_from(found.st_size).unwrap_or(0), mode };
        let taken = Self { file: None, path, root: root.clone(), origin: Some(origin) };
        let now = fs::symlink_metadata(&taken.path).map_err(failed("look at", &taken.path))?;
        Ok((now.ino() == found.st_ino && now.dev() == found.st_dev).then_some(taken))
    }

    /// Opens what was taken, to append to it.
    pub(super) fn reopen(&mut self) -> Result<(), StoreError> {
        let writable = fs::set_permissions(&self.path, Permissions::from_mode(WRITABLE));
        writable.map_err(failed("set the mode of", &self.path))?;
        self.file = Some(OpenOptions::new().append(true).open(&self.path).map_err(failed("open", &self.path))?);
        Ok(())
    }

    /// The root that it is below.
    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    pub(super) fn file(&mut self) -> &mut File {
        self.file.as_mut().expect("open until it is synced")
    }

    /// Makes the content durable and closes the file.
    fn sync(&mut self) -> Result<(), StoreError> {
        let Some(file) = &self.file else { return Ok(()) };
        protect(file);
        self.root.sync_file(file, &self.path)?;
        self.close()
    }

    /// Closes the file: a full quota may show as late as that.
    fn close(&mut self) -> Result<(), StoreError> {
        let Some(file) = self.file.take() else { return Ok(()) };
        match nix::unistd::close(file.into_raw_fd()) {
            // Linux has closed it all the same.
            Ok(()) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(failed("close", &self.path)(errno.into())),
        }
    }

    /// Gives the content its name, if that is free or what has it is empty.
    pub(super) fn publish(mut self, target: &Path) -> Result<Created, StoreError> {
        self.sync()?;
        loop {
            match link(&self.path, target) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match occupant(target)? {
                    Occupant::Whole => return Ok(Created::Exists),
                    // Empty is absent: nothing over nothing changes nothing, and stays open to be healed.
                    Occupant::Empty if occupant(&self.path)? == Occupant::Empty => break,
                    Occupant::Empty => return heal::heal(self, target),
                    Occupant::Gone => {}
                },
                Err(error) => return Err(failed("publish", target)(error)),
            }
        }
        let root = self.root.clone();
        self.origin = None;
        drop(self);
        root.sync_folder(target)?;
        Ok(Created::New)
    }

    /// Puts the content in the place of whatever the target is: for what is never referred to, and for healing.
    pub(super) fn put_over(mut self, target: &Path) -> Result<(), StoreError> {
        self.sync()?;
        self.rename_over(target)?;
        self.root.sync_folder(target)
    }

    /// The same for what may be lost: it is durable when the medium gets to it.
    fn put_over_soon(mut self, target: &Path) -> Result<(), StoreError> {
        protect(self.file());
        self.close()?;
        self.rename_over(target)
    }

    fn rename_over(&self, target: &Path) -> Result<(), StoreError> {
        let own = fs::symlink_metadata(&self.path).map_err(failed("look at", &self.path))?.ino();
        if let Err(error) = fs::rename(&self.path, target) {
            // Over NFS a reply may be lost: then the repeated call finds nothing to rename, and it is in place.
            let there = fs::symlink_metadata(target).is_ok_and(|found| found.ino() == own);
            if error.kind() != io::ErrorKind::NotFound || !there {
                return Err(failed("replace", target)(error));
            }
        }
        Ok(())
    }

    /// Gives the content a second name, by a hard link and nothing else.
    pub(super) fn link_as(&mut self, path: &Path) -> Result<io::Result<()>, StoreError> {
        self.sync()?;
        Ok(hard_link(&self.path, path))
    }
}

impl Temporary {
    /// Whatever cannot be done leaves the file under its temporary name, hidden and whole.
    fn give_back(&mut self, origin: &Origin) {
        let file = self.file.take().map_or_else(|| OpenOptions::new().write(true).open(&self.path), Ok);
        if let Ok(file) = file
            && file.metadata().is_ok_and(|found| found.len() > origin.bytes)
        {
            drop(file.set_len(origin.bytes));
        }
        drop(fs::set_permissions(&self.path, Permissions::from_mode(origin.mode)));
        drop(rename_if_absent(&self.path, &origin.path));
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What cannot be removed is hidden from listings.
        match self.origin.take() {
            None => drop(fs::remove_file(&self.path)),
            Some(origin) => self.give_back(&origin),
        }
    }
}

/// Makes a file read-only against accidents; a medium without permissions (CIFS) need not have it.
fn protect(file: &File) {
    let _ = file.set_permissions(Permissions::from_mode(READ_ONLY));
}

fn temporary_name(root: &Root, target: &Path) -> Result<PathBuf, StoreError> {
    let random: [u8; 12] = super::super::random()?;
    let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(target.parent().unwrap_or(root).join(format!("{TEMPORARY}{name}")))
}

/// Makes something in a folder, and the folder before where it is not there yet.
fn in_folder<T>(root: &Root, path: &Path, make: impl Fn() -> io::Result<T>) -> Result<io::Result<T>, StoreError> {
    match (make(), path.parent()) {
        (Err(error), Some(folder)) if error.kind() == io::ErrorKind::NotFound => {
            folders(root, folder)?;
            Ok(make())
        }
        (made, _) => Ok(made),
    }
}

/// What has a name on the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occupant {
    /// Nothing (any more).
    Gone,
    /// A file without content: its content was lost in a crash of the medium.
    Empty,
    /// A file with content.
    Whole,
}

pub(super) fn occupant(path: &Path) -> Result<Occupant, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => Err(failed("publish", path)(io::Error::other(
            "a folder, a link or another thing that the store did not make is in the way",
        ))),
        Ok(found) if found.len() == 0 => Ok(Occupant::Empty),
        Ok(_) => Ok(Occupant::Whole),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Occupant::Gone),
        Err(error) => Err(failed("look at", path)(error)),
    }
}

/// Links, or renames to a free name on a medium that has no hard links.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    match hard_link(from, to) {
        Err(error) if no_hard_links(&error) => rename_if_absent(from, to),
        other => other,
    }
}

pub(super) fn no_hard_links(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOTSUP | libc::ENOSYS | libc::EMLINK))
}

/// Links, or finds that an error hides that it did.
fn hard_link(from: &Path, to: &Path) -> io::Result<()> {
    match link_with_proof(from, to) {
        // Where a server maps users (EFS access points, `all_squash`) the file is not ours, and Linux links only
        // those files of others that may be written (`fs.protected_hardlinks`).
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            fs::set_permissions(from, Permissions::from_mode(WRITABLE))?;
            let linked = link_with_proof(from, to);
            let _ = fs::set_permissions(from, Permissions::from_mode(READ_ONLY));
            linked
        }
        other => other,
    }
}

/// Over NFS a reply may be lost, and the repeated call then fails. Nobody else knows the name `from`: so if its file
/// has another name, or is the one at `to`, this call gave it that.
fn link_with_proof(from: &Path, to: &Path) -> io::Result<()> {
    let Err(error) = fs::hard_link(from, to) else { return Ok(()) };
    let Ok(own) = fs::symlink_metadata(from) else { return Err(error) };
    let is_own = |found: fs::Metadata| found.ino() == own.ino() && found.dev() == own.dev();
    if own.nlink() == 2 || fs::symlink_metadata(to).is_ok_and(is_own) { Ok(()) } else { Err(error) }
}

/// For media without hard links: a rename that fails where the name is taken, which some of them have.
pub(super) fn rename_if_absent(from: &Path, to: &Path) -> io::Result<()> {
    use nix::{
        errno::Errno,
        fcntl::{AT_FDCWD, RenameFlags, renameat2},
    };
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::ENOTSUP) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this volume has neither hard links nor a rename that does not replace: it cannot hold a store",
        )),
        Err(errno) => Err(errno.into()),
    }
}

/// Creates an object in one piece.
pub(super) fn small(root: &Root, target: &Path, object: &[u8]) -> Result<Created, StoreError> {
    written(root, target, object)?.publish(target)
}

/// Creates or replaces an object: never one that anything refers to.
pub(super) fn replace(root: &Root, target: &Path, object: &[u8]) -> Result<(), StoreError> {
    written(root, target, object)?.put_over(target)
}

/// The same for what may be lost in a crash of the medium.
pub(super) fn replace_soon(root: &Root, target: &Path, object: &[u8]) -> Result<(), StoreError> {
    written(root, target, object)?.put_over_soon(target)
}

fn written(root: &Root, target: &Path, object: &[u8]) -> Result<Temporary, StoreError> {
    let mut temporary = Temporary::beside(root, target)?;
    temporary.file().write_all(object).map_err(failed("write", target))?;
    Ok(temporary)
}

/// Creates folders from the root down, each durable before the next is made in it.
/// Makes a folder and those above it, durably, as far as they are not there.
pub(super) fn folders(root: &Root, folder: &Path) -> Result<(), StoreError> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|at| *at != &**root && !at.is_dir()).collect();
    for path in missing.iter().rev() {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.map_err(failed("create", path))?,
        }
    }
    // Once all are there: what makes the first name durable makes most of the others, and their syncs cost little.
    missing.iter().rev().try_for_each(|path| root.sync_folder(path))
}
