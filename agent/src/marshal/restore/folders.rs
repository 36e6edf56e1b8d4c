//! The folders above the node that is being restored, open: everything is made relative to them.

use super::{super::MarshalError, staging::Staging};
use kale_protocol::path::ArtifactPath;
use nix::{
    fcntl::{OFlag, openat},
    sys::stat::Mode,
};
use std::{
    ffi::OsStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    sync::Arc,
};

/// Most folders of the stack that are open at once; a deeper tree reopens those above.
const OPEN: usize = 32;

/// A folder that files are made in; `None` is the one that holds the artifact itself.
pub(crate) type Folder = Option<Arc<OwnedFd>>;

/// Where one node is made: names from a store are used only as a single component of an open folder.
#[derive(Clone, Debug)]
pub(crate) struct Spot<'s> {
    staging: &'s Staging,
    folder: Folder,
    /// Its path in the artifact.
    pub(crate) path: ArtifactPath,
    base: &'s ArtifactPath,
}

impl Spot<'_> {
    /// The folder that it lies in.
    pub(crate) fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_ref().map_or(self.staging.parent(), |folder| folder.as_fd())
    }

    /// Its name there.
    pub(crate) fn name(&self) -> &OsStr {
        match self.path.components().next_back() {
            Some(name) if self.path != *self.base => OsStr::from_bytes(name),
            _ => self.staging.name(),
        }
    }

    /// Where it will be shown, for messages.
    pub(crate) fn shown(&self) -> PathBuf {
        let below = self.path.as_bytes().get(self.base.as_bytes().len()..).unwrap_or_default();
        let below = below.strip_prefix(b"/").unwrap_or(below);
        if below.is_empty() {
            return self.staging.target().to_owned();
        }
        self.staging.target().join(OsStr::from_bytes(below))
    }

    /// Tells a failure of the system with the path.
    pub(crate) fn fail(&self, action: &'static str) -> impl Fn(nix::Error) -> MarshalError {
        move |error| MarshalError::Io { action, path: self.shown(), source: error.into() }
    }

    /// Whether it lies in a folder that was restored, too.
    pub(crate) fn is_inside(&self) -> bool {
        self.folder.is_some()
    }

    /// Opens it as a folder, never through a link.
    pub(crate) fn open_folder(&self) -> Result<OwnedFd, MarshalError> {
        open_folder(self.folder(), self.name()).map_err(self.fail("open"))
    }
}

fn open_folder(parent: BorrowedFd<'_>, name: &OsStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// The stack of folders above the current node.
#[derive(Debug)]
pub(crate) struct Folders<'s, T> {
    staging: &'s Staging,
    base: &'s ArtifactPath,
    stack: Vec<Level<T>>,
}

#[derive(Debug)]
struct Level<T> {
    path: ArtifactPath,
    open: Option<Arc<OwnedFd>>,
    with: T,
}

impl<'s, T> Folders<'s, T> {
    /// An empty stack: the next node is the one at `base`.
    pub(crate) fn new(staging: &'s Staging, base: &'s ArtifactPath) -> Self {
        Self { staging, base, stack: Vec::new() }
    }

    /// Takes the deepest folder off if `path` does not lie in it, with what was kept for it.
    pub(crate) fn leave(&mut self, path: Option<&ArtifactPath>) -> Result<Option<(Spot<'s>, T)>, MarshalError> {
        let stays = |level: &mut Level<T>| !path.is_some_and(|path| path.is_within(&level.path));
        match self.stack.pop_if(stays) {
            Some(level) => Ok(Some((self.spot(level.path)?, level.with))),
            None => Ok(None),
        }
    }

    /// The spot of a node that lies directly in the deepest folder left, as the manifest's rules make sure.
    pub(crate) fn spot(&mut self, path: ArtifactPath) -> Result<Spot<'s>, MarshalError> {
        let folder = match self.stack.last_mut() {
            None => None,
            Some(Level { open: Some(folder), .. }) => Some(Arc::clone(folder)),
            Some(level) => {
                let above = level.path.clone();
                let folder = Arc::new(self.walk(&above)?);
                if let Some(level) = self.stack.last_mut() {
                    level.open = Some(Arc::clone(&folder));
                }
                Some(folder)
            }
        };
        Ok(Spot { staging: self.staging, folder, path, base: self.base })
    }

    /// Goes down into a folder that stands already, keeping `with` for when it is left.
    pub(crate) fn enter(&mut self, spot: &Spot<'s>, with: T) -> Result<(), MarshalError> {
        let open = Some(Arc::new(spot.open_folder()?));
        if let Some(above) = self.stack.len().checked_sub(OPEN) {
            self.stack[above].open = None;
        }
        self.stack.push(Level { path: spot.path.clone(), open, with });
        Ok(())
    }

    /// The spot of any node that was restored before, found from the top down.
    pub(crate) fn find(&self, path: &ArtifactPath) -> Result<Spot<'s>, MarshalError> {
        let folder = match path.parent() {
            Some(parent) if path != self.base => Some(Arc::new(self.walk(&parent)?)),
            _ => None,
        };
        Ok(Spot { staging: self.staging, folder, path: path.clone(), base: self.base })
    }

    fn walk(&self, path: &ArtifactPath) -> Result<OwnedFd, MarshalError> {
        let fail = |error: nix::Error| {
            let spot = Spot { staging: self.staging, folder: None, path: path.clone(), base: self.base };
            spot.fail("open")(error)
        };
        let mut folder = open_folder(self.staging.parent(), self.staging.name()).map_err(fail)?;
        for name in path.components().skip(self.base.components().count()) {
            folder = open_folder(folder.as_fd(), OsStr::from_bytes(name)).map_err(fail)?;
        }
        Ok(folder)
    }
}
