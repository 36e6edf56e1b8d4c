//! The place where an artifact is made before it is shown: a random name beside the target.

use super::super::MarshalError;
use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2},
    sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstatat},
};
use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// A name beside the target; what stands there is removed unless it is published.
#[derive(Debug)]
pub(crate) struct Staging {
    parent: OwnedFd,
    folder: PathBuf,
    name: OsString,
    target: PathBuf,
    target_name: OsString,
    replaces: bool,
    published: bool,
}

impl Staging {
    /// Checks the target and draws a name beside it; makes the folders above the target, nothing else.
    pub(crate) fn create(target: &Path, is_folder: bool) -> Result<Self, MarshalError> {
        let fail = |action, path: &Path, source| MarshalError::Io { action, path: path.to_owned(), source };
        let target_name = target
            .file_name()
            .ok_or_else(|| fail("restore to", target, io::Error::from(io::ErrorKind::InvalidInput)))?
            .to_owned();
        let folder = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let replaces = match fs::symlink_metadata(target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(fail("look at", target, error)),
            Ok(found) if is_folder && found.is_dir() => {
                let mut entries = fs::read_dir(target).map_err(|error| fail("list", target, error))?;
                if entries.next().is_some() {
                    return Err(MarshalError::Occupied { path: target.to_owned() });
                }
                true
            }
            Ok(_) => return Err(MarshalError::Occupied { path: target.to_owned() }),
        };
        fs::create_dir_all(&folder).map_err(|error| fail("create", &folder, error))?;
        // The folder above is the user's own path: links in it are followed, once.
        let parent = fs::File::open(&folder).map_err(|error| fail("open", &folder, error))?.into();
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| fail("name a folder in", &folder, io::Error::other(error)))?;
        let name = format!(".kale-{:016x}", u64::from_le_bytes(random)).into();
        let target = target.to_owned();
        Ok(Self { parent, folder, name, target, target_name, replaces, published: false })
    }

    /// The folder in which it stands.
    pub(crate) fn parent(&self) -> BorrowedFd<'_> {
        self.parent.as_fd()
    }

    /// Its name there.
    pub(crate) fn name(&self) -> &OsStr {
        &self.name
    }

    /// Where it will be shown.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Renames it to the target, which must be as it was when this began.
    pub(crate) fn publish(mut self) -> Result<(), MarshalError> {
        let (from, to) = (self.name.as_os_str(), self.target_name.as_os_str());
        let renamed = if self.replaces {
            renameat(&self.parent, from, &self.parent, to)
        } else {
            match renameat2(&self.parent, from, &self.parent, to, RenameFlags::RENAME_NOREPLACE) {
                // Some network file systems cannot promise it: then look first.
                Err(Errno::EINVAL | Errno::ENOSYS) => match fstatat(&self.parent, to, AtFlags::AT_SYMLINK_NOFOLLOW) {
                    Ok(_) => Err(Errno::EEXIST),
                    Err(_) => renameat(&self.parent, from, &self.parent, to),
                },
                renamed => renamed,
            }
        };
        match renamed {
            Ok(()) => {
                self.published = true;
                Ok(())
            }
            Err(Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR) => {
                Err(MarshalError::Occupied { path: self.target.clone() })
            }
            Err(error) => {
                Err(MarshalError::Io { action: "put into place", path: self.target.clone(), source: error.into() })
            }
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        let path = self.folder.join(&self.name);
        let remove = || match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(error) => Err(error),
        };
        if remove().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
            // Some folders have their final modes already; there is nobody to tell where this fails, too.
            let _ = unlock(self.parent.as_fd(), &self.name).map(|()| remove());
        }
    }
}

/// Makes a folder and all below it writable for us, links never followed.
fn unlock(parent: BorrowedFd<'_>, name: &OsStr) -> nix::Result<()> {
    let stat = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFDIR {
        return Ok(());
    }
    fchmodat(parent, name, Mode::S_IRWXU, FchmodatFlags::FollowSymlink)?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut folder = nix::dir::Dir::from_fd(openat(parent, name, flags, Mode::empty())?)?;
    let names: Vec<OsString> = folder
        .iter()
        .filter_map(Result::ok)
        .map(|entry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned())
        .filter(|name| name != "." && name != "..")
        .collect();
    names.iter().try_for_each(|name| unlock(folder.as_fd(), name))
}
