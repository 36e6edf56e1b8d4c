//! A store in memory: the smallest thing that keeps the contract, for tests of everything above it.

use super::{Created, Entry, ObjectWriter, Stat, StoreError, Transport};
use bytes::Bytes;
use kale_protocol::layout::Key;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What is shared comes in parts of this length, as from a network.
const PART: usize = 100_000;

type Objects = BTreeMap<String, Arc<Vec<u8>>>;

/// Objects in a map; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    objects: Arc<Mutex<Objects>>,
}

impl Memory {
    /// An empty medium.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keys of all objects, in order.
    pub fn keys(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// Replaces an object's bytes as no transport call can, to play damage.
    pub fn tamper(&self, key: &Key, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(object) = self.lock().get_mut(key.as_str()) {
            change(Arc::make_mut(object));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &Key) -> Result<Arc<Vec<u8>>, StoreError> {
        let found = self.lock().get(key.as_str()).filter(|object| !object.is_empty()).cloned();
        found.ok_or_else(|| StoreError::NotFound { store: self.location().to_owned(), key: key.clone() })
    }

    fn put(&self, key: &Key, object: Vec<u8>) -> Created {
        let mut objects = self.lock();
        match objects.get(key.as_str()) {
            Some(there) if !there.is_empty() => Created::Exists,
            _ => {
                objects.insert(key.as_str().to_owned(), Arc::new(object));
                Created::New
            }
        }
    }
}

impl Transport for Memory {
    fn location(&self) -> &str {
        "memory:"
    }

    fn read(&self, key: &Key, limit: u64) -> Result<Vec<u8>, StoreError> {
        let object = self.find(key)?;
        let bytes = object.len() as u64;
        if bytes > limit {
            return Err(StoreError::TooLarge { store: self.location().to_owned(), key: key.clone(), bytes, limit });
        }
        Ok(object.to_vec())
    }

    fn read_at(&self, key: &Key, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let object = self.find(key)?;
        let wanted = offset.saturating_add(buffer.len() as u64);
        if wanted > object.len() as u64 {
            let bytes = object.len() as u64;
            return Err(StoreError::Short { store: self.location().to_owned(), key: key.clone(), bytes, wanted });
        }
        let start = offset as usize;
        buffer.copy_from_slice(&object[start..start + buffer.len()]);
        Ok(())
    }

    fn shared(&self, key: &Key, offset: u64, bytes: usize) -> Option<Vec<Bytes>> {
        let object = self.find(key).ok()?;
        let start = usize::try_from(offset).ok()?;
        let content = object.get(start..start.checked_add(bytes)?)?;
        Some(content.chunks(PART).map(Bytes::copy_from_slice).collect())
    }

    fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        Ok(self.find(key).ok().map(|object| Stat { bytes: object.len() as u64, modified_ns: 0 }))
    }

    fn create(&self, key: &Key, object: &[u8]) -> Result<Created, StoreError> {
        Ok(self.put(key, object.to_vec()))
    }

    fn replace(&self, key: &Key, object: &[u8]) -> Result<(), StoreError> {
        self.lock().insert(key.as_str().to_owned(), Arc::new(object.to_vec()));
        Ok(())
    }

    fn writer(&self, key: &Key) -> Result<Box<dyn ObjectWriter>, StoreError> {
        Ok(Box::new(MemoryWriter { memory: self.clone(), key: key.clone(), object: Vec::new() }))
    }

    fn list(&self, folder: &Key) -> Result<Vec<Entry>, StoreError> {
        let prefix = if folder.as_str().is_empty() { String::new() } else { format!("{folder}/") };
        let entries: BTreeSet<Entry> = self
            .lock()
            .keys()
            .filter_map(|key| key.strip_prefix(&prefix))
            .map(|rest| match rest.split_once('/') {
                Some((segment, _)) => Entry::Folder(segment.to_owned()),
                None => Entry::Object(rest.to_owned()),
            })
            .collect();
        Ok(entries.into_iter().collect())
    }

    fn remove(&self, key: &Key) -> Result<(), StoreError> {
        self.lock().remove(key.as_str());
        Ok(())
    }

    fn remove_folder(&self, folder: &Key) -> Result<(), StoreError> {
        if folder.as_str().is_empty() {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "it is the root of the store");
            return Err(StoreError::Io { action: "remove", place: self.location().to_owned(), source });
        }
        let prefix = format!("{folder}/");
        self.lock().retain(|key, _| !key.starts_with(&prefix));
        Ok(())
    }

    fn local_path(&self, _key: &Key) -> Option<PathBuf> {
        None
    }
}

#[derive(Debug)]
struct MemoryWriter {
    memory: Memory,
    key: Key,
    object: Vec<u8>,
}

impl ObjectWriter for MemoryWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.object.extend_from_slice(bytes);
        Ok(())
    }

    fn publish(self: Box<Self>) -> Result<Created, StoreError> {
        let Self { memory, key, object } = *self;
        Ok(memory.put(&key, object))
    }
}
