//! A double that writes down every call: cost is behaviour, and tests assert it.

use super::{Adoption, Created, Entry, ObjectWriter, Stat, StoreError, Transport, Watch};
use kale_protocol::layout::Key;
use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// [`Transport::read`].
    Read,
    /// [`Transport::read_at`].
    ReadAt,
    /// [`Transport::stat`].
    Stat,
    /// [`Transport::create`].
    Create,
    /// [`Transport::replace`].
    Replace,
    /// [`Transport::writer`].
    Writer,
    /// [`Adoption::take`].
    Take,
    /// [`ObjectWriter::write`].
    Write,
    /// [`ObjectWriter::publish`].
    Publish,
    /// A writer was dropped without having been published.
    Discard,
    /// [`Transport::list`].
    List,
    /// [`Transport::remove`].
    Remove,
    /// [`Transport::remove_folder`].
    RemoveFolder,
    /// [`Transport::local_path`].
    LocalPath,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What was called.
    pub verb: Verb,
    /// On which key.
    pub key: Key,
    /// Bytes that it took or was to give; 0 where it moves none, and for a whole read, whose length is not known before.
    pub bytes: u64,
}

/// Any medium, with a list of the calls to it; clones share both.
#[derive(Clone, Debug)]
pub struct Recording {
    inner: Arc<dyn Transport>,
    calls: Calls,
}

impl Recording {
    /// Begins a list of the calls to a medium.
    pub fn new(inner: Arc<dyn Transport>) -> Self {
        Self { inner, calls: Calls::default() }
    }

    /// All calls, in the order in which they began.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().clone()
    }

    /// How many calls of a verb there were.
    pub fn count(&self, verb: Verb) -> usize {
        self.calls.lock().iter().filter(|call| call.verb == verb).count()
    }

    /// Takes the list, and begins a new one.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock())
    }
}

#[derive(Clone, Debug, Default)]
struct Calls(Arc<Mutex<Vec<Call>>>);

impl Calls {
    fn lock(&self) -> MutexGuard<'_, Vec<Call>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, verb: Verb, key: &Key, bytes: usize) {
        self.lock().push(Call { verb, key: key.clone(), bytes: bytes as u64 });
    }
}

impl Transport for Recording {
    fn location(&self) -> &str {
        self.inner.location()
    }

    fn read(&self, key: &Key, limit: u64) -> Result<Vec<u8>, StoreError> {
        self.calls.add(Verb::Read, key, 0);
        self.inner.read(key, limit)
    }

    fn read_at(&self, key: &Key, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        self.calls.add(Verb::ReadAt, key, buffer.len());
        self.inner.read_at(key, offset, buffer)
    }

    fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        self.calls.add(Verb::Stat, key, 0);
        self.inner.stat(key)
    }

    fn create(&self, key: &Key, object: &[u8]) -> Result<Created, StoreError> {
        self.calls.add(Verb::Create, key, object.len());
        self.inner.create(key, object)
    }

    fn replace(&self, key: &Key, object: &[u8]) -> Result<(), StoreError> {
        self.calls.add(Verb::Replace, key, object.len());
        self.inner.replace(key, object)
    }

    fn writer(&self, key: &Key) -> Result<Box<dyn ObjectWriter>, StoreError> {
        self.calls.add(Verb::Writer, key, 0);
        let inner = Some(self.inner.writer(key)?);
        Ok(Box::new(RecordingWriter { inner, key: key.clone(), calls: self.calls.clone() }))
    }

    fn adopt(&self, file: &File, path: &Path) -> Result<Option<Box<dyn Adoption>>, StoreError> {
        let inner = self.inner.adopt(file, path)?;
        Ok(inner.map(|inner| Box::new(RecordingAdoption { inner, calls: self.calls.clone() }) as Box<dyn Adoption>))
    }

    fn watch(&self) -> Option<Box<dyn Watch>> {
        self.inner.watch()
    }

    fn list(&self, folder: &Key) -> Result<Vec<Entry>, StoreError> {
        self.calls.add(Verb::List, folder, 0);
        self.inner.list(folder)
    }

    fn remove(&self, key: &Key) -> Result<(), StoreError> {
        self.calls.add(Verb::Remove, key, 0);
        self.inner.remove(key)
    }

    fn remove_folder(&self, folder: &Key) -> Result<(), StoreError> {
        self.calls.add(Verb::RemoveFolder, folder, 0);
        self.inner.remove_folder(folder)
    }

    fn prepare(&self, folder: &Key) -> Result<(), StoreError> {
        self.inner.prepare(folder)
    }

    fn rate(&self) -> Option<u64> {
        self.inner.rate()
    }

    fn try_out(&self) -> Option<u64> {
        self.inner.try_out()
    }

    fn local_path(&self, key: &Key) -> Option<PathBuf> {
        self.calls.add(Verb::LocalPath, key, 0);
        self.inner.local_path(key)
    }
}

struct RecordingAdoption {
    inner: Box<dyn Adoption>,
    calls: Calls,
}

impl Adoption for RecordingAdoption {
    fn take(&self, key: &Key) -> Result<Option<Box<dyn ObjectWriter>>, StoreError> {
        self.calls.add(Verb::Take, key, 0);
        let Some(inner) = self.inner.take(key)? else { return Ok(None) };
        Ok(Some(Box::new(RecordingWriter { inner: Some(inner), key: key.clone(), calls: self.calls.clone() })))
    }
}

struct RecordingWriter {
    /// There until it is published.
    inner: Option<Box<dyn ObjectWriter>>,
    key: Key,
    calls: Calls,
}

impl ObjectWriter for RecordingWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.calls.add(Verb::Write, &self.key, bytes.len());
        self.inner.as_mut().expect("publishing takes the writer itself").write(bytes)
    }

    fn publish(mut self: Box<Self>) -> Result<Created, StoreError> {
        self.calls.add(Verb::Publish, &self.key, 0);
        self.inner.take().expect("publishing takes the writer itself").publish()
    }
}

impl Drop for RecordingWriter {
    fn drop(&mut self) {
        if self.inner.is_some() {
            self.calls.add(Verb::Discard, &self.key, 0);
        }
    }
}
