//! What happens to one chunk and one frame: BLAKE3, zstd at the level of `auto`, and its decoding.

use crate::content::{noise, text};
use divan::{Bencher, black_box, counter::BytesCount};
use kale_protocol::digest::Digest;

const CHUNK: usize = 192 << 10;
const FRAME: usize = 1 << 20;
const LEVEL: i32 = 1;

#[divan::bench]
fn blake3_of_a_chunk(bencher: Bencher<'_, '_>) {
    let chunk = noise(1, CHUNK);
    bencher.counter(BytesCount::new(CHUNK)).bench(|| Digest::of(black_box(&chunk)));
}

#[divan::bench]
fn zstd_1_of_text(bencher: Bencher<'_, '_>) {
    let frame = text(FRAME);
    let compress = || zstd::bulk::compress(black_box(&frame), LEVEL).expect("there is memory");
    bencher.counter(BytesCount::new(FRAME)).bench(compress);
}

#[divan::bench]
fn zstd_decode_of_text(bencher: Bencher<'_, '_>) {
    let stored = zstd::bulk::compress(&text(FRAME), LEVEL).expect("there is memory");
    let decode = || zstd::bulk::decompress(black_box(&stored), FRAME).expect("it was compressed above");
    bencher.counter(BytesCount::new(FRAME)).bench(decode);
}
