//! Every fuzz driver for a short, seeded time: golden bytes, mutated, with the memory that decoding takes.
#![expect(clippy::unwrap_used, reason = "a test ends where a value is not as it should be")]

#[path = "../../fuzz/decoders.rs"]
mod decoders;

use kale_protocol::{envelope, object::Object};
use proptest::test_runner::{RngAlgorithm, TestRng};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    fs,
    path::Path,
};

/// Counts what the test's own thread holds, and the most that it held.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn add(bytes: isize) {
    let held = HELD.get() + bytes;
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

// SAFETY: every call goes to the system's allocator as it is; the cells are const, have no destructor and
// never allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        add(-(layout.size() as isize));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MUTATIONS: u32 = 250;

fn seeds() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut seeds: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(seeds.len() > 10);
    // Bodies too, which the drivers put behind a new envelope: mutations then get past the digest.
    for kind in envelope::Kind::ALL {
        let bodies: Vec<_> = seeds.iter().filter_map(|seed| envelope::open(seed, kind).ok()).collect();
        seeds.extend(bodies);
    }
    let texts = [
        "titanic/monday/prep[2]:train/a/b.csv",
        "%C3%BCbung%201",
        "a/b/c",
        r#"{"v":1,"op":"save","name":"m","value":true,"from":{"parts":["a"]}}"#,
        r#"{"v":1,"op":"load","reference":"a:b","path":"/x"}"#,
        r#"{"loaded":{"path":"/in","shape":"tree","format":null}}"#,
    ];
    seeds.extend(texts.map(|text| text.as_bytes().to_vec()));
    seeds
}

fn mutate(bytes: &mut Vec<u8>, other: &[u8], rng: &mut TestRng) {
    use proptest::prelude::Rng;
    let mut below = |limit: usize| rng.next_u32() as usize % limit.max(1);
    for _ in 0..=below(4) {
        let (at, kind, value) = (below(bytes.len()), below(6), below(256) as u8);
        match kind {
            _ if bytes.is_empty() => bytes.push(value),
            0 => bytes[at] ^= 1 << (value % 8),
            1 => bytes[at] = value,
            2 => bytes.truncate(at),
            3 => bytes.insert(at, value),
            // The largest claims that a variable-length integer can make.
            4 => bytes.splice(at..=at, [253, 255, 255, 255, value, 0, 0, 0, 0]).for_each(drop),
            _ => bytes.extend_from_slice(&other[below(other.len())..]),
        }
    }
}

#[test]
fn mutated_bytes_neither_panic_nor_take_memory() {
    let seeds = seeds();
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    for (target, _) in decoders::ALL {
        for (number, seed) in seeds.iter().enumerate() {
            decoders::run(target, seed);
            for _ in 0..MUTATIONS {
                let mut input = seed.clone();
                mutate(&mut input, &seeds[(number + 1) % seeds.len()], &mut rng);
                let before = HELD.get();
                PEAK.set(before);
                decoders::run(target, &input);
                let taken = PEAK.get() - before;
                assert!(taken <= 4 * input.len() as isize + (8 << 20), "{target}: {taken} bytes for {}", input.len());
            }
        }
    }
}

#[test]
fn a_claim_of_a_text_takes_no_memory() {
    // A marker: 16 bytes of id, a time, then a text that claims 200 MiB.
    let mut body = vec![1; 17];
    body.push(252);
    body.extend_from_slice(&(200u32 << 20).to_le_bytes());
    let object = envelope::seal(envelope::Kind::Marker, &body, envelope::Packing::Plain);
    let before = HELD.get();
    PEAK.set(before);
    assert!(kale_protocol::marker::Marker::from_object(&object).is_err());
    assert!(PEAK.get() - before < 1 << 20);
}
