//! The seam between the agent and a medium: a few verbs on whole objects.
//!
//! Every implementation passes one contract suite. What it may assume of a medium, and no more: an object appears
//! whole or not at all; *create* succeeds for exactly one of many racing writers; what was created is durable when
//! the call returns; a listing shows every object that was created before it began. Not assumed: rename, locks,
//! order of listings, clocks, case folding, that a deleted name may be used again.

use super::StoreError;
use bytes::Bytes;
use kale_protocol::layout::{self, Key};
use std::{
    fmt,
    fs::File,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

/// A medium that holds objects under keys.
///
/// All calls block; all may be made from many threads at once. Errors name the medium and the key.
pub trait Transport: Send + Sync + fmt::Debug {
    /// How people name it, such as `file:///mnt/kale`.
    fn location(&self) -> &str;

    /// Reads a whole object of at most `limit` bytes; [`StoreError::NotFound`] if it is absent.
    ///
    /// An object longer than `limit` is an error before memory is taken for it.
    fn read(&self, key: &Key, limit: u64) -> Result<Vec<u8>, StoreError>;

    /// Fills `buffer` from `offset` on; an object that ends earlier is [`StoreError::Short`].
    fn read_at(&self, key: &Key, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError>;

    /// Bytes from `offset` on that the medium holds in memory, shared instead of copied: parts one behind the other, none
    /// of them empty. `None` where it holds none, and where they cannot be had: [`Self::read_at`] tells why.
    fn shared(&self, key: &Key, offset: u64, bytes: usize) -> Option<Vec<Bytes>> {
        let _ = (key, offset, bytes);
        None
    }

    /// Length and time of an object, or `None` if it is absent.
    fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError>;

    /// Creates an object if it is absent. Of many racing callers exactly one is told [`Created::New`], and only once
    /// the object is durable. An empty object counts as absent and is healed; no caller makes one.
    fn create(&self, key: &Key, object: &[u8]) -> Result<Created, StoreError>;

    /// Creates or replaces an object: for hints, tags and leases only.
    fn replace(&self, key: &Key, object: &[u8]) -> Result<(), StoreError>;

    /// The same for what nobody misses, should the medium crash: it need not be durable when this returns.
    fn replace_soon(&self, key: &Key, object: &[u8]) -> Result<(), StoreError> {
        self.replace(key, object)
    }

    /// Starts a long object, written in pieces. Nothing is visible under `key` until it is published.
    fn writer(&self, key: &Key) -> Result<Box<dyn ObjectWriter>, StoreError>;

    /// What lies directly under a key, in no order; an absent folder is an empty one. Unfinished objects are not shown.
    /// A folder in which there is nothing any more may still be shown.
    fn list(&self, folder: &Key) -> Result<Vec<Entry>, StoreError>;

    /// Removes an object; an absent one is no error.
    fn remove(&self, key: &Key) -> Result<(), StoreError>;

    /// Removes a folder and all that is in it, also what is unfinished; an absent one is no error, and the root is
    /// never removed.
    fn remove_folder(&self, folder: &Key) -> Result<(), StoreError>;

    /// Whether a file can become an object without being written again: it lies on the medium's own file system, it is
    /// nobody else's, it has no other name, and no process can write to it. `None` where that is not so, or not sure.
    ///
    /// As long as the answer is kept, the file is watched: see [`Adoption::take`].
    fn adopt(&self, file: &File, path: &Path) -> Result<Option<Box<dyn Adoption>>, StoreError> {
        let _ = (file, path);
        Ok(None)
    }

    /// Begins to watch for new objects, on a medium that tells of them; `None` on one that does not: there is nothing to
    /// wait on but time.
    fn watch(&self) -> Option<Box<dyn Watch>> {
        None
    }

    /// Makes a folder, durably, in which objects will be created soon, so that they need not wait for that. Does nothing
    /// on a medium that has no folders.
    fn prepare(&self, _folder: &Key) -> Result<(), StoreError> {
        Ok(())
    }

    /// Whether what is published was waited for until it was durable. Where nobody waits, the medium's rate does not count.
    fn is_durable(&self) -> bool {
        true
    }

    /// Bytes a second that the medium takes, as was noticed while long objects were written through this; `None` as long as
    /// none were, and on a medium that is asked for no durability.
    fn rate(&self) -> Option<u64> {
        None
    }

    /// The same, tried out at once by writing something that is removed again: for whoever has much to write and nothing to
    /// go by. `None` where that cannot be told in a few hundredths of a second, and where [`Self::is_durable`] is not so.
    fn try_out(&self) -> Option<u64> {
        None
    }

    /// The file that holds an object, on a medium that is a file system: for maps and clones of packs.
    fn local_path(&self, key: &Key) -> Option<PathBuf>;

    /// Whether objects are files, which can be mapped, and which one thread for each core reads as fast as more.
    fn has_files(&self) -> bool {
        self.local_path(&layout::marker()).is_some()
    }
}

/// A watch for new objects; dropping it ends it.
pub trait Watch: Send + AsFd {
    /// Watches a folder, or the nearest one above it that is there, for what appears directly in it.
    ///
    /// After [`Watched::Anew`] something may have appeared before: the caller looks first, and adds the folder again.
    fn add(&mut self, folder: &Key) -> Watched;

    /// Whether anything has appeared that may be an object, or is not known to have not. Blocks never: the descriptor
    /// becomes readable when this has something to say.
    fn appeared(&mut self) -> bool;
}

/// Whether a folder is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watched {
    /// It was before.
    Already,
    /// From now on.
    Anew,
    /// It cannot be, here or any more.
    Not,
}

/// A file that may become an object; dropping it changes nothing.
pub trait Adoption: Send {
    /// Takes the file from its path, as the beginning of an object that is appended to and published like any other;
    /// dropping it gives the file back. `None`, and nothing taken, where somebody has opened the file for writing since
    /// it was found fit, or another file is at the path.
    fn take(&self, key: &Key) -> Result<Option<Box<dyn ObjectWriter>>, StoreError>;
}

/// A long object that is being written; dropping it discards it.
pub trait ObjectWriter: Send {
    /// Appends bytes.
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError>;

    /// Makes it durable and visible if its key is absent.
    fn publish(self: Box<Self>) -> Result<Created, StoreError>;
}

/// Whether a creation made the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// This call made it.
    New,
    /// Another one was there before, whole; nothing was written.
    Exists,
}

/// What is known of an object without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its length.
    pub bytes: u64,
    /// When it was last written, by the medium's clock, in nanoseconds since 1970 UTC.
    pub modified_ns: i64,
}

/// One entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    /// A folder's last segment.
    Folder(String),
    /// An object's last segment.
    Object(String),
}

impl Entry {
    /// The segment.
    pub fn segment(&self) -> &str {
        match self {
            Self::Folder(segment) | Self::Object(segment) => segment,
        }
    }
}
