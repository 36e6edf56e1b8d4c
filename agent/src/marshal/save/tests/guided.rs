//! Files that earlier artifacts had: found to be the same without being cut, and never cut otherwise than without.

use super::{Artifact, Saved, noise, options, save, save_bytes, text};
use crate::{
    marshal::{Known, Source},
    report::{Monitor, Phase},
    store::Memory,
};
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use kale_protocol::{
    chunk::{Chunk, Extent},
    digest::Digest,
    manifest::{Manifest, Node, What},
    path::ArtifactPath,
};
use parquet::arrow::ArrowWriter;
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Numbers that look random, always the same ones.
struct Dice(blake3::OutputReader);

impl Dice {
    fn of(seed: u64) -> Self {
        Self(blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof())
    }

    fn below(&mut self, end: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        (u64::from_le_bytes(bytes) % end as u64) as usize
    }
}

/// A table whose column chunks are cut by content.
fn parquet() -> Vec<u8> {
    let column = |seed: &str| -> ArrayRef {
        let noise = noise(seed, 6 << 20);
        Arc::new(Int64Array::from_iter_values(noise.as_chunks().0.iter().copied().map(i64::from_le_bytes)))
    };
    let batch = RecordBatch::try_from_iter([("a", column("a")), ("b", column("b"))]).unwrap();
    let mut content = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut content, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    content
}

fn known(memory: &Memory, saved: &Saved) -> Known {
    let mut known = Known::default();
    known.recall(memory, &saved.manifest).unwrap();
    known
}

fn chunks(artifact: &Artifact<'_>) -> Vec<Chunk> {
    let of = |extent: &&Extent| match extent {
        Extent::Raw { chunks, .. } | Extent::Framed { chunks, .. } => chunks.clone(),
        Extent::Zeros { count, chunk_bytes } => {
            let digest = Digest::of(&vec![0; *chunk_bytes as usize]);
            vec![Chunk { bytes: *chunk_bytes, digest }; *count as usize]
        }
        Extent::Inline { content } => vec![super::chunk(content)],
    };
    artifact.extents("").iter().flat_map(of).collect()
}

/// Saves with and without a guide, and finds the same.
fn agree(memory: &Memory, content: &[u8], known: &Known, what: &str) {
    let guided = save_bytes(memory, content, known);
    let apart = Memory::new();
    let unguided = save_bytes(&apart, content, &Known::default());
    assert_eq!((guided.digest, &guided.format), (unguided.digest, &unguided.format), "{what}");
    let (guided, unguided) = (Artifact::read(memory, &guided), Artifact::read(&apart, &unguided));
    assert_eq!(chunks(&guided), chunks(&unguided), "{what}");
    assert_eq!(guided.content(""), content, "{what}");
}

fn samples() -> [(&'static str, Vec<u8>); 4] {
    let gaps = [noise("front", 2 << 20), vec![0; 3_000_000], text(100_000), vec![0; 2 << 20]].concat();
    [("noise", noise("free", 6 << 20)), ("text", text(300_000)), ("zeros", gaps), ("parquet", parquet())]
}

/// One edit or a few, of every kind.
fn edited(content: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut content = content.to_vec();
    for _ in 0..=dice.below(2) {
        let at = dice.below(content.len());
        let bytes = dice.below(3_000);
        let end = content.len().min(at + bytes);
        let other = |dice: &mut Dice| noise(&dice.below(1 << 30).to_string(), bytes);
        match dice.below(7) {
            0 => content[at] ^= 1,
            1 => content.splice(at..at, other(dice)).for_each(drop),
            2 => content.drain(at..end).for_each(drop),
            3 => content.truncate(at.max(100_000)),
            4 => content.extend(noise(&dice.below(1 << 30).to_string(), bytes * 500)),
            5 => content.rotate_left(at),
            _ => content[at..end].fill(0),
        }
    }
    content
}

#[test]
fn edited_files_are_cut_as_if_nothing_were_known() {
    for (kind, content) in samples() {
        let memory = Memory::new();
        let first = save_bytes(&memory, &content, &Known::default());
        let known = known(&memory, &first);
        agree(&memory, &content, &known, kind);
        for seed in 0..24 {
            let edited = edited(&content, &mut Dice::of(seed));
            agree(&memory, &edited, &known, &format!("{kind}, edit {seed}"));
        }
    }
}

#[test]
fn a_guide_that_is_wrong_changes_nothing() {
    for (kind, content) in samples() {
        let memory = Memory::new();
        let first = save_bytes(&memory, &content, &Known::default());
        let artifact = Artifact::read(&memory, &first);
        for seed in 0..24 {
            let mut dice = Dice::of(seed);
            // All true places are known, under another path, so that nothing but the forged list is in the way.
            let manifest = Manifest { nodes: Vec::new(), ..artifact.manifest.clone() };
            let mut elsewhere = artifact.nodes.clone();
            elsewhere.iter_mut().for_each(|node| node.path = ArtifactPath::new(b"elsewhere".to_vec()).unwrap());
            let mut forged = artifact.nodes.clone();
            forge(&mut forged, &mut dice);
            let mut known = Known::default();
            known.add_manifest(first.manifest, &manifest, [elsewhere]);
            known.add_manifest(first.manifest, &manifest, [forged]);
            agree(&memory, &content, &known, &format!("{kind}, forged {seed}"));
            let edited = edited(&content, &mut dice);
            agree(&memory, &edited, &known, &format!("{kind}, forged and edited {seed}"));
        }
    }
}

/// Makes lists of chunks say what is not so.
fn forge(nodes: &mut [Node], dice: &mut Dice) {
    for node in nodes {
        let (What::File { extents, .. } | What::More { extents }) = &mut node.what else { continue };
        for extent in extents {
            let (Extent::Raw { chunks, .. } | Extent::Framed { chunks, .. }) = extent else { continue };
            let (at, other) = (dice.below(chunks.len()), dice.below(chunks.len()));
            match dice.below(6) {
                0 => chunks.swap(at, other),
                1 => chunks[at].digest.0[31] ^= 1,
                2 => chunks[at].bytes = 0,
                3 => chunks[at].bytes = 2 << 20,
                4 if at != other && chunks[at].bytes > 4096 => {
                    chunks[at].bytes -= 4096;
                    chunks[other].bytes += 4096;
                }
                _ => chunks.truncate(at),
            }
        }
    }
}

/// The most that was reported as done at a time.
#[derive(Debug, Default)]
struct Strides(AtomicU64);

impl Monitor for Strides {
    fn begin(&self, _phase: Phase, _what: &str, _total_bytes: Option<u64>) {}
    fn advance(&self, bytes: u64) {
        self.0.fetch_max(bytes, Ordering::Relaxed);
    }
    fn end(&self) {}
    fn warn(&self, _message: &str) {}
}

/// The most that a worker cuts at a time.
const PART: u64 = super::super::buffer::PART as u64;

/// The longest stretch of a file that was taken as it was before.
fn stride(memory: &Memory, content: &[u8], known: &Known) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, content).unwrap();
    let strides = Strides::default();
    save(Source::Path(path), memory, known, &options(2), &strides).unwrap();
    strides.0.into_inner()
}

#[test]
fn a_file_that_is_the_same_is_not_cut_again_nor_what_comes_before_an_edit() {
    let content = noise("same", 20 << 20);
    let memory = Memory::new();
    let known = known(&memory, &save_bytes(&memory, &content, &Known::default()));
    assert_eq!(stride(&memory, &content, &known), 20 << 20);
    let appended = [&content[..], &text(1000)].concat();
    assert!((18 << 20..20 << 20).contains(&stride(&memory, &appended, &known)));
    let mut edited = content.clone();
    edited[15 << 20] ^= 1;
    assert!((13 << 20..15 << 20).contains(&stride(&memory, &edited, &known)));
    assert!(stride(&memory, &noise("other", 20 << 20), &known) <= PART);
    let table = parquet();
    let known = self::known(&memory, &save_bytes(&memory, &table, &Known::default()));
    assert!(stride(&memory, &table, &known) > PART, "a column chunk is one stretch");
    edited = table.clone();
    edited[2 << 20] ^= 1;
    assert!(stride(&memory, &edited, &known) <= PART, "of a table only all is believed");
}

#[test]
fn what_there_is_no_room_for_is_cut() {
    let content = noise("room", 20 << 20);
    let memory = Memory::new();
    let saved = save_bytes(&memory, &content, &Known::default());
    for entries in [0, 50, 300] {
        let mut known = Known::with_entries(entries);
        known.recall(&memory, &saved.manifest).unwrap();
        assert!(stride(&memory, &content, &known) <= PART);
        agree(&memory, &content, &known, "without room");
    }
}
