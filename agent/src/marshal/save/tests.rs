//! Tests of whole saves into memory, read back by a reader of their own.

mod adopted;
mod failures;
mod guided;
mod plain;
mod shuffled;
mod trees;
mod turns;

use super::{Compress, SaveOptions, Saved, save};
use crate::{
    marshal::{Known, Source},
    report::{Monitor, Phase, Silent},
    store::{Memory, Transport},
};
use kale_protocol::{
    chunk::{Chunk, Codec, Extent, Frame},
    digest::{ContentDigest, Digest},
    id::PackId,
    layout, limits,
    manifest::{ArtifactDigest, Manifest, Node, What, decode_page},
    object::Object,
    path::ArtifactPath,
};
use std::{
    fs,
    io::{Cursor, Read, Write},
    num::NonZeroUsize,
    os::unix::fs::{FileExt, PermissionsExt},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

/// A saved artifact, read back node by node.
struct Artifact<'a> {
    memory: &'a Memory,
    manifest: Manifest,
    nodes: Vec<Node>,
}

impl<'a> Artifact<'a> {
    fn read(memory: &'a Memory, saved: &Saved) -> Self {
        let object = memory.read(&layout::manifest(&saved.manifest), u64::MAX).unwrap();
        assert_eq!(Digest::of(&object), saved.manifest);
        let manifest = Manifest::from_object(&object).unwrap();
        let mut nodes = Vec::new();
        for page in &manifest.pages {
            let content = frame(memory, manifest.packs[page.pack as usize], &page.frame);
            assert_eq!(Digest::of(&content), page.digest);
            let read = decode_page(&content, manifest.packs.len()).unwrap();
            assert_eq!((&read[0].path, read.len()), (&page.first, page.nodes as usize));
            nodes.extend(read);
        }
        nodes.extend(manifest.nodes.clone());
        assert!(nodes.is_sorted_by(|a, b| a.path < b.path || matches!(b.what, What::More { .. }) && a.path == b.path));
        let mut digest = ArtifactDigest::default();
        nodes.iter().for_each(|node| digest.push(node));
        assert_eq!((digest.finish(), manifest.digest), (saved.digest, saved.digest));
        assert_eq!((manifest.totals, manifest.shape), (saved.totals, saved.shape));
        Self { memory, manifest, nodes }
    }

    fn node(&self, path: &str) -> &Node {
        self.nodes.iter().find(|node| node.path.as_bytes() == path.as_bytes()).unwrap()
    }

    fn extents(&self, path: &str) -> Vec<&Extent> {
        self.nodes.iter().filter(|node| node.path.as_bytes() == path.as_bytes()).flat_map(Node::extents).collect()
    }

    /// The content of a file, with every digest checked.
    fn content(&self, path: &str) -> Vec<u8> {
        let mut content = Vec::new();
        let mut digest = ContentDigest::default();
        for extent in self.extents(path) {
            let (stored, chunks) = match extent {
                Extent::Inline { content } => (content.clone(), vec![chunk(content)]),
                Extent::Zeros { count, chunk_bytes } => {
                    let zeros = vec![0; *chunk_bytes as usize];
                    let chunks = vec![chunk(&zeros); *count as usize];
                    (vec![0; *count as usize * *chunk_bytes as usize], chunks)
                }
                Extent::Raw { pack, offset, chunks } => {
                    let mut stored = vec![0; extent.raw_bytes() as usize];
                    let key = layout::pack(&self.manifest.packs[*pack as usize]);
                    self.memory.read_at(&key, *offset, &mut stored).unwrap();
                    (stored, chunks.clone())
                }
                Extent::Framed { pack, frame: at, start, chunks } => {
                    let decoded = frame(self.memory, self.manifest.packs[*pack as usize], at);
                    (decoded[*start as usize..][..extent.raw_bytes() as usize].to_vec(), chunks.clone())
                }
            };
            let mut rest = &stored[..];
            for want in chunks {
                let (this, after) = rest.split_at(want.bytes as usize);
                assert_eq!(Digest::of(this), want.digest);
                digest.push(want.bytes, &want.digest);
                rest = after;
            }
            content.extend(stored);
        }
        let What::File { bytes, digest: want, .. } = &self.node(path).what else { panic!("{path} is no file") };
        assert_eq!((content.len() as u64, digest.finish()), (*bytes, *want));
        content
    }

    fn add_to(&self, known: &mut Known, saved: &Saved) {
        let paged = self.nodes.len() - self.manifest.nodes.len();
        known.add_manifest(saved.manifest, &self.manifest, [self.nodes[..paged].to_vec()]);
    }
}

fn frame(memory: &Memory, pack: PackId, frame: &Frame) -> Vec<u8> {
    let mut stored = vec![0; frame.stored_bytes as usize];
    memory.read_at(&layout::pack(&pack), frame.offset, &mut stored).unwrap();
    let decoded = || zstd::bulk::decompress(&stored, frame.raw_bytes as usize).unwrap();
    match frame.codec {
        Codec::Raw => stored,
        Codec::Zstd => decoded(),
        Codec::ZstdShuffled { width } => shuffled::by_the_page(&decoded(), usize::from(width)),
    }
}

fn chunk(content: &[u8]) -> Chunk {
    Chunk { bytes: content.len() as u32, digest: Digest::of(content) }
}

fn noise(seed: &str, bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut content);
    content
}

fn text(lines: usize) -> Vec<u8> {
    (0..lines).flat_map(|i| format!("{i},{},{}\n", i * 7919 % 1009, i % 13).into_bytes()).collect()
}

fn options(threads: usize) -> SaveOptions {
    SaveOptions { threads: NonZeroUsize::new(threads).unwrap(), ..SaveOptions::default() }
}

fn save_path(memory: &Memory, path: &Path, known: &Known) -> Saved {
    save(Source::Path(path.to_owned()), memory, known, &options(2), &Silent).unwrap()
}

/// Saves bytes as they come out of a file.
fn save_bytes(memory: &Memory, content: &[u8], known: &Known) -> Saved {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, content).unwrap();
    save_path(memory, &path, known)
}

fn safetensors(tensors: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut at = 0;
    let entries = tensors.iter().map(|(name, data)| {
        let (begin, end) = (at, at + data.len());
        at = end;
        format!(r#""{name}":{{"dtype":"U8","shape":[{}],"data_offsets":[{begin},{end}]}}"#, data.len())
    });
    let header = format!("{{{}}}", entries.collect::<Vec<_>>().join(","));
    let mut content = (header.len() as u64).to_le_bytes().to_vec();
    content.extend(header.as_bytes());
    tensors.iter().for_each(|(_, data)| content.extend(data));
    content
}

#[test]
fn a_large_raw_file_is_one_congruent_extent() {
    let content = noise("raw", 100 << 20);
    let memory = Memory::new();
    let saved = save_bytes(&memory, &content, &Known::default());
    let artifact = Artifact::read(&memory, &saved);
    let [Extent::Raw { offset, .. }] = artifact.extents("")[..] else { panic!("{:?}", artifact.extents("").len()) };
    assert_eq!(offset % 4096, 0);
    assert_eq!(saved.packs.len(), 1);
    assert_eq!(artifact.content(""), content);
}

#[test]
fn an_array_with_its_header_is_one_extent_and_compressible_all_the_same() {
    let mut content =
        b"\x93NUMPY\x01\x00\x76\x00{'descr': '<i8', 'fortran_order': False, 'shape': (1310720,), }".to_vec();
    content.resize(128, b' ');
    content.extend((0..1_310_720u64).flat_map(u64::to_le_bytes));
    let memory = Memory::new();
    let saved = save_bytes(&memory, &content, &Known::default());
    assert_eq!(saved.format.as_deref(), Some("npy"));
    let artifact = Artifact::read(&memory, &saved);
    assert!(matches!(artifact.extents("")[..], [Extent::Raw { .. }]), "{:?}", artifact.extents("").len());
    assert_eq!(artifact.content(""), content);
}

#[test]
fn a_tensor_that_is_inserted_stores_itself_and_little_else() {
    let mut tensors: Vec<_> =
        (0..20).map(|i| (format!("layer{i}"), noise(&format!("{i}"), (3 << 20) + 12_345))).collect();
    let memory = Memory::new();
    let first = save_bytes(&memory, &safetensors(&tensors), &Known::default());
    let mut known = Known::default();
    Artifact::read(&memory, &first).add_to(&mut known, &first);
    tensors.insert(7, ("inserted".to_owned(), noise("inserted", 100_000)));
    let content = safetensors(&tensors);
    let second = save_bytes(&memory, &content, &known);
    assert!(second.stored_bytes < content.len() as u64 / 100, "{} of {}", second.stored_bytes, content.len());
    assert_eq!(Artifact::read(&memory, &second).content(""), content);
}

#[test]
fn equal_chunks_of_one_save_are_stored_once() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("tree");
    fs::create_dir(&root).unwrap();
    for i in 0..5 {
        fs::write(root.join(format!("large{i}")), noise("same", 9 << 20)).unwrap();
        fs::write(root.join(format!("small{i}")), noise("little", 40_000)).unwrap();
        fs::write(root.join(format!("text{i}")), text(100_000)).unwrap();
    }
    let memory = Memory::new();
    let saved = save_path(&memory, &root, &Known::default());
    assert!(saved.stored_bytes < 11 << 20, "{}", saved.stored_bytes);
    let artifact = Artifact::read(&memory, &saved);
    assert_eq!(artifact.content("large4"), noise("same", 9 << 20));
    assert_eq!(artifact.content("small3"), noise("little", 40_000));
    assert_eq!(artifact.content("text2"), text(100_000));
}

#[test]
fn a_little_content_is_kept_in_the_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("tree");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a"), noise("a", 8192)).unwrap();
    fs::write(root.join("b"), noise("b", 8192)).unwrap();
    fs::write(root.join("zeros"), vec![0; 9000]).unwrap();
    let memory = Memory::new();
    let saved = save_path(&memory, &root, &Known::default());
    assert_eq!((memory.keys().len(), saved.stored_bytes), (1, 0));
    let artifact = Artifact::read(&memory, &saved);
    assert_eq!(artifact.content("b"), noise("b", 8192));
    assert!(matches!(artifact.extents("zeros")[..], [Extent::Zeros { count: 1, chunk_bytes: 9000 }]));
    fs::write(root.join("c"), b"c").unwrap();
    let saved = save_path(&memory, &root, &Known::default());
    assert_eq!(saved.packs.len(), 1);
    assert_eq!(Artifact::read(&memory, &saved).content("c"), b"c");
}

#[test]
fn the_digest_depends_on_content_alone() {
    let content = [text(100_000), noise("middle", 2 << 20), vec![0; 5 << 20], text(50_000)].concat();
    let memory = Memory::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &content).unwrap();
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let mut digests = Vec::new();
    for threads in [1, 2, 5] {
        for compress in [Compress::Auto, Compress::Plain, Compress::Never, Compress::Zstd(3)] {
            let options = SaveOptions { compress, ..options(threads) };
            let path = Source::Path(file.path().to_owned());
            let saved = save(path, &memory, &Known::default(), &options, &Silent).unwrap();
            assert_eq!(Artifact::read(&memory, &saved).content(""), content);
            digests.push(saved.digest);
        }
    }
    for step in [1 << 10, 70_001, 1 << 20] {
        let reader = Source::Reader(Box::new(Slow { content: Cursor::new(content.clone()), step }));
        let saved = save(reader, &memory, &Known::default(), &options(2), &Silent).unwrap();
        assert_eq!(Artifact::read(&memory, &saved).content(""), content);
        digests.push(saved.digest);
    }
    let mut part = tempfile::tempfile().unwrap();
    part.write_all(&content).unwrap();
    let parts = Source::Parts(vec![(ArtifactPath::root(), part)]);
    digests.push(save(parts, &memory, &Known::default(), &options(2), &Silent).unwrap().digest);
    assert!(digests.iter().all(|digest| *digest == digests[0]));
}

/// Gives at most so many bytes at a time.
struct Slow {
    content: Cursor<Vec<u8>>,
    step: usize,
}

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(self.step);
        self.content.read(&mut buffer[..most])
    }
}

#[test]
fn a_stream_is_cut_like_a_file() {
    let tensors: Vec<_> = (0..3).map(|i| (format!("{i}"), noise(&format!("{i}"), 1_500_000))).collect();
    for content in [safetensors(&tensors), noise("short", 1000), Vec::new(), vec![0; 70_000], text(9000)] {
        let memory = Memory::new();
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &content).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
        let of_file = save_path(&memory, file.path(), &Known::default());
        let reader = Source::Reader(Box::new(Cursor::new(content.clone())));
        let of_stream = save(reader, &memory, &Known::default(), &options(2), &Silent).unwrap();
        assert_eq!((of_file.digest, of_file.format), (of_stream.digest, of_stream.format.clone()));
        assert_eq!(Artifact::read(&memory, &of_stream).content(""), content);
    }
}

#[test]
fn holes_cost_neither_reading_nor_room() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let bytes = 40 << 30;
    file.as_file().set_len(bytes).unwrap();
    file.as_file().write_all_at(b"in the middle", (20 << 30) + 77).unwrap();
    let memory = Memory::new();
    let saved = save_path(&memory, file.path(), &Known::default());
    assert_eq!(saved.totals.raw_bytes, bytes);
    assert!(saved.stored_bytes < 2 << 20, "{}", saved.stored_bytes);
    let artifact = Artifact::read(&memory, &saved);
    assert!(matches!(artifact.node("").what, What::File { sparse: true, .. }));
    assert!(artifact.extents("").len() <= 4, "{:?}", artifact.extents("").len());
}

#[test]
fn a_hole_and_written_zeros_are_the_same_content() {
    let mut content = vec![0; 7 << 20];
    content[3_333_333..3_400_000].copy_from_slice(&noise("island", 66_667));
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(content.len() as u64).unwrap();
    file.as_file().write_all_at(&content[3_333_333..3_400_000], 3_333_333).unwrap();
    let full = tempfile::NamedTempFile::new().unwrap();
    fs::write(full.path(), &content).unwrap();
    let memory = Memory::new();
    let sparse = save_path(&memory, file.path(), &Known::default());
    assert_eq!(sparse.digest, save_path(&memory, full.path(), &Known::default()).digest);
    assert_eq!(Artifact::read(&memory, &sparse).content(""), content);
}

#[test]
fn every_byte_is_reported_once() {
    #[derive(Debug, Default)]
    struct Count(AtomicU64);
    impl Monitor for Count {
        fn begin(&self, _phase: Phase, _what: &str, _total_bytes: Option<u64>) {}
        fn advance(&self, bytes: u64) {
            self.0.fetch_add(bytes, Ordering::Relaxed);
        }
        fn end(&self) {}
        fn warn(&self, _message: &str) {}
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), noise("a", 3_000_000)).unwrap();
    fs::write(folder.path().join("b"), text(100)).unwrap();
    fs::File::create(folder.path().join("c")).unwrap().set_len(5_000_000).unwrap();
    let count = Count::default();
    let path = Source::Path(folder.path().to_owned());
    let saved = save(path, &Memory::new(), &Known::default(), &options(2), &count).unwrap();
    assert_eq!(count.0.into_inner(), saved.totals.raw_bytes);
}

#[test]
fn a_raw_file_is_not_broken_up_by_what_is_known_here_and_there() {
    let memory = Memory::new();
    let pieces: Vec<Vec<u8>> = (0..32).map(|i| noise(&format!("piece{i}"), 1 << 20)).collect();
    // Every other piece is known, each from a save of its own.
    let mut known = Known::default();
    for piece in pieces.iter().step_by(2) {
        let header = safetensors(&[("a".to_owned(), piece.clone())]);
        let saved = save_bytes(&memory, &header, &Known::default());
        Artifact::read(&memory, &saved).add_to(&mut known, &saved);
    }
    let content = safetensors(&[("all".to_owned(), pieces.concat())]);
    let saved = save_bytes(&memory, &content, &known);
    let artifact = Artifact::read(&memory, &saved);
    assert_eq!(artifact.content(""), content);
    let ranges = artifact.extents("").len() as u64;
    assert!(ranges <= 2 * 4 * (content.len() as u64 / (8 << 20) + 1), "{ranges}");
    assert!(saved.packs.len() <= 1 && content.len() > limits::INLINE);
}
