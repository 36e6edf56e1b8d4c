//! What is saved: a path, files that were handed over, or a stream.

mod stripe;

pub(crate) use stripe::Striped;
use stripe::length;
pub use stripe::{Stretch, Stripe};

use super::{
    MarshalError,
    segment::ReadAt,
    walk::{Found, Visited, Walk, mode, modified_ns},
};
use kale_protocol::path::ArtifactPath;
use nix::{
    sys::stat::{FileStat, SFlag},
    unistd::{Whence, lseek},
};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    fs::File,
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// The mode of a file that was handed over: a memory file has one that nobody chose.
const PART_MODE: u16 = 0o644;
/// The mode of the folders that such files lie in.
const PART_FOLDER_MODE: u16 = 0o755;

/// Content to be saved as one artifact.
pub enum Source {
    /// A file or a folder. A symbolic link here is followed, since an output's path may be one; none below it is.
    Path(PathBuf),
    /// The same, of which nobody needs what is there afterwards: long files in it may be moved into the store instead of
    /// being copied.
    Own(PathBuf),
    /// Regular files (memory files, too) under paths: one at the root is a file, else they make a tree. They are read
    /// from their first byte, whatever their position; all have mode 0644, and the folders above them 0755.
    Parts(Vec<(ArtifactPath, File)>),
    /// As [`Source::Parts`], with the content of each part in one or several stripes, one behind the other.
    Striped(Vec<(ArtifactPath, Vec<Stripe>)>),
    /// Bytes of unknown length, saved as a file of mode 0644. Content that begins like a format whose tables are at its
    /// end is first written to a temporary file without a name.
    Reader(Box<dyn Read + Send>),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Self::Own(path) => f.debug_tuple("Own").field(path).finish(),
            Self::Parts(parts) => f.debug_list().entries(parts.iter().map(|(path, _)| path)).finish(),
            Self::Striped(parts) => f.debug_list().entries(parts.iter().map(|(path, _)| path)).finish(),
            Self::Reader(_) => f.write_str("Reader"),
        }
    }
}

/// Entries of a source that has them.
pub(crate) enum Entries {
    Walk(Box<Walk>),
    Parts(VecDeque<Visited>),
}

impl Entries {
    /// The next entry in path order.
    pub(crate) fn next(&mut self) -> Result<Option<Visited>, MarshalError> {
        match self {
            Self::Walk(walk) => walk.next(),
            Self::Parts(parts) => Ok(parts.pop_front()),
        }
    }

    /// Tells that the store took the file that was visited last.
    pub(crate) fn renew(&mut self) -> Result<(), MarshalError> {
        match self {
            Self::Walk(walk) => walk.renew(),
            Self::Parts(_) => Ok(()),
        }
    }

    /// Parts, in order and with the folders that they lie in.
    pub(crate) fn of_parts(parts: Vec<(ArtifactPath, File)>) -> Result<Self, MarshalError> {
        Self::of_striped(parts.into_iter().map(|(path, file)| (path, vec![file.into()])).collect())
    }

    /// Parts of several stripes each, in order and with the folders that they lie in.
    pub(crate) fn of_striped(parts: Vec<(ArtifactPath, Vec<Stripe>)>) -> Result<Self, MarshalError> {
        let mut entries: BTreeMap<ArtifactPath, Visited> = BTreeMap::new();
        if parts.is_empty() {
            entries.insert(ArtifactPath::root(), folder(ArtifactPath::root()));
        }
        for (path, stripes) in parts {
            let local = shown(&path);
            let failed = |errno: nix::errno::Errno| MarshalError::Io {
                action: "look at",
                path: local.clone(),
                source: errno.into(),
            };
            for stripe in &stripes {
                let stat = stripe.stat().map_err(failed)?;
                if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
                    return Err(MarshalError::Refused { path: local, what: "part that is no regular file" });
                }
            }
            let Some(file) = Striped::new(stripes).map_err(failed)? else {
                return Err(MarshalError::Refused { path: local, what: "part without a file" });
            };
            let stat = file.stat().map_err(failed)?;
            let mut above = path.parent();
            while let Some(at) = above {
                above = at.parent();
                entries.entry(at.clone()).or_insert_with(|| folder(at));
            }
            let modified_ns = modified_ns(&stat);
            let found = Found::File(file, stat);
            let part = Visited { path: path.clone(), local: local.clone(), mode: PART_MODE, modified_ns, found };
            if entries.insert(path, part).is_some() {
                return Err(MarshalError::Refused { path: local, what: "part whose path is taken" });
            }
        }
        // A folder may have been made for a later part where an earlier one is a file: then the file's path is taken.
        let mut last: Option<&Visited> = None;
        for entry in entries.values() {
            if let Some(file) =
                last.filter(|last| matches!(last.found, Found::File(..)) && entry.path.is_within(&last.path))
            {
                return Err(MarshalError::Refused { path: file.local.clone(), what: "part whose path is taken" });
            }
            last = Some(entry);
        }
        Ok(Self::Parts(entries.into_values().collect()))
    }
}

fn folder(path: ArtifactPath) -> Visited {
    Visited { local: shown(&path), path, mode: PART_FOLDER_MODE, modified_ns: now_ns(), found: Found::Folder }
}

/// Now, in nanoseconds since 1970 UTC: for what has no time of its own.
pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

fn shown(path: &ArtifactPath) -> PathBuf {
    let path = if path.is_root() { &b"the part"[..] } else { path.as_bytes() };
    PathBuf::from(std::ffi::OsStr::from_bytes(path))
}

/// A regular file that is being read, with what it was when that began.
#[derive(Debug)]
pub(crate) struct Regular {
    file: Striped,
    path: PathBuf,
    stat: FileStat,
}

impl Regular {
    /// A file as it was when it was opened.
    pub(crate) fn new(file: impl Into<Striped>, path: PathBuf, stat: FileStat) -> Self {
        Self { file: file.into(), path, stat }
    }

    /// Its length.
    pub(crate) fn bytes(&self) -> u64 {
        length(&self.stat)
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file on a disk, where it is one.
    pub(crate) fn single(&self) -> Option<&File> {
        self.file.single()
    }

    /// The file, for reading its tables.
    pub(crate) fn file(&self) -> &Striped {
        &self.file
    }

    /// Whether it takes less room than its length: it has holes, or its file system compresses.
    pub(crate) fn is_sparse(&self) -> bool {
        u64::try_from(self.stat.st_blocks).unwrap_or(0).saturating_mul(512) < self.bytes()
    }

    /// Fills `buffer` from `offset` on; a file that ends earlier has changed.
    pub(crate) fn read_exact(&self, buffer: &mut [u8], offset: u64) -> Result<(), MarshalError> {
        self.file.read_exact_at(buffer, offset).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => self.changed("it became shorter".to_owned()),
            _ => MarshalError::Io { action: "read", path: self.path.clone(), source },
        })
    }

    /// The end of the hole that begins at or before `at`, or `at` where there is none.
    ///
    /// Only asked for files with holes; a file system without `SEEK_HOLE` has none, as far as this knows.
    pub(crate) fn hole_end(&self, at: u64) -> u64 {
        let Some(file) = self.single() else { return at };
        let seek = |whence| i64::try_from(at).ok().map(|at| lseek(file, at, whence));
        let data = match seek(Whence::SeekData) {
            Some(Ok(data)) => u64::try_from(data).unwrap_or(at),
            // Nothing but a hole up to the end.
            Some(Err(nix::errno::Errno::ENXIO)) => self.bytes(),
            _ => at,
        };
        data.min(self.bytes()).max(at)
    }

    /// Checks that it is what it was, and as long.
    pub(crate) fn check_unchanged(&self) -> Result<(), MarshalError> {
        let now = self.file.stat().map_err(|errno| MarshalError::Io {
            action: "look at",
            path: self.path.clone(),
            source: errno.into(),
        })?;
        if now.st_size != self.stat.st_size {
            let how = format!("its length went from {} to {} bytes", self.stat.st_size, now.st_size);
            return Err(self.changed(how));
        }
        let times = |stat: &FileStat| (stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec);
        if times(&now) != times(&self.stat) {
            return Err(self.changed("it was written to".to_owned()));
        }
        if mode(&now) != mode(&self.stat) {
            return Err(self.changed("its mode changed".to_owned()));
        }
        Ok(())
    }

    fn changed(&self, how: String) -> MarshalError {
        MarshalError::Changed { path: self.path.clone(), how }
    }
}

#[cfg(test)]
mod tests;
