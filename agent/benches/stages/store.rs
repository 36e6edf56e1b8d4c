//! Objects in memory, and whole saves and restores: one file of noise of 64 MiB, and 2,000 small files.

use crate::content::{noise, text};
use divan::{Bencher, counter::BytesCount, counter::ItemsCount};
use kale_agent::{
    marshal::{Known, RestoreOptions, SaveOptions, Source, restore, save},
    report::Silent,
    store::{Memory, Transport},
};
use kale_protocol::{digest::Digest, id::PackId, layout, path::ArtifactPath};
use std::{fs, path::Path};
use tempfile::TempDir;

const LARGE: usize = 64 << 20;
const FILES: usize = 2_000;
const SMALL: usize = 4 << 10;
const BUFFER: usize = 1 << 20;
const KINDS: [&str; 2] = ["64 MiB of noise", "2,000 files"];

fn made(kind: &str) -> (TempDir, usize, usize) {
    let folder = TempDir::new().expect("there is a temporary folder");
    let write = |name: String, content: &[u8]| fs::write(folder.path().join(name), content).expect("there is room");
    if kind == KINDS[0] {
        write("noise".to_owned(), &noise(1, LARGE));
        return (folder, 1, LARGE);
    }
    let content = text(SMALL + FILES);
    (0..FILES).for_each(|i| write(format!("{i:04}.csv"), &content[i..i + SMALL]));
    (folder, FILES, FILES * SMALL)
}

fn saved(from: &Path, memory: &Memory) -> Digest {
    let source = Source::Path(from.to_owned());
    let saved = save(source, memory, &Known::default(), &SaveOptions::default(), &Silent);
    saved.expect("memory takes everything").manifest
}

#[divan::bench(args = KINDS, sample_count = 10)]
fn save_to_memory(bencher: Bencher<'_, '_>, kind: &str) {
    let (folder, files, bytes) = made(kind);
    let bencher = bencher.counter(BytesCount::new(bytes)).counter(ItemsCount::new(files));
    bencher.with_inputs(Memory::new).bench_refs(|memory| saved(folder.path(), memory));
}

#[divan::bench(args = KINDS, sample_count = 10)]
fn restore_from_memory(bencher: Bencher<'_, '_>, kind: &str) {
    let (folder, files, bytes) = made(kind);
    let memory = Memory::new();
    let manifest = saved(folder.path(), &memory);
    let bencher = bencher.counter(BytesCount::new(bytes)).counter(ItemsCount::new(files));
    bencher.with_inputs(|| TempDir::new().expect("there is a temporary folder")).bench_refs(|target| {
        let (root, options) = (ArtifactPath::root(), RestoreOptions::default());
        restore(&memory, &manifest, &root, &target.path().join("restored"), &options, &Silent).expect("it was saved")
    });
}

#[divan::bench(sample_count = 10)]
fn pack_write(bencher: Bencher<'_, '_>) {
    let content = noise(1, BUFFER);
    let key = layout::pack(&PackId([1; 16]));
    bencher.counter(BytesCount::new(LARGE)).with_inputs(Memory::new).bench_refs(|memory| {
        let mut writer = memory.writer(&key).expect("memory takes everything");
        (0..LARGE / BUFFER).for_each(|_| writer.write(&content).expect("memory takes everything"));
        writer.publish().expect("memory takes everything")
    });
}

#[divan::bench(sample_count = 10)]
fn pack_read(bencher: Bencher<'_, '_>) {
    let (memory, key) = (Memory::new(), layout::pack(&PackId([1; 16])));
    memory.create(&key, &noise(1, LARGE)).expect("memory takes everything");
    let mut buffer = vec![0; BUFFER];
    bencher.counter(BytesCount::new(LARGE)).bench_local(|| {
        let offsets = (0..LARGE).step_by(BUFFER);
        offsets.for_each(|offset| memory.read_at(&key, offset as u64, &mut buffer).expect("it is there"));
    });
}
