//! A double that fails or dies at a chosen operation: what a crash test runs everything else over.
//!
//! Operations are the calls that change the medium, numbered from 0 in the order in which they begin: create, replace,
//! remove, remove_folder, the start of a writer, each of its writes and its publication. Reads are none.

use super::{Adoption, Created, Entry, ObjectWriter, Stat, StoreError, Transport, Watch};
use kale_protocol::layout::Key;
use nix::errno::Errno;
use std::{
    fs::File,
    io, mem,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What happens at the chosen operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not happen and says so; all later ones go well.
    Fail(Errno),
    /// It happens and says that it did not; all later ones go well.
    LoseReply(Errno),
    /// The process dies before it: it does not happen, and nothing happens after it.
    DieBefore,
    /// The process dies after it: it happens, nobody is told, and nothing happens after it.
    DieAfter,
}

/// Any medium, with one fault; clones share it.
#[derive(Clone, Debug)]
pub struct Faulty {
    inner: Arc<dyn Transport>,
    plan: Plan,
}

#[derive(Clone, Debug)]
struct Plan(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    fault: Option<(u64, Fault)>,
    operations: u64,
    dead: bool,
}

impl Faulty {
    /// A medium without a fault, to count operations.
    pub fn counting(inner: Arc<dyn Transport>) -> Self {
        Self { inner, plan: Plan(Arc::default()) }
    }

    /// A medium with a fault at the operation of that number.
    pub fn new(inner: Arc<dyn Transport>, at: u64, fault: Fault) -> Self {
        let faulty = Self::counting(inner);
        faulty.plan.lock().fault = Some((at, fault));
        faulty
    }

    /// How many operations have begun; none begins after death.
    pub fn operations(&self) -> u64 {
        self.plan.lock().operations
    }

    /// Whether it has died.
    pub fn is_dead(&self) -> bool {
        self.plan.lock().dead
    }

    fn change<T>(
        &self,
        verb: &'static str,
        key: &Key,
        operation: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.plan.change(verb, &self.place(key), operation)
    }

    fn look<T>(
        &self,
        verb: &'static str,
        key: &Key,
        operation: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.is_dead() { Err(dead(verb, &self.place(key))) } else { operation() }
    }

    fn place(&self, key: &Key) -> String {
        format!("{key} in {}", self.inner.location())
    }
}

impl Plan {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(
        &self,
        verb: &'static str,
        place: &str,
        operation: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let fault = {
            let mut state = self.lock();
            if state.dead {
                return Err(dead(verb, place));
            }
            let number = state.operations;
            state.operations += 1;
            let fault = state.fault.filter(|(at, _)| *at == number).map(|(_, fault)| fault);
            state.dead = matches!(fault, Some(Fault::DieBefore | Fault::DieAfter));
            fault
        };
        match fault {
            None => operation(),
            Some(Fault::Fail(errno)) => Err(failed(verb, place, errno.into())),
            Some(Fault::LoseReply(errno)) => {
                operation()?;
                Err(failed(verb, place, errno.into()))
            }
            Some(Fault::DieBefore) => Err(dead(verb, place)),
            Some(Fault::DieAfter) => {
                // Not dropped: what a dead process holds open is not tidied up by it.
                mem::forget(operation()?);
                Err(dead(verb, place))
            }
        }
    }
}

fn failed(action: &'static str, place: &str, source: io::Error) -> StoreError {
    StoreError::Io { action, place: place.to_owned(), source }
}

fn dead(action: &'static str, place: &str) -> StoreError {
    failed(action, place, io::Error::other("the process is dead"))
}

impl Transport for Faulty {
    fn location(&self) -> &str {
        self.inner.location()
    }

    fn read(&self, key: &Key, limit: u64) -> Result<Vec<u8>, StoreError> {
        self.look("read", key, || self.inner.read(key, limit))
    }

    fn read_at(&self, key: &Key, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        self.look("read", key, || self.inner.read_at(key, offset, buffer))
    }

    fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        self.look("look at", key, || self.inner.stat(key))
    }

    fn create(&self, key: &Key, object: &[u8]) -> Result<Created, StoreError> {
        self.change("create", key, || self.inner.create(key, object))
    }

    fn replace(&self, key: &Key, object: &[u8]) -> Result<(), StoreError> {
        self.change("replace", key, || self.inner.replace(key, object))
    }

    fn writer(&self, key: &Key) -> Result<Box<dyn ObjectWriter>, StoreError> {
        let inner = self.change("create", key, || self.inner.writer(key))?;
        Ok(Box::new(FaultyWriter { inner: Some(inner), place: self.place(key), plan: self.plan.clone() }))
    }

    fn adopt(&self, file: &File, path: &Path) -> Result<Option<Box<dyn Adoption>>, StoreError> {
        let inner = self.inner.adopt(file, path)?;
        Ok(inner.map(|inner| Box::new(FaultyAdoption { inner, faulty: self.clone() }) as Box<dyn Adoption>))
    }

    fn list(&self, folder: &Key) -> Result<Vec<Entry>, StoreError> {
        self.look("list", folder, || self.inner.list(folder))
    }

    fn remove(&self, key: &Key) -> Result<(), StoreError> {
        self.change("remove", key, || self.inner.remove(key))
    }

    fn remove_folder(&self, folder: &Key) -> Result<(), StoreError> {
        self.change("remove", folder, || self.inner.remove_folder(folder))
    }

    fn watch(&self) -> Option<Box<dyn Watch>> {
        self.inner.watch()
    }

    fn prepare(&self, folder: &Key) -> Result<(), StoreError> {
        self.change("create", folder, || self.inner.prepare(folder))
    }

    fn rate(&self) -> Option<u64> {
        self.inner.rate()
    }

    fn try_out(&self) -> Option<u64> {
        self.inner.try_out()
    }

    fn local_path(&self, key: &Key) -> Option<PathBuf> {
        self.inner.local_path(key)
    }
}

struct FaultyAdoption {
    inner: Box<dyn Adoption>,
    faulty: Faulty,
}

impl Adoption for FaultyAdoption {
    fn take(&self, key: &Key) -> Result<Option<Box<dyn ObjectWriter>>, StoreError> {
        let Self { inner, faulty } = self;
        let Some(inner) = faulty.change("create", key, || inner.take(key))? else { return Ok(None) };
        let (place, plan) = (faulty.place(key), faulty.plan.clone());
        Ok(Some(Box::new(FaultyWriter { inner: Some(inner), place, plan })))
    }
}

struct FaultyWriter {
    /// There until it is published.
    inner: Option<Box<dyn ObjectWriter>>,
    place: String,
    plan: Plan,
}

impl ObjectWriter for FaultyWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let inner = self.inner.as_mut().expect("publishing takes the writer itself");
        self.plan.change("write", &self.place, || inner.write(bytes))
    }

    fn publish(mut self: Box<Self>) -> Result<Created, StoreError> {
        let plan = self.plan.clone();
        let inner = &mut self.inner;
        plan.change("publish", &self.place, || inner.take().expect("publishing takes the writer itself").publish())
    }
}

impl Drop for FaultyWriter {
    fn drop(&mut self) {
        // A process that was killed removes nothing of what it was writing.
        if self.plan.lock().dead {
            mem::forget(self.inner.take());
        }
    }
}
