//! Cutting, on one worker: a file saved to memory, which is the least around the private rules.
//!
//! `cut_hash_put` keeps everything as it is; `compressed` is what people get who say nothing: samples decide.

use crate::content::{array, noise, poor, text};
use divan::{Bencher, counter::BytesCount};
use kale_agent::{
    marshal::{Compress, Known, SaveOptions, Source, save},
    report::Silent,
    store::Memory,
};
use std::{fs, num::NonZeroUsize};
use tempfile::TempDir;

const BYTES: usize = 16 << 20;
const KINDS: [&str; 4] = ["text", "noise", "poor", "npy"];

fn made(kind: &str) -> Vec<u8> {
    match kind {
        "text" => text(BYTES),
        "poor" => poor(BYTES),
        "npy" => array(BYTES),
        _ => noise(1, BYTES),
    }
}

fn measure(bencher: Bencher<'_, '_>, kind: &str, compress: Compress) {
    let folder = TempDir::new().expect("there is a temporary folder");
    let path = folder.path().join(kind);
    fs::write(&path, made(kind)).expect("there is room");
    let options = SaveOptions { compress, threads: NonZeroUsize::MIN, ..SaveOptions::default() };
    let known = Known::with_entries(0);
    bencher.counter(BytesCount::new(BYTES)).with_inputs(Memory::new).bench_values(|memory| {
        let source = Source::Path(path.clone());
        save(source, &memory, &known, &options, &Silent).expect("memory takes everything");
        memory
    });
}

#[divan::bench(args = KINDS, sample_count = 30)]
fn cut_hash_put(bencher: Bencher<'_, '_>, kind: &str) {
    measure(bencher, kind, Compress::Never);
}

#[divan::bench(args = KINDS, sample_count = 30)]
fn compressed(bencher: Bencher<'_, '_>, kind: &str) {
    measure(bencher, kind, Compress::Auto);
}
