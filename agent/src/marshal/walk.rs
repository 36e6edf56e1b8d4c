//! Walks a file or a folder in the order of a manifest, following no link below its root.
//!
//! Depth first, each folder sorted bytewise, which is the order of [`ArtifactPath`]. Only the folder that is being
//! walked is open, and everything is opened relative to it: a path that is swapped for a link during the walk leads
//! nowhere. Memory: the names of the folders on the way down, and the first names of files that have several.

use super::{MarshalError, source::Striped};
use kale_protocol::path::{ArtifactPath, PathError};
use nix::{
    dir::{Dir, Type},
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat, readlinkat},
    sys::stat::{FileStat, Mode, SFlag, fstat, fstatat},
};
use std::{
    collections::HashMap,
    ffi::{CString, OsStr},
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
};

/// So many files with several names are remembered; names of further ones become files of their own.
const LINKED_FILES: usize = 1 << 17;
/// A FIFO or a device that stands where a file stood a moment ago must not block.
const OPEN_FILE: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);
const OPEN_FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_NOFOLLOW).union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// One entry, as it was found.
#[derive(Debug)]
pub(crate) struct Visited {
    /// Where it lies in the artifact.
    pub(crate) path: ArtifactPath,
    /// Where it lies here.
    pub(crate) local: PathBuf,
    /// The low 12 bits of its mode.
    pub(crate) mode: u16,
    /// Last modification, in nanoseconds since 1970 UTC.
    pub(crate) modified_ns: i64,
    /// What it is.
    pub(crate) found: Found,
}

/// What an entry is.
#[derive(Debug)]
pub(crate) enum Found {
    /// A folder, whose entries follow.
    Folder,
    /// A regular file, opened.
    File(Striped, FileStat),
    /// A symbolic link's target.
    Symlink(Vec<u8>),
    /// Another name of the file that was visited under this path.
    HardLink(ArtifactPath),
    /// A FIFO.
    Fifo,
}

/// First paths of files with several names, by device and inode.
type LinkedFiles = HashMap<(u64, u64), ArtifactPath>;

/// A walk under way.
#[derive(Debug)]
pub(crate) struct Walk {
    root: PathBuf,
    /// The root, until it was visited.
    first: Option<Visited>,
    /// The innermost folder; the only one that is open.
    open: Option<OwnedFd>,
    levels: Vec<Level>,
    linked: LinkedFiles,
}

/// A folder on the way down.
#[derive(Debug)]
struct Level {
    path: ArtifactPath,
    stat: FileStat,
    /// Names not yet visited, the next one last, and whether the listing said that it is a regular file.
    names: Vec<(CString, bool)>,
}

impl Walk {
    /// Begins at a file or folder; a symbolic link there is followed, so that an output's path may be one.
    pub(crate) fn open(root: &Path) -> Result<Self, MarshalError> {
        let at = |action| move |source| MarshalError::Io { action, path: root.to_owned(), source };
        let target = fs::canonicalize(root).map_err(at("find"))?;
        let stat = nix::sys::stat::lstat(&target).map_err(io::Error::from).map_err(at("look at"))?;
        let mut walk =
            Self { root: root.to_owned(), first: None, open: None, levels: Vec::new(), linked: HashMap::new() };
        let path = ArtifactPath::root();
        let found = match kind(&stat) {
            SFlag::S_IFDIR => {
                let folder = nix::fcntl::open(&target, OPEN_FOLDER, Mode::empty()).map_err(io::Error::from);
                walk.enter(path.clone(), folder.map_err(at("open"))?, &stat)?;
                Found::Folder
            }
            SFlag::S_IFREG => {
                let file = nix::fcntl::open(&target, OPEN_FILE, Mode::empty()).map_err(io::Error::from);
                walk.regular(&path, file.map_err(at("open"))?, &stat)?
            }
            SFlag::S_IFIFO => return Err(walk.refused(&path, "FIFO")),
            other => return Err(walk.refused(&path, word(other))),
        };
        walk.first = Some(walk.visited(path, &stat, found));
        Ok(walk)
    }

    /// The next entry; `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Visited>, MarshalError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        while let Some(level) = self.levels.last_mut() {
            match level.names.pop() {
                Some((name, is_file)) => return self.visit(&name, is_file).map(Some),
                None => self.leave()?,
            }
        }
        Ok(None)
    }

    fn visit(&mut self, name: &CString, is_file: bool) -> Result<Visited, MarshalError> {
        let level = self.levels.last().expect("a name comes from a folder that is being walked");
        let joined = level.path.join(name.to_bytes());
        let path = joined.map_err(|source| self.unfit(&level.path, name, source))?;
        let folder = self.open.as_ref().expect("the folder that is being walked is open");
        // Looked at only once it is open: a call less for each file. Where it is something else by now, as follows.
        if is_file
            && let Ok(file) = openat(folder, name.as_c_str(), OPEN_FILE, Mode::empty())
            && let Ok(stat) = fstat(&file)
            && kind(&stat) == SFlag::S_IFREG
        {
            let found = match first_name(&mut self.linked, &path, &stat) {
                Some(first) => Found::HardLink(first),
                None => Found::File(File::from(file).into(), stat),
            };
            return Ok(self.visited(path, &stat, found));
        }
        let stat = fstatat(folder, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
        let stat = stat.map_err(|errno| self.failed("look at", &path, errno))?;
        let found = match kind(&stat) {
            SFlag::S_IFDIR => {
                let below = openat(folder, name.as_c_str(), OPEN_FOLDER, Mode::empty());
                let below = below.map_err(|errno| self.failed("open", &path, errno))?;
                self.enter(path.clone(), below, &stat)?;
                Found::Folder
            }
            SFlag::S_IFREG => match first_name(&mut self.linked, &path, &stat) {
                Some(first) => Found::HardLink(first),
                None => {
                    let file = openat(folder, name.as_c_str(), OPEN_FILE, Mode::empty());
                    let file = file.map_err(|errno| self.failed("open", &path, errno))?;
                    self.regular(&path, file, &stat)?
                }
            },
            SFlag::S_IFLNK => {
                let target = readlinkat(folder, name.as_c_str());
                Found::Symlink(target.map_err(|errno| self.failed("read", &path, errno))?.into_vec())
            }
            SFlag::S_IFIFO => Found::Fifo,
            other => return Err(self.refused(&path, word(other))),
        };
        Ok(self.visited(path, &stat, found))
    }

    /// Checks that what was opened is what was seen.
    fn regular(&self, path: &ArtifactPath, file: OwnedFd, seen: &FileStat) -> Result<Found, MarshalError> {
        let opened = fstat(&file).map_err(|errno| self.failed("look at", path, errno))?;
        if kind(&opened) != SFlag::S_IFREG || identity(&opened) != identity(seen) {
            return Err(self.changed(path, "another file took its place"));
        }
        Ok(Found::File(File::from(file).into(), opened))
    }

    /// Sees the folder that is being walked as it is now: a file of it was taken out on purpose.
    pub(crate) fn renew(&mut self) -> Result<(), MarshalError> {
        let (Some(folder), Some(level)) = (&self.open, self.levels.last()) else { return Ok(()) };
        let stat = fstat(folder).map_err(|errno| self.failed("look at", &level.path, errno))?;
        if let Some(level) = self.levels.last_mut() {
            level.stat = stat;
        }
        Ok(())
    }

    fn enter(&mut self, path: ArtifactPath, folder: OwnedFd, seen: &FileStat) -> Result<(), MarshalError> {
        let stat = fstat(&folder).map_err(|errno| self.failed("look at", &path, errno))?;
        if identity(&stat) != identity(seen) {
            return Err(self.changed(&path, "another folder took its place"));
        }
        let listing = openat(&folder, c".", OPEN_FOLDER, Mode::empty()).and_then(Dir::from_fd);
        let mut listing = listing.map_err(|errno| self.failed("list", &path, errno))?;
        let mut names: Vec<(CString, bool)> = Vec::new();
        for entry in listing.iter() {
            let entry = entry.map_err(|errno| self.failed("list", &path, errno))?;
            if ![&b"."[..], b".."].contains(&entry.file_name().to_bytes()) {
                names.push((entry.file_name().to_owned(), entry.file_type() == Some(Type::File)));
            }
        }
        names.sort_unstable_by(|a, b| b.0.cmp(&a.0));
        self.open = Some(folder);
        self.levels.push(Level { path, stat, names });
        Ok(())
    }

    /// Goes back up, and checks that the folder above is the one that it was.
    fn leave(&mut self) -> Result<(), MarshalError> {
        let left = self.levels.pop().expect("only a folder that was entered is left");
        let folder = self.open.take().expect("the folder that is being walked is open");
        let after = fstat(&folder).map_err(|errno| self.failed("look at", &left.path, errno))?;
        if modified_ns(&after) != modified_ns(&left.stat) {
            return Err(self.changed(&left.path, "entries were added or removed"));
        }
        let Some(above) = self.levels.last() else { return Ok(()) };
        let up = openat(folder.as_fd(), c"..", OPEN_FOLDER, Mode::empty());
        let up = up.map_err(|errno| self.failed("open", &above.path, errno))?;
        let stat = fstat(&up).map_err(|errno| self.failed("look at", &above.path, errno))?;
        if identity(&stat) != identity(&above.stat) {
            return Err(self.changed(&left.path, "it was moved"));
        }
        self.open = Some(up);
        Ok(())
    }

    fn visited(&self, path: ArtifactPath, stat: &FileStat, found: Found) -> Visited {
        let (mode, modified_ns) = (mode(stat), modified_ns(stat));
        Visited { local: self.local(&path), path, mode, modified_ns, found }
    }

    fn local(&self, path: &ArtifactPath) -> PathBuf {
        if path.is_root() { self.root.clone() } else { self.root.join(OsStr::from_bytes(path.as_bytes())) }
    }

    fn failed(&self, action: &'static str, path: &ArtifactPath, errno: Errno) -> MarshalError {
        match errno {
            Errno::ENOENT | Errno::ELOOP | Errno::ENOTDIR => self.changed(path, "it was removed or replaced"),
            _ => MarshalError::Io { action, path: self.local(path), source: errno.into() },
        }
    }

    fn changed(&self, path: &ArtifactPath, how: &str) -> MarshalError {
        MarshalError::Changed { path: self.local(path), how: how.to_owned() }
    }

    fn refused(&self, path: &ArtifactPath, what: &'static str) -> MarshalError {
        MarshalError::Refused { path: self.local(path), what }
    }

    fn unfit(&self, folder: &ArtifactPath, name: &CString, source: PathError) -> MarshalError {
        MarshalError::Path { path: self.local(folder).join(OsStr::from_bytes(name.to_bytes())), source }
    }
}

/// The path under which this file was visited before, if it was.
fn first_name(linked: &mut LinkedFiles, path: &ArtifactPath, stat: &FileStat) -> Option<ArtifactPath> {
    if stat.st_nlink < 2 {
        return None;
    }
    let first = linked.get(&identity(stat)).cloned();
    if first.is_none() && linked.len() < LINKED_FILES {
        linked.insert(identity(stat), path.clone());
    }
    first
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

fn word(kind: SFlag) -> &'static str {
    match kind {
        SFlag::S_IFSOCK => "socket",
        SFlag::S_IFCHR => "character device",
        SFlag::S_IFBLK => "block device",
        SFlag::S_IFIFO => "FIFO",
        SFlag::S_IFDIR => "folder",
        _ => "entry of unknown type",
    }
}

fn identity(stat: &FileStat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// The low 12 bits of a mode.
pub(crate) fn mode(stat: &FileStat) -> u16 {
    (stat.st_mode & 0o7777) as u16
}

/// Last modification, in nanoseconds since 1970 UTC.
pub(crate) fn modified_ns(stat: &FileStat) -> i64 {
    stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec)
}
