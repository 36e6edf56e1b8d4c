//! Manifest pages of 20,000 nodes, and the table of what is known.

use divan::{Bencher, black_box, counter::ItemsCount};
use kale_agent::marshal::Known;
use kale_protocol::{
    chunk::{Chunk, Extent},
    digest::Digest,
    extension::Extensions,
    id::PackId,
    manifest::{Manifest, Node, Shape, Totals, What, decode_page, encode_page},
    path::ArtifactPath,
};

const NODES: u64 = 20_000;
/// As many as fit in a page.
const PAGE: usize = 5_000;
const ENTRIES: u64 = 500_000;
const LOOK_UPS: u64 = 10_000;

fn digest(number: u64) -> Digest {
    Digest::of(&number.to_le_bytes())
}

/// A file whose chunks, of 1000 bytes each, have the digests of these numbers.
fn file(name: u64, numbers: std::ops::Range<u64>) -> Node {
    let bytes = 1000 * (numbers.end - numbers.start);
    let offset = 1000 * numbers.start;
    let chunks = numbers.map(|number| Chunk { bytes: 1000, digest: digest(number) }).collect();
    let extents = vec![Extent::Raw { pack: 0, offset, chunks }];
    let path = format!("folder/{name:06}.csv").into_bytes();
    Node {
        path: ArtifactPath::new(path).expect("a plain path"),
        mode: 0o644,
        modified_ns: 1_700_000_000_000_000_000,
        what: What::File { bytes, digest: digest(name), sparse: false, extents },
    }
}

fn pages() -> Vec<Vec<Node>> {
    let nodes: Vec<Node> = (0..NODES).map(|name| file(name, name..name + 1)).collect();
    nodes.chunks(PAGE).map(<[Node]>::to_vec).collect()
}

#[divan::bench]
fn encode_20000_nodes(bencher: Bencher<'_, '_>) {
    let pages = pages();
    bencher
        .counter(ItemsCount::new(NODES))
        .bench(|| pages.iter().map(|page| encode_page(black_box(page)).len()).sum::<usize>());
}

#[divan::bench]
fn decode_20000_nodes(bencher: Bencher<'_, '_>) {
    let pages: Vec<Vec<u8>> = pages().iter().map(encode_page).collect();
    let decode = |page: &Vec<u8>| decode_page(black_box(page), 1).expect("it was encoded above").len();
    bencher.counter(ItemsCount::new(NODES)).bench(|| pages.iter().map(decode).sum::<usize>());
}

/// Every second chunk that is looked for is there.
#[divan::bench]
fn look_up_among_500000_known(bencher: Bencher<'_, '_>) {
    let manifest = Manifest {
        digest: digest(0),
        shape: Shape::File,
        format: None,
        totals: Totals::default(),
        packs: vec![PackId([1; 16])],
        pages: Vec::new(),
        nodes: vec![file(0, 0..ENTRIES)],
        extensions: Extensions::default(),
    };
    let mut known = Known::with_entries(ENTRIES as usize);
    known.add_manifest(digest(1), &manifest, []);
    let wanted: Vec<Digest> = (0..LOOK_UPS).map(|i| digest(i * 7919 % ENTRIES + i % 2 * ENTRIES)).collect();
    let found = || wanted.iter().filter(|chunk| known.place(black_box(chunk)).is_some()).count();
    assert_eq!(found() as u64, LOOK_UPS / 2);
    bencher.counter(ItemsCount::new(LOOK_UPS)).bench(found);
}
