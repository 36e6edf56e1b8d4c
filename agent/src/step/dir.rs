//! The agent's own folder for one step: inputs, outputs, socket, and what step code needs to find the agent.

use super::StepError;
use crate::python;
use kale_protocol::name::Name;
use nix::fcntl::{Flock, FlockArg};
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{OpenOptionsExt, symlink},
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// The longest path that a Unix socket may have on Linux, without the final NUL (`sun_path` is 108 bytes).
const SOCKET_PATH: usize = 107;

/// The folder, held for the life of the step.
///
/// A temporary one is removed with everything in it. One that the user chose belongs to one agent at a time; `in` and
/// `out` of an earlier attempt are removed at the start, since leftovers must not become this attempt's.
#[derive(Debug)]
pub(super) struct StepDir {
    root: PathBuf,
    socket: PathBuf,
    temporary: Option<TempDir>,
    socket_dir: Option<TempDir>,
    _lock: Flock<File>,
}

impl StepDir {
    /// Makes the folder, or takes the one that was chosen.
    pub(super) fn open(chosen: Option<&Path>) -> Result<Self, StepError> {
        let (root, temporary) = match chosen {
            Some(root) => {
                fs::create_dir_all(root).map_err(io_error("create", root))?;
                (root.to_owned(), None)
            }
            None => {
                let made = tempfile::Builder::new().prefix("kale-").tempdir();
                let made = made.map_err(io_error(
                    "create a folder of our own, for which --dir or TMPDIR choose another place, in",
                    &std::env::temp_dir(),
                ))?;
                (made.path().to_owned(), Some(made))
            }
        };
        let lock = lock(&root)?;
        for own in ["in", "out", "loaded", "bin", "python"] {
            remove(&root.join(own))?;
        }
        for own in ["in", "out", "loaded", "bin", "python"] {
            let path = root.join(own);
            fs::create_dir(&path).map_err(io_error("create", &path))?;
        }
        let (socket, socket_dir) = socket_path(&root)?;
        remove(&socket)?;
        python::install(&root.join("python")).map_err(io_error("write the Python module to", &root.join("python")))?;
        let exe = std::env::current_exe().map_err(io_error("find", Path::new("/proc/self/exe")))?;
        let link = root.join("bin/kale-agent");
        symlink(&exe, &link).map_err(io_error("create", &link))?;
        Ok(Self { root, socket, temporary, socket_dir, _lock: lock })
    }

    /// The folder itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the socket for `save` and `load` is bound.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where an input goes that was given no path.
    pub(super) fn input(&self, name: &Name) -> PathBuf {
        self.root.join("in").join(name.as_str())
    }

    /// Where an output is expected that was given no path.
    pub(super) fn output(&self, name: &Name) -> PathBuf {
        self.root.join("out").join(name.as_str())
    }

    /// A new place for something that step code loads, by number.
    pub(super) fn loaded(&self, number: u64) -> PathBuf {
        self.root.join("loaded").join(number.to_string())
    }

    /// Removes a temporary folder although a save that was given up still reads from it.
    pub(super) fn abandon(&self) {
        if self.temporary.is_some() {
            // The process ends next: there is nobody to tell.
            let _ = fs::remove_dir_all(&self.root);
        }
    }

    /// Removes what the agent made; the user's own folder stays, empty of it.
    pub(super) fn close(self) -> Result<(), StepError> {
        let Self { root, socket, temporary, socket_dir, _lock } = self;
        drop(socket_dir);
        match temporary {
            Some(temporary) => temporary.close().map_err(io_error("remove", &root)),
            None => {
                for own in ["in", "out", "loaded", "bin", "python", ".lock"] {
                    remove(&root.join(own))?;
                }
                remove(&socket)
            }
        }
    }
}

fn lock(root: &Path) -> Result<Flock<File>, StepError> {
    let path = root.join(".lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(io_error("create", &path))?;
    // A local folder of this host, not the store: here a lock is what it says.
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::errno::Errno::EWOULDBLOCK => StepError::DirInUse { path: root.to_owned() },
        other => io_error("lock", &path)(other.into()),
    })
}

fn socket_path(root: &Path) -> Result<(PathBuf, Option<TempDir>), StepError> {
    let beside = root.join("agent.sock");
    if beside.as_os_str().len() <= SOCKET_PATH {
        return Ok((beside, None));
    }
    let short = tempfile::Builder::new().prefix("kale-").tempdir_in("/tmp");
    let short = short.map_err(io_error("create a folder for the socket in", Path::new("/tmp")))?;
    Ok((short.path().join("agent.sock"), Some(short)))
}

/// Removes whatever is there, if anything is.
pub(super) fn remove(path: &Path) -> Result<(), StepError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path)(error)),
        _ => Ok(()),
    }
}

/// An error about a local path of the agent's own.
pub(super) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StepError {
    let path = path.to_owned();
    move |source| StepError::Io { action, path, source }
}
