//! A store on a folder of a volume, local or shared between hosts (NFS, CephFS, EFS).
//!
//! Made for close-to-open consistency and nothing more: nothing that was published is ever renamed over or written
//! to, and publication is `link(2)`, which fails where the name is taken. `docs/crash-safety.md` has the whole order.

mod adopt;
mod files;
mod heal;
mod publish;
mod root;
mod sweep;
#[cfg(test)]
mod tests;
mod trial;
mod watch;
mod write_behind;
mod writer;

use super::{Adoption, Created, Entry, ObjectWriter, Stat, StoreError, Transport, Watch, location};
pub use root::Sync;

use files::Files;
use kale_protocol::layout::Key;
use root::Root;
use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};
use writer::VolumeWriter;

/// A folder as a medium.
///
/// Of the folder's file system it asks for hard links, or else for a rename that does not replace; the first write
/// says if it has neither.
#[derive(Debug)]
pub struct Volume {
    root: Root,
    location: String,
    files: Files,
}

impl Volume {
    /// A folder that is there, on which everything is synced.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::open_with(folder, Sync::Always)
    }

    /// A folder that is there.
    pub fn open_with(folder: &Path, sync: Sync) -> Result<Self, StoreError> {
        let root = folder.canonicalize().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => StoreError::Absent { store: folder.display().to_string() },
            _ => failed("open", folder)(source),
        })?;
        if !root.is_dir() {
            return Err(StoreError::NotAStore { store: root.display().to_string() });
        }
        let location = location::of(&root);
        Ok(Self { root: Root::new(root, sync), location, files: Files::default() })
    }

    /// A folder that is made if it is not there.
    pub fn create(folder: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(folder).map_err(failed("create", folder))?;
        Self::open(folder)
    }

    fn path(&self, key: &Key) -> PathBuf {
        if key.as_str().is_empty() { self.root.to_path_buf() } else { self.root.join(key.as_str()) }
    }

    fn not_found(&self, key: &Key) -> StoreError {
        StoreError::NotFound { store: self.location.clone(), key: key.clone() }
    }

    /// Opens an object that is there; an empty one counts as absent.
    fn object(&self, key: &Key) -> Result<(File, u64), StoreError> {
        let path = self.path(key);
        let opened = files::fresh(|| {
            let file = files::open(&path)?;
            let found = file.metadata()?;
            Ok((file, found))
        });
        match opened {
            Ok((file, found)) if found.is_file() && found.len() > 0 => Ok((file, found.len())),
            Ok(_) => Err(self.not_found(key)),
            Err(error) => Err(self.absent_or(key, "open", &path, error)),
        }
    }

    fn absent_or(&self, key: &Key, action: &'static str, path: &Path, error: io::Error) -> StoreError {
        if is_absent(&error) { self.not_found(key) } else { failed(action, path)(error) }
    }

    fn short(&self, key: &Key, bytes: u64, wanted: u64) -> StoreError {
        StoreError::Short { store: self.location.clone(), key: key.clone(), bytes, wanted }
    }

    /// The calls of a store's own code have no business with its root.
    fn not_the_root(&self, key: &Key) -> Result<(), StoreError> {
        if !key.as_str().is_empty() {
            return Ok(());
        }
        let source = io::Error::new(io::ErrorKind::InvalidInput, "it is the root of the store");
        Err(failed("remove", &self.root)(source))
    }
}

/// An error of the medium at a path.
fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let place = path.display().to_string();
    move |source| StoreError::Io { action, place, source }
}

/// Whether an error says that there is nothing: not there, a file on the way, or (NFS) removed under an open handle.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) || files::is_stale(error)
}

/// Whether a name is none of the store's: unfinished, a stand-in, or (NFS) removed while somebody has it open.
fn is_hidden(segment: &str) -> bool {
    [publish::TEMPORARY, heal::STAND_IN, ".nfs"].iter().any(|prefix| segment.starts_with(prefix))
}

/// Fills a buffer, or says at which byte the file ends.
fn fill(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<Result<(), u64>> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => return Ok(Err(file.metadata()?.len())),
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Ok(()))
}

impl Transport for Volume {
    fn location(&self) -> &str {
        &self.location
    }

    fn read(&self, key: &Key, limit: u64) -> Result<Vec<u8>, StoreError> {
        let read = |file: File, bytes: u64| {
            let mut object = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
            file.take(bytes).read_to_end(&mut object).map(|_| object)
        };
        let mut again = true;
        loop {
            let (file, bytes) = self.object(key)?;
            if bytes > limit {
                return Err(StoreError::TooLarge { store: self.location.clone(), key: key.clone(), bytes, limit });
            }
            match read(file, bytes) {
                Err(error) if again && files::is_stale(&error) => again = false,
                read => return read.map_err(|error| self.absent_or(key, "read", &self.path(key), error)),
            }
        }
    }

    fn read_at(&self, key: &Key, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let wanted = offset.saturating_add(buffer.len() as u64);
        if i64::try_from(wanted).is_err() {
            // No file reaches so far, and the system would call the offset invalid.
            return Err(self.short(key, self.object(key)?.1, wanted));
        }
        let mut again = true;
        loop {
            let file = self.files.get(key, || self.object(key).map(|(file, _)| file))?;
            match fill(&file, offset, buffer) {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(bytes)) => return Err(self.short(key, bytes, wanted)),
                Err(error) => {
                    self.files.forget(key);
                    if !again || !files::is_stale(&error) {
                        return Err(self.absent_or(key, "read", &self.path(key), error));
                    }
                    again = false;
                }
            }
        }
    }

    fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        let path = self.path(key);
        match files::fresh(|| fs::symlink_metadata(&path)) {
            Ok(found) if found.is_file() && found.len() > 0 => {
                let modified_ns = found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec());
                Ok(Some(Stat { bytes: found.len(), modified_ns }))
            }
            Ok(_) => Ok(None),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(failed("look at", &path)(error)),
        }
    }

    fn create(&self, key: &Key, object: &[u8]) -> Result<Created, StoreError> {
        let path = self.path(key);
        // The common case of a repeated step: nothing is written to find out that nothing has to be.
        if self.stat(key)?.is_some() {
            return Ok(Created::Exists);
        }
        publish::small(&self.root, &path, object)
    }

    fn replace(&self, key: &Key, object: &[u8]) -> Result<(), StoreError> {
        publish::replace(&self.root, &self.path(key), object)?;
        self.files.forget(key);
        Ok(())
    }

    fn replace_soon(&self, key: &Key, object: &[u8]) -> Result<(), StoreError> {
        publish::replace_soon(&self.root, &self.path(key), object)?;
        self.files.forget(key);
        Ok(())
    }

    fn writer(&self, key: &Key) -> Result<Box<dyn ObjectWriter>, StoreError> {
        Ok(Box::new(VolumeWriter::begin(&self.root, self.path(key))?))
    }

    fn adopt(&self, file: &File, path: &Path) -> Result<Option<Box<dyn Adoption>>, StoreError> {
        adopt::watch(&self.root, file, path)
    }

    fn watch(&self) -> Option<Box<dyn Watch>> {
        watch::begin(&self.root).map(|watch| Box::new(watch) as Box<dyn Watch>)
    }

    fn list(&self, folder: &Key) -> Result<Vec<Entry>, StoreError> {
        let path = self.path(folder);
        match files::fresh(|| entries(&path)) {
            // Stale for the second time is not absent: a fan-in must not take it for no producers.
            Err(error) if is_absent(&error) && !files::is_stale(&error) => Ok(Vec::new()),
            listed => listed.map_err(failed("list", &path)),
        }
    }

    fn remove(&self, key: &Key) -> Result<(), StoreError> {
        self.not_the_root(key)?;
        self.files.forget(key);
        let path = self.path(key);
        heal::forget(&path)?;
        match fs::remove_file(&path) {
            Err(error) if !is_absent(&error) => Err(failed("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    fn remove_folder(&self, folder: &Key) -> Result<(), StoreError> {
        self.not_the_root(folder)?;
        self.files.forget_under(folder);
        let path = self.path(folder);
        // Links are removed, never followed: the standard library goes down by descriptors.
        match fs::remove_dir_all(&path) {
            Err(error) if !is_absent(&error) => Err(failed("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    fn prepare(&self, folder: &Key) -> Result<(), StoreError> {
        publish::folders(&self.root, &self.path(folder))
    }

    fn is_durable(&self) -> bool {
        self.root.writes_behind()
    }

    fn rate(&self) -> Option<u64> {
        self.root.pace().rate()
    }

    fn try_out(&self) -> Option<u64> {
        trial::rate(&self.root)
    }

    fn local_path(&self, key: &Key) -> Option<PathBuf> {
        Some(self.path(key))
    }
}

fn entries(path: &Path) -> io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        // A name that is no text is none that the store made.
        let Ok(segment) = entry.file_name().into_string() else { continue };
        if is_hidden(&segment) {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.push(Entry::Folder(segment)),
            Ok(kind) if kind.is_file() => found.push(Entry::Object(segment)),
            Ok(_) => {}
            // Removed while it was listed, on a file system that does not tell types with names.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}
