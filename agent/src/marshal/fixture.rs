//! A naive writer of packs and manifests, to test readers against: every byte goes through the protocol's types only.

use crate::store::{Memory, Transport};
use kale_protocol::{
    chunk::{Chunk, Codec, Extent, Frame},
    digest::{ContentDigest, Digest},
    extension::Extensions,
    id::PackId,
    layout, limits,
    manifest::{ArtifactDigest, Manifest, Node, PageRef, Shape, Totals, What, encode_page},
    object::Object,
    pack::{IndexedFrame, PackHead, PackIndex, PackTail, place},
    path::ArtifactPath,
};

/// A store in memory with a pack in the making.
#[derive(Debug)]
pub(crate) struct Fixture {
    pub(crate) memory: Memory,
    pub(crate) packs: Vec<PackId>,
    bytes: Vec<u8>,
    frames: Vec<IndexedFrame>,
}

pub(crate) fn path(text: &str) -> ArtifactPath {
    ArtifactPath::new(text.as_bytes().to_vec()).unwrap()
}

pub(crate) fn chunk(bytes: &[u8]) -> Chunk {
    Chunk { bytes: bytes.len() as u32, digest: Digest::of(bytes) }
}

pub(crate) fn node(at: &str, mode: u16, what: What) -> Node {
    Node { path: path(at), mode, modified_ns: 1_700_000_000_123_456_789, what }
}

pub(crate) fn folder(at: &str) -> Node {
    node(at, 0o755, What::Folder)
}

/// Bytes that do not compress and differ by seed.
pub(crate) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// A file of these extents.
pub(crate) fn file(at: &str, mode: u16, sparse: bool, extents: Vec<Extent>) -> Node {
    let mut digest = ContentDigest::default();
    for extent in &extents {
        match extent {
            Extent::Inline { content } => digest.push(content.len() as u32, &Digest::of(content)),
            Extent::Zeros { count, chunk_bytes } => {
                let zeros = Digest::of(&vec![0; *chunk_bytes as usize]);
                (0..*count).for_each(|_| digest.push(*chunk_bytes, &zeros));
            }
            Extent::Raw { chunks, .. } | Extent::Framed { chunks, .. } => {
                chunks.iter().for_each(|chunk| digest.push(chunk.bytes, &chunk.digest));
            }
        }
    }
    let bytes = extents.iter().map(Extent::raw_bytes).sum();
    node(at, mode, What::File { bytes, digest: digest.finish(), sparse, extents })
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let mut fixture = Self { memory: Memory::new(), packs: Vec::new(), bytes: Vec::new(), frames: Vec::new() };
        fixture.begin();
        fixture
    }

    fn begin(&mut self) {
        let id = PackId([self.packs.len() as u8 + 1; 16]);
        self.packs.push(id);
        self.bytes = PackHead { id, extensions: Extensions::default() }.to_object();
        self.frames = Vec::new();
    }

    fn pack(&self) -> u32 {
        self.packs.len() as u32 - 1
    }

    /// Stores content as raw chunks of this length each.
    pub(crate) fn raw(&mut self, content: &[u8], chunk_bytes: usize) -> Extent {
        let offset = place(self.bytes.len() as u64, Codec::Raw, content.len() as u64, 0);
        self.bytes.resize(offset as usize, 0);
        for bytes in content.chunks(chunk_bytes) {
            let frame = Frame {
                offset: self.bytes.len() as u64,
                stored_bytes: bytes.len() as u32,
                raw_bytes: bytes.len() as u32,
                codec: Codec::Raw,
            };
            self.frames.push(IndexedFrame { frame, chunks: vec![chunk(bytes)] });
            self.bytes.extend_from_slice(bytes);
        }
        Extent::Raw { pack: self.pack(), offset, chunks: content.chunks(chunk_bytes).map(chunk).collect() }
    }

    /// Stores contents in one compressed frame, a chunk each.
    pub(crate) fn framed(&mut self, contents: &[&[u8]]) -> Vec<Extent> {
        let chunks: Vec<Chunk> = contents.iter().map(|content| chunk(content)).collect();
        let frame = self.frame(&contents.concat(), chunks.clone());
        let mut start = 0;
        let extent = |chunk: Chunk| {
            let extent = Extent::Framed { pack: self.pack(), frame, start, chunks: vec![chunk] };
            start += chunk.bytes;
            extent
        };
        chunks.into_iter().map(extent).collect()
    }

    fn frame(&mut self, content: &[u8], chunks: Vec<Chunk>) -> Frame {
        let stored = zstd::bulk::compress(content, 1).unwrap();
        let frame = Frame {
            offset: self.bytes.len() as u64,
            stored_bytes: stored.len() as u32,
            raw_bytes: content.len() as u32,
            codec: Codec::Zstd,
        };
        self.bytes.extend_from_slice(&stored);
        self.frames.push(IndexedFrame { frame, chunks });
        frame
    }

    /// Publishes the pack in the making and begins another.
    pub(crate) fn next_pack(&mut self) {
        let id = self.packs[self.packs.len() - 1];
        let index_offset = self.bytes.len() as u64;
        let frames = std::mem::take(&mut self.frames);
        let index = PackIndex { id, frames, extensions: Extensions::default() }.to_object();
        self.bytes.extend_from_slice(&index);
        let tail = PackTail { index_offset, index_bytes: index.len() as u64, adopted: false };
        self.bytes.extend_from_slice(&tail.to_bytes());
        self.memory.create(&layout::pack(&id), &self.bytes).unwrap();
        self.begin();
    }

    /// A manifest that keeps these rules, whether or not the nodes do.
    pub(crate) fn describe(&self, shape: Shape, nodes: &[Node]) -> Manifest {
        let (mut digest, mut totals) = (ArtifactDigest::default(), Totals::default());
        for node in nodes {
            digest.push(node);
            match &node.what {
                What::Folder => totals.folders += 1,
                What::File { bytes, .. } => {
                    totals.files += 1;
                    totals.raw_bytes += bytes;
                }
                What::More { .. } => {}
                _ => totals.others += 1,
            }
        }
        Manifest {
            digest: digest.finish(),
            shape,
            format: None,
            totals,
            packs: self.packs.clone(),
            pages: Vec::new(),
            nodes: Vec::new(),
            extensions: Extensions::default(),
        }
    }

    /// Stores a manifest whose nodes are in pages of `page` nodes, the last ones in the root; 0 for no pages.
    pub(crate) fn manifest(&mut self, shape: Shape, nodes: &[Node], page: usize) -> Digest {
        self.manifest_of(shape, nodes, page, |_| {})
    }

    /// Stores a manifest after a change to its root.
    pub(crate) fn manifest_of(
        &mut self,
        shape: Shape,
        nodes: &[Node],
        page: usize,
        change: impl FnOnce(&mut Manifest),
    ) -> Digest {
        let paged = (nodes.len() - 1).checked_div(page).unwrap_or(0) * page;
        let mut pages = Vec::new();
        for nodes in nodes[..paged].chunks(page.max(1)) {
            let content = encode_page(&nodes.to_vec());
            assert!(content.len() <= limits::PAGE as usize);
            let frame = self.frame(&content, vec![chunk(&content)]);
            pages.push(PageRef {
                first: nodes[0].path.clone(),
                nodes: nodes.len() as u32,
                pack: self.pack(),
                frame,
                digest: Digest::of(&content),
            });
        }
        let mut manifest = self.describe(shape, nodes);
        manifest.pages = pages;
        manifest.nodes = nodes[paged..].to_vec();
        change(&mut manifest);
        self.next_pack();
        let object = manifest.to_object();
        let id = Digest::of(&object);
        self.memory.create(&layout::manifest(&id), &object).unwrap();
        id
    }
}
