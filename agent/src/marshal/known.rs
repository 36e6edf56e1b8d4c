//! What a store is known to hold already, from the manifests of earlier artifacts: so that it is not stored again.

mod guides;

pub(crate) use guides::{Guide, bytes_of};

use super::zeros::zeros_digest;
use guides::Guides;
use kale_protocol::{
    chunk::{Chunk, ChunkPlace, Codec, Extent, Frame},
    digest::Digest,
    id::PackId,
    manifest::{Manifest, Node, Shape},
    path::ArtifactPath,
};
use std::collections::HashMap;

/// Chunks that are remembered unless told otherwise: the most that a table of 2^20 slots holds, about 50 MiB.
const ENTRIES: usize = 917_504;

/// What one of them takes: a slot of the table, of which an eighth stays free.
const BYTES: u64 = 57;

/// One chunk in so many may be remembered in its file, too: 36 bytes each.
const GUIDED: usize = 8;

/// Places of chunks, and whole artifacts, that may be referred to instead of being stored again.
///
/// Bounded: what comes after the table is full is not remembered, and at worst stored twice. Nothing is looked up in
/// the store: whoever adds a manifest promises that its packs are kept as long as the new artifact.
#[derive(Clone, Debug)]
pub struct Known {
    slots: HashMap<Digest, Slot>,
    packs: Vec<PackId>,
    pack_indexes: HashMap<PackId, u32>,
    frames: Vec<(u32, Frame)>,
    artifacts: HashMap<(Digest, Shape, Option<String>), Digest>,
    entries: usize,
    guides: Guides,
}

/// A place in 16 bytes; packs and frames are shared by many chunks.
#[derive(Clone, Copy, Debug)]
enum Slot {
    Raw { pack: u32, offset: u64 },
    Framed { frame: u32, start: u32 },
}

impl Default for Known {
    fn default() -> Self {
        Self::with_entries(ENTRIES)
    }
}

impl Known {
    /// Knows nothing, and will remember what fits in so many bytes, at most as much as the default.
    pub fn within(bytes: u64) -> Self {
        let entries = usize::try_from(bytes / BYTES).unwrap_or(usize::MAX);
        // The table doubles: one entry more than seven eighths of a power of two would take twice as much.
        let slots = (entries / 7 * 8).checked_ilog2().map_or(0, |log| 1 << log);
        Self::with_entries(ENTRIES.min(slots / 8 * 7))
    }

    /// Knows nothing, and will remember at most so many chunks.
    pub fn with_entries(entries: usize) -> Self {
        Self {
            slots: HashMap::new(),
            packs: Vec::new(),
            pack_indexes: HashMap::new(),
            frames: Vec::new(),
            artifacts: HashMap::new(),
            entries,
            guides: Guides::within(entries / GUIDED),
        }
    }

    /// Adds an artifact: the manifest with this id, and the nodes of its pages.
    pub fn add_manifest(&mut self, id: Digest, manifest: &Manifest, pages: impl IntoIterator<Item = Vec<Node>>) {
        pages.into_iter().flatten().for_each(|node| self.add_node(&manifest.packs, &node));
        manifest.nodes.iter().for_each(|node| self.add_node(&manifest.packs, node));
        self.add_artifact(id, manifest);
    }

    /// Adds an artifact whose nodes were added.
    pub(super) fn add_artifact(&mut self, id: Digest, manifest: &Manifest) {
        self.guides.close();
        for page in &manifest.pages {
            if let Some(pack) = manifest.packs.get(page.pack as usize) {
                self.add_framed(*pack, page.frame, [(page.digest, 0)]);
            }
        }
        self.artifacts.insert((manifest.digest, manifest.shape, manifest.format.clone()), id);
    }

    /// Knows nothing any more.
    pub(super) fn forget(&mut self) {
        *self = Self::with_entries(self.entries);
    }

    /// Whether the artifact with this manifest was added.
    pub(crate) fn has_added(&self, id: &Digest) -> bool {
        self.artifacts.values().any(|added| added == id)
    }

    /// What files at a path consisted of in the artifacts that were added.
    pub(crate) fn guides(&self, path: &ArtifactPath) -> &[Guide] {
        self.guides.at(path)
    }

    /// Whether a chunk need not be stored.
    pub(crate) fn holds(&self, chunk: &Chunk) -> bool {
        self.slots.contains_key(&chunk.digest) || chunk.digest == zeros_digest(chunk.bytes)
    }

    /// The place of a chunk.
    pub fn place(&self, chunk: &Digest) -> Option<ChunkPlace> {
        match *self.slots.get(chunk)? {
            Slot::Raw { pack, offset } => Some(ChunkPlace::Raw { pack: *self.packs.get(pack as usize)?, offset }),
            Slot::Framed { frame, start } => {
                let (pack, frame) = *self.frames.get(frame as usize)?;
                Some(ChunkPlace::Framed { pack: *self.packs.get(pack as usize)?, frame, start })
            }
        }
    }

    /// The manifest of an artifact with this digest, shape and format.
    pub fn manifest(&self, digest: &Digest, shape: Shape, format: Option<&str>) -> Option<Digest> {
        self.artifacts.get(&(*digest, shape, format.map(str::to_owned))).copied()
    }

    /// Adds a chunk that lies as it is in a pack.
    pub(crate) fn add_raw(&mut self, chunk: Digest, pack: PackId, offset: u64) {
        if self.is_wanted(&chunk) {
            let pack = self.pack_index(pack);
            self.slots.insert(chunk, Slot::Raw { pack, offset });
        }
    }

    /// Adds chunks of a frame, each with its first byte in the decoded frame.
    pub(crate) fn add_framed(&mut self, pack: PackId, frame: Frame, chunks: impl IntoIterator<Item = (Digest, u32)>) {
        if frame.codec == Codec::Raw {
            let raw = |start: u32| frame.offset + u64::from(start);
            return chunks.into_iter().for_each(|(chunk, start)| self.add_raw(chunk, pack, raw(start)));
        }
        for (chunk, start) in chunks {
            if self.is_wanted(&chunk) {
                let pack = self.pack_index(pack);
                if self.frames.last() != Some(&(pack, frame)) {
                    self.frames.push((pack, frame));
                }
                let frame = self.frames.len() as u32 - 1;
                self.slots.insert(chunk, Slot::Framed { frame, start });
            }
        }
    }

    /// Adds the next node of an artifact with this pack table.
    pub(super) fn add_node(&mut self, packs: &[PackId], node: &Node) {
        self.guides.add(node);
        for extent in node.extents() {
            let Some(pack) = extent.pack().and_then(|pack| packs.get(pack as usize)) else { continue };
            match extent {
                Extent::Raw { offset, chunks, .. } => {
                    chunks.iter().fold(*offset, |at, chunk| {
                        self.add_raw(chunk.digest, *pack, at);
                        at + u64::from(chunk.bytes)
                    });
                }
                Extent::Framed { frame, start, chunks, .. } => {
                    let starts = chunks.iter().scan(*start, |end, chunk| {
                        let start = *end;
                        *end += chunk.bytes;
                        Some((chunk.digest, start))
                    });
                    self.add_framed(*pack, *frame, starts);
                }
                Extent::Inline { .. } | Extent::Zeros { .. } => {}
            }
        }
    }

    fn is_wanted(&self, chunk: &Digest) -> bool {
        self.slots.len() < self.entries && !self.slots.contains_key(chunk)
    }

    fn pack_index(&mut self, pack: PackId) -> u32 {
        *self.pack_indexes.entry(pack).or_insert_with(|| {
            self.packs.push(pack);
            self.packs.len() as u32 - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_places_up_to_its_limit() {
        let mut known = Known::with_entries(3);
        let (pack, of) = (PackId([1; 16]), |text: &str| Digest::of(text.as_bytes()));
        let frame = Frame { offset: 64, stored_bytes: 10, raw_bytes: 100, codec: Codec::Zstd };
        known.add_raw(of("a"), pack, 7);
        known.add_framed(pack, frame, [(of("b"), 0), (of("c"), 50), (of("d"), 70)]);
        known.add_raw(of("e"), pack, 8);
        assert_eq!(known.place(&of("a")), Some(ChunkPlace::Raw { pack, offset: 7 }));
        assert_eq!(known.place(&of("c")), Some(ChunkPlace::Framed { pack, frame, start: 50 }));
        assert_eq!((known.place(&of("d")), known.place(&of("e"))), (None, None));
    }

    #[test]
    fn a_table_has_the_room_that_it_is_given() {
        assert_eq!(Known::within(u64::MAX / 2).entries, ENTRIES);
        assert_eq!(Known::within(48 << 20).entries, ENTRIES / 2);
        assert_eq!(Known::within(0).entries, 0);
        let entries = Known::within(8 << 20).entries as u64;
        assert!(entries > 100_000 && entries * BYTES <= 8 << 20, "{entries}");
    }

    #[test]
    fn a_raw_frame_is_remembered_as_raw_content() {
        let mut known = Known::default();
        let frame = Frame { offset: 64, stored_bytes: 100, raw_bytes: 100, codec: Codec::Raw };
        known.add_framed(PackId([1; 16]), frame, [(Digest::of(b"b"), 50)]);
        assert_eq!(known.place(&Digest::of(b"b")), Some(ChunkPlace::Raw { pack: PackId([1; 16]), offset: 114 }));
    }
}
