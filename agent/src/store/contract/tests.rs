use super::*;
use crate::store::{Faulty, Memory, Recording, Volume};
use std::cell::Cell;

/// Makes volumes in one folder that is removed at the end.
fn volumes() -> impl Fn() -> Arc<dyn Transport> {
    let (folder, made) = (tempfile::tempdir().unwrap(), Cell::new(0));
    move || {
        made.set(made.get() + 1);
        Arc::new(Volume::create(&folder.path().join(made.get().to_string())).unwrap())
    }
}

#[test]
fn memory() {
    contract(|| Arc::new(Memory::new()));
}

#[test]
fn volume() {
    contract(volumes());
}

#[test]
fn recording() {
    let make = volumes();
    contract(|| Arc::new(Recording::new(make())));
}

#[test]
fn faulty_without_a_fault() {
    contract(|| Arc::new(Faulty::counting(Arc::new(Memory::new()))));
}

/// A medium that overwrites: the suite has to find out.
#[derive(Debug)]
struct Forgetful(Memory);

impl Transport for Forgetful {
    fn location(&self) -> &str {
        self.0.location()
    }
    fn read(&self, key: &Key, limit: u64) -> Result<Vec<u8>, StoreError> {
        self.0.read(key, limit)
    }
    fn read_at(&self, key: &Key, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        self.0.read_at(key, offset, buffer)
    }
    fn stat(&self, key: &Key) -> Result<Option<crate::store::Stat>, StoreError> {
        self.0.stat(key)
    }
    fn create(&self, key: &Key, object: &[u8]) -> Result<Created, StoreError> {
        self.0.replace(key, object).map(|()| Created::New)
    }
    fn replace(&self, key: &Key, object: &[u8]) -> Result<(), StoreError> {
        self.0.replace(key, object)
    }
    fn writer(&self, key: &Key) -> Result<Box<dyn ObjectWriter>, StoreError> {
        self.0.writer(key)
    }
    fn list(&self, folder: &Key) -> Result<Vec<Entry>, StoreError> {
        self.0.list(folder)
    }
    fn remove(&self, key: &Key) -> Result<(), StoreError> {
        self.0.remove(key)
    }
    fn remove_folder(&self, folder: &Key) -> Result<(), StoreError> {
        self.0.remove_folder(folder)
    }
    fn local_path(&self, key: &Key) -> Option<std::path::PathBuf> {
        self.0.local_path(key)
    }
}

#[test]
#[should_panic(expected = "contract 'an object is created once': New instead of Exists")]
fn a_medium_that_overwrites_is_found_out() {
    contract(|| Arc::new(Forgetful(Memory::new())));
}
