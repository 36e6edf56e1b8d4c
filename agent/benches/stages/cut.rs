//! Cutting, on one worker: a stream saved to memory, which is the least around the private rules.
//!
//! `cut_hash_put` does not sample; `with_probe` is the same as people save, so that noise shows what the probe costs.

use crate::content::{array, noise, poor, text};
use divan::{Bencher, counter::BytesCount};
use kale_agent::{
    marshal::{Compress, Known, SaveOptions, Source, save},
    report::Silent,
    store::Memory,
};
use std::{io::Cursor, num::NonZeroUsize};

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
    let content = made(kind);
    let options = SaveOptions { compress, threads: NonZeroUsize::MIN, ..SaveOptions::default() };
    let known = Known::with_entries(0);
    bencher.counter(BytesCount::new(content.len())).with_inputs(|| (Memory::new(), content.clone())).bench_values(
        |(memory, content)| {
            let source = Source::Reader(Box::new(Cursor::new(content)));
            save(source, &memory, &known, &options, &Silent).expect("memory takes everything");
            memory
        },
    );
}

#[divan::bench(args = KINDS, sample_count = 10)]
fn cut_hash_put(bencher: Bencher<'_, '_>, kind: &str) {
    measure(bencher, kind, Compress::Never);
}

#[divan::bench(args = KINDS, sample_count = 10)]
fn with_probe(bencher: Bencher<'_, '_>, kind: &str) {
    measure(bencher, kind, Compress::Auto);
}
