//! Saves that end in an error: each names what is wrong, and leaves nothing.

use super::{Artifact, noise, options, safetensors, save, text};
use crate::{
    marshal::{Known, MarshalError, Source},
    report::{Monitor, Phase, Silent},
    store::{Created, Entry, Memory, ObjectWriter, Stat, StoreError, Transport},
};
use kale_protocol::layout::Key;
use std::{
    fs,
    io::{Read, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

#[test]
fn what_cannot_be_kept_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::new();
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let error = save(Source::Path(folder.path().to_owned()), &memory, &Known::default(), &options(2), &Silent);
    let error = error.unwrap_err();
    assert!(matches!(&error, MarshalError::Refused { path, what: "socket" } if *path == socket), "{error}");
    let device = save(Source::Path("/dev/null".into()), &memory, &Known::default(), &options(2), &Silent).unwrap_err();
    assert!(matches!(device, MarshalError::Refused { what: "character device", .. }), "{device}");
    let missing = save(Source::Path(folder.path().join("no")), &memory, &Known::default(), &options(2), &Silent);
    assert!(matches!(missing.unwrap_err(), MarshalError::Io { .. }));
    assert_eq!(memory.keys(), Vec::<String>::new());
}

/// Changes a file while it is saved: at the first byte that is reported as done.
#[derive(Debug)]
struct Meddler {
    path: std::path::PathBuf,
    done: AtomicU64,
    cut: bool,
}

impl Monitor for Meddler {
    fn begin(&self, _phase: Phase, _what: &str, _total_bytes: Option<u64>) {}
    fn advance(&self, bytes: u64) {
        if self.done.fetch_add(bytes, Ordering::Relaxed) == 0 {
            let mut file = fs::OpenOptions::new().append(true).open(&self.path).unwrap();
            if self.cut { file.set_len(0).unwrap() } else { file.write_all(b"more").unwrap() }
        }
    }
    fn end(&self) {}
    fn warn(&self, _message: &str) {}
}

#[test]
fn a_file_that_changes_is_an_error_and_nothing_is_left() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), noise("changes", 200 << 20)).unwrap();
    let memory = Memory::new();
    let meddler = Meddler { path: file.path().to_owned(), done: AtomicU64::new(0), cut: false };
    let path = Source::Path(file.path().to_owned());
    let error = save(path, &memory, &Known::default(), &options(2), &meddler).unwrap_err();
    assert!(matches!(&error, MarshalError::Changed { path, .. } if path == file.path()), "{error}");
    assert_eq!(memory.keys(), Vec::<String>::new());
}

#[test]
fn a_known_file_that_is_cut_short_while_it_is_looked_at_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    // A tensor needs no cutting: what is known of it is hashed where it lies, several parts ahead of what is done.
    fs::write(file.path(), safetensors(&[("weights".to_owned(), noise("weights", 96 << 20))])).unwrap();
    let (memory, mut known) = (Memory::new(), Known::default());
    let path = || Source::Path(file.path().to_owned());
    let first = save(path(), &memory, &known, &options(2), &Silent).unwrap();
    Artifact::read(&memory, &first).add_to(&mut known, &first);
    let meddler = Meddler { path: file.path().to_owned(), done: AtomicU64::new(0), cut: true };
    let error = save(path(), &memory, &known, &options(2), &meddler).unwrap_err();
    assert!(matches!(&error, MarshalError::Changed { path, .. } if path == file.path()), "{error}");
}

/// A medium that fails at its n-th call, counted over all verbs that write.
#[derive(Debug)]
struct Failing {
    memory: Memory,
    left: std::sync::Arc<AtomicU64>,
}

fn fail(left: &AtomicU64) -> Result<(), StoreError> {
    let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    let source = std::io::ErrorKind::StorageFull.into();
    before.map(|_| ()).map_err(|_| StoreError::Io { action: "write", place: "failing:".to_owned(), source })
}

impl Transport for Failing {
    fn location(&self) -> &str {
        "failing:"
    }
    fn read(&self, key: &Key, limit: u64) -> Result<Vec<u8>, StoreError> {
        self.memory.read(key, limit)
    }
    fn read_at(&self, key: &Key, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        self.memory.read_at(key, offset, buffer)
    }
    fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        self.memory.stat(key)
    }
    fn create(&self, key: &Key, object: &[u8]) -> Result<Created, StoreError> {
        fail(&self.left)?;
        self.memory.create(key, object)
    }
    fn replace(&self, key: &Key, object: &[u8]) -> Result<(), StoreError> {
        self.memory.replace(key, object)
    }
    fn writer(&self, key: &Key) -> Result<Box<dyn ObjectWriter>, StoreError> {
        fail(&self.left)?;
        Ok(Box::new(FailingWriter { object: self.memory.writer(key)?, left: self.left.clone() }))
    }
    fn list(&self, folder: &Key) -> Result<Vec<Entry>, StoreError> {
        self.memory.list(folder)
    }
    fn remove(&self, key: &Key) -> Result<(), StoreError> {
        self.memory.remove(key)
    }
    fn remove_folder(&self, folder: &Key) -> Result<(), StoreError> {
        self.memory.remove_folder(folder)
    }
    fn local_path(&self, _key: &Key) -> Option<std::path::PathBuf> {
        None
    }
}

struct FailingWriter {
    object: Box<dyn ObjectWriter>,
    left: std::sync::Arc<AtomicU64>,
}

impl ObjectWriter for FailingWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        fail(&self.left)?;
        self.object.write(bytes)
    }
    fn publish(self: Box<Self>) -> Result<Created, StoreError> {
        fail(&self.left)?;
        self.object.publish()
    }
}

#[test]
fn a_failure_at_any_write_ends_in_an_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("large"), noise("large", 12 << 20)).unwrap();
    fs::write(folder.path().join("text"), text(200_000)).unwrap();
    fs::write(folder.path().join("small"), noise("small", 20_000)).unwrap();
    let mut failures = 0;
    loop {
        let memory = Memory::new();
        let left = std::sync::Arc::new(AtomicU64::new(failures));
        let failing = Failing { memory: memory.clone(), left };
        let path = Source::Path(folder.path().to_owned());
        match save(path, &failing, &Known::default(), &options(2), &Silent) {
            Err(error) => {
                assert!(matches!(error, MarshalError::Store(StoreError::Io { .. })), "{error}");
                assert_eq!(memory.keys(), Vec::<String>::new(), "after {failures} writes");
            }
            Ok(saved) => break assert_eq!(Artifact::read(&memory, &saved).content("small"), noise("small", 20_000)),
        }
        failures += 1;
    }
    assert!(failures > 20, "{failures}");
}

#[derive(Debug)]
struct Panicking;

impl Monitor for Panicking {
    fn begin(&self, _phase: Phase, _what: &str, _total_bytes: Option<u64>) {}
    fn advance(&self, _bytes: u64) {
        // Long enough for the reader to fill every buffer, and to wait for one.
        thread::sleep(Duration::from_millis(100));
        panic!("the monitor fails");
    }
    fn end(&self) {}
    fn warn(&self, _message: &str) {}
}

impl Read for Panicking {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if buffer.len() < 100_000 {
            return Ok(buffer.len());
        }
        panic!("the reader fails");
    }
}

#[test]
fn a_panic_on_either_side_is_passed_on_and_nothing_waits() {
    let memory = Memory::new();
    let saves: [&dyn Fn(); 2] = [
        &|| {
            let reader = Source::Reader(Box::new(std::io::repeat(7).take(200 << 20)));
            drop(save(reader, &memory, &Known::default(), &options(2), &Panicking));
        },
        &|| drop(save(Source::Reader(Box::new(Panicking)), &memory, &Known::default(), &options(2), &Silent)),
    ];
    for save in saves {
        assert!(catch_unwind(AssertUnwindSafe(save)).is_err());
    }
    assert_eq!(memory.keys(), Vec::<String>::new());
}
