//! What a restore costs: counted reads, since cost is behaviour; and reads that panic.

use super::{tests::run_with, *};
use crate::{
    marshal::fixture::{Fixture, file, folder, noise},
    store::{Created, Entry, Memory, ObjectWriter, Stat, StoreError},
};
use kale_protocol::{
    chunk::Extent,
    layout::Key,
    manifest::{Node, Shape},
};
use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Counts reads of packs.
#[derive(Debug)]
struct Counting {
    memory: Memory,
    reads: AtomicUsize,
    longest: AtomicUsize,
    /// The read that panics.
    panics: usize,
}

impl Counting {
    fn new(memory: &Memory, panics: usize) -> Self {
        Self { memory: memory.clone(), reads: AtomicUsize::new(0), longest: AtomicUsize::new(0), panics }
    }
}

impl Transport for Counting {
    fn location(&self) -> &str {
        self.memory.location()
    }

    fn read(&self, key: &Key, limit: u64) -> Result<Vec<u8>, StoreError> {
        self.memory.read(key, limit)
    }

    fn read_at(&self, key: &Key, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        assert_ne!(self.reads.fetch_add(1, Relaxed), self.panics, "on purpose");
        self.longest.fetch_max(buffer.len(), Relaxed);
        self.memory.read_at(key, offset, buffer)
    }

    fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        self.memory.stat(key)
    }

    fn create(&self, key: &Key, object: &[u8]) -> Result<Created, StoreError> {
        self.memory.create(key, object)
    }

    fn replace(&self, key: &Key, object: &[u8]) -> Result<(), StoreError> {
        self.memory.replace(key, object)
    }

    fn writer(&self, key: &Key) -> Result<Box<dyn ObjectWriter>, StoreError> {
        self.memory.writer(key)
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

    fn local_path(&self, key: &Key) -> Option<PathBuf> {
        self.memory.local_path(key)
    }
}

/// Reads that a restore of these nodes takes, and the longest.
fn cost(fixture: &mut Fixture, shape: Shape, nodes: &[Node], threads: usize) -> (usize, usize) {
    let id = fixture.manifest(shape, nodes, 0);
    let counting = Counting::new(&fixture.memory, usize::MAX);
    let place = tempfile::tempdir().unwrap();
    run_with(&counting, &id, &place.path().join("t"), threads).unwrap();
    (counting.reads.into_inner(), counting.longest.into_inner())
}

#[test]
fn a_long_file_takes_a_read_for_each_mebibyte() {
    let mut fixture = Fixture::new();
    let extents = vec![fixture.raw(&noise(1, 8 << 20), 64 << 10)];
    assert_eq!(cost(&mut fixture, Shape::File, &[file("", 0o644, false, extents)], 2), (8, 1 << 20));
}

fn many(contents: Vec<Extent>) -> Vec<Node> {
    let files =
        contents.into_iter().enumerate().map(|(i, extent)| file(&format!("{i:03}"), 0o644, false, vec![extent]));
    std::iter::once(folder("")).chain(files).collect()
}

#[test]
fn a_frame_of_many_files_is_read_once_a_thread_at_most() {
    for threads in [1, 2] {
        let mut fixture = Fixture::new();
        let contents: Vec<_> = (0..300).map(|seed| noise(seed, 500)).collect();
        let extents = fixture.framed(&contents.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let (reads, _) = cost(&mut fixture, Shape::Tree, &many(extents), threads);
        assert!(reads >= 1 && reads <= threads, "{reads} reads by {threads} threads");
    }
}

#[test]
fn frames_one_after_the_other_are_decoded_once_each() {
    for threads in [1, 2] {
        let mut fixture = Fixture::new();
        let mut extents = Vec::new();
        for frame in 0..10 {
            let contents: Vec<_> = (0..50).map(|file| noise(frame * 50 + file, 20_000)).collect();
            extents.extend(fixture.framed(&contents.iter().map(Vec::as_slice).collect::<Vec<_>>()));
        }
        assert_eq!(cost(&mut fixture, Shape::Tree, &many(extents), threads).0, 10, "{threads} threads");
    }
}

#[test]
fn neighbours_that_are_stored_as_they_are_share_reads() {
    let mut fixture = Fixture::new();
    let extents = (0..256).map(|seed| fixture.raw(&noise(seed, 10_000), 1 << 20)).collect();
    // 256 files are two batches.
    assert_eq!(cost(&mut fixture, Shape::Tree, &many(extents), 2), (2, 1_280_000));
}

#[test]
fn a_panic_hangs_nobody_and_leaves_nothing() {
    let mut fixture = Fixture::new();
    let long = file("long", 0o644, false, vec![fixture.raw(&noise(1, 20 << 20), 1 << 20)]);
    let short = file("short", 0o644, false, vec![fixture.raw(&noise(2, 1000), 1 << 20)]);
    let id = fixture.manifest(Shape::Tree, &[folder(""), long, short], 0);
    for threads in [1, 3] {
        for panics in [0, 7, 20] {
            let counting = Counting::new(&fixture.memory, panics);
            let place = tempfile::tempdir().unwrap();
            let restored = std::panic::catch_unwind(|| run_with(&counting, &id, &place.path().join("t"), threads));
            assert!(restored.is_err(), "read {panics} by {threads} threads");
            assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
        }
    }
}
