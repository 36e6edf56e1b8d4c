//! Builds a manifest from nodes in path order, in bounded memory: what is large goes out to pages as it comes.

use super::{MarshalError, known::Known, pack_writer::PackWriter};
use kale_protocol::{
    chunk::{Chunk, ChunkPlace, Codec, Extent},
    digest::{ContentDigest, Digest},
    extension::Extensions,
    id::PackId,
    manifest::{ArtifactDigest, Manifest, Node, PageRef, Shape, Totals, What, encode_page},
    path::ArtifactPath,
};
use std::{collections::HashMap, mem};

/// A page is closed when its nodes are about this long once encoded.
const PAGE: usize = 1 << 20;
/// Nodes up to about this length stay in the root.
const ROOT: usize = 256 << 10;
/// About the most that a node takes once encoded, beside its path, its extents and its chunks.
const NODE: usize = 72;
const EXTENT: usize = 48;
const CHUNK: usize = 37;

/// Where a chunk of a file is to be found.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Nowhere: zero bytes only.
    Zeros,
    /// In the manifest.
    Inline(Vec<u8>),
    /// In a pack.
    Pack(ChunkPlace),
}

/// Collects nodes. Memory: two pages, and a reference for each page and pack.
///
/// A file's node is followed by its `More` nodes, but its digest is known only after its last chunk. So while a long
/// file is written, pages of `More` nodes are written before the page that holds its first node, and listed after it.
#[derive(Default)]
pub(crate) struct ManifestWriter {
    digest: ArtifactDigest,
    totals: Totals,
    packs: Vec<PackId>,
    pack_indexes: HashMap<PackId, u32>,
    pages: Vec<PageRef>,
    nodes: Vec<Node>,
    nodes_bytes: usize,
    file: Option<OpenFile>,
}

/// A file whose content is being added.
struct OpenFile {
    node: Node,
    content: ContentDigest,
    bytes: u64,
    /// Extents of the first node, once they are complete.
    first: Option<Vec<Extent>>,
    /// Extents that are being collected, for the first node or a later one.
    extents: Vec<Extent>,
    extents_bytes: usize,
    /// Content that the last of them stands for.
    last_bytes: u64,
    /// Pages of `More` nodes, to be listed after the page of the first node.
    more: Vec<PageRef>,
}

/// Where pages go.
pub(crate) struct Pages<'p, 'a> {
    pub(crate) packs: &'p mut PackWriter<'a>,
    pub(crate) known: &'p Known,
}

impl ManifestWriter {
    /// Adds a node that is no file.
    pub(crate) fn node(&mut self, node: Node, pages: &mut Pages<'_, '_>) -> Result<(), MarshalError> {
        match node.what {
            What::Folder => self.totals.folders += 1,
            _ => self.totals.others += 1,
        }
        self.push(node, 0, pages)
    }

    /// Begins a file; its chunks follow in order, then [`ManifestWriter::end_file`].
    pub(crate) fn begin_file(&mut self, path: ArtifactPath, mode: u16, modified_ns: i64, sparse: bool) {
        let what = What::File { bytes: 0, digest: Digest([0; 32]), sparse, extents: Vec::new() };
        self.file = Some(OpenFile {
            node: Node { path, mode, modified_ns, what },
            content: ContentDigest::default(),
            bytes: 0,
            first: None,
            extents: Vec::new(),
            extents_bytes: 0,
            last_bytes: 0,
            more: Vec::new(),
        });
    }

    /// Adds the next chunk of the file that was begun.
    pub(crate) fn chunk(&mut self, chunk: Chunk, place: Place, pages: &mut Pages<'_, '_>) -> Result<(), MarshalError> {
        let pack = match &place {
            Place::Pack(ChunkPlace::Raw { pack, .. } | ChunkPlace::Framed { pack, .. }) => self.pack_index(*pack),
            Place::Zeros | Place::Inline(_) => 0,
        };
        let file = self.file.as_mut().expect("chunks are added only between begin_file and end_file");
        file.content.push(chunk.bytes, &chunk.digest);
        file.bytes += u64::from(chunk.bytes);
        file.extents_bytes += CHUNK;
        if joins(file.extents.last_mut(), file.last_bytes, chunk, &place, pack) {
            file.last_bytes += u64::from(chunk.bytes);
        } else {
            file.last_bytes = u64::from(chunk.bytes);
            let extent = match place {
                Place::Zeros => Extent::Zeros { count: 1, chunk_bytes: chunk.bytes },
                Place::Inline(content) => Extent::Inline { content },
                Place::Pack(ChunkPlace::Raw { offset, .. }) => Extent::Raw { pack, offset, chunks: vec![chunk] },
                Place::Pack(ChunkPlace::Framed { frame, start, .. }) => {
                    Extent::Framed { pack, frame, start, chunks: vec![chunk] }
                }
            };
            file.extents_bytes += EXTENT + if let Extent::Inline { content } = &extent { content.len() } else { 0 };
            file.extents.push(extent);
        }
        if file.extents_bytes < PAGE {
            return Ok(());
        }
        let extents = mem::take(&mut file.extents);
        file.extents_bytes = 0;
        if file.first.is_none() {
            file.first = Some(extents);
            return Ok(());
        }
        let more = Node { what: What::More { extents }, ..file.node.clone() };
        let page = self.page(vec![more], pages)?;
        let file = self.file.as_mut().expect("it was there above");
        file.more.push(page);
        Ok(())
    }

    /// Ends the file that was begun.
    pub(crate) fn end_file(&mut self, pages: &mut Pages<'_, '_>) -> Result<(), MarshalError> {
        let file = self.file.take().expect("end_file follows begin_file");
        let OpenFile { mut node, content, bytes: raw_bytes, first, extents: last, extents_bytes, more, .. } = file;
        let (first, rest) = match first {
            Some(first) => (first, Some(last).filter(|last| !last.is_empty())),
            None => (last, None),
        };
        if let What::File { bytes, digest, extents, .. } = &mut node.what {
            (*bytes, *digest, *extents) = (raw_bytes, content.finish(), first);
        }
        self.totals.files += 1;
        self.totals.raw_bytes += raw_bytes;
        let rest = rest.map(|extents| Node { what: What::More { extents }, ..node.clone() });
        let first_bytes = if more.is_empty() && rest.is_none() { extents_bytes } else { PAGE };
        self.push(node, first_bytes, pages)?;
        if !more.is_empty() {
            self.flush(pages)?;
            self.pages.extend(more);
        }
        match rest {
            Some(rest) => self.push(rest, extents_bytes, pages),
            None => Ok(()),
        }
    }

    /// The digest of all nodes so far.
    pub(crate) fn digest(&self) -> Digest {
        self.digest.finish()
    }

    /// Counts of all nodes so far.
    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// Writes the last page, if what is left is long, and gives the root.
    pub(crate) fn finish(
        mut self,
        shape: Shape,
        format: Option<String>,
        pages: &mut Pages<'_, '_>,
    ) -> Result<Manifest, MarshalError> {
        if self.nodes_bytes > ROOT {
            self.flush(pages)?;
        }
        Ok(Manifest {
            digest: self.digest.finish(),
            shape,
            format,
            totals: self.totals,
            packs: self.packs,
            pages: self.pages,
            nodes: self.nodes,
            extensions: Extensions::default(),
        })
    }

    fn push(&mut self, node: Node, extents_bytes: usize, pages: &mut Pages<'_, '_>) -> Result<(), MarshalError> {
        let link = match &node.what {
            What::Symlink { target } => target.len(),
            What::HardLink { to } => to.as_bytes().len(),
            _ => 0,
        };
        self.digest.push(&node);
        self.nodes_bytes += NODE + node.path.as_bytes().len() + link + extents_bytes;
        self.nodes.push(node);
        if self.nodes_bytes >= PAGE { self.flush(pages) } else { Ok(()) }
    }

    fn flush(&mut self, pages: &mut Pages<'_, '_>) -> Result<(), MarshalError> {
        self.nodes_bytes = 0;
        let nodes = mem::take(&mut self.nodes);
        if !nodes.is_empty() {
            let page = self.page(nodes, pages)?;
            self.pages.push(page);
        }
        Ok(())
    }

    /// Writes a page, unless an equal one is known.
    fn page(&mut self, nodes: Vec<Node>, pages: &mut Pages<'_, '_>) -> Result<PageRef, MarshalError> {
        let content = encode_page(&nodes);
        let digest = Digest::of(&content);
        let count = nodes.len() as u32;
        let first = nodes.into_iter().next().expect("a page is made of at least one node").path;
        let (pack, frame) = match pages.known.place(&digest) {
            // A frame that holds nothing else, as a page must.
            Some(ChunkPlace::Framed { pack, frame, start: 0 }) if frame.raw_bytes as usize == content.len() => {
                (pack, frame)
            }
            _ => {
                let packed = super::save::compress(&content, super::save::LEVEL)?;
                let chunk = Chunk { bytes: content.len() as u32, digest };
                match packed.len() < content.len() {
                    true => pages.packs.frame(Codec::Zstd, &packed, vec![chunk])?,
                    false => pages.packs.frame(Codec::Raw, &content, vec![chunk])?,
                }
            }
        };
        Ok(PageRef { first, nodes: count, pack: self.pack_index(pack), frame, digest })
    }

    fn pack_index(&mut self, pack: PackId) -> u32 {
        *self.pack_indexes.entry(pack).or_insert_with(|| {
            self.packs.push(pack);
            self.packs.len() as u32 - 1
        })
    }
}

/// Adds a chunk to the extent before it, which stands for `last_bytes`, where it lies directly behind.
fn joins(last: Option<&mut Extent>, last_bytes: u64, chunk: Chunk, place: &Place, index: u32) -> bool {
    match (last, place) {
        (Some(Extent::Zeros { count, chunk_bytes }), Place::Zeros) if *chunk_bytes == chunk.bytes => {
            *count += 1;
            true
        }
        (Some(Extent::Raw { pack, offset, chunks }), Place::Pack(ChunkPlace::Raw { offset: at, .. }))
            if *pack == index && *offset + last_bytes == *at =>
        {
            chunks.push(chunk);
            true
        }
        (
            Some(Extent::Framed { pack, frame, start, chunks }),
            Place::Pack(ChunkPlace::Framed { frame: its, start: at, .. }),
        ) if *pack == index && frame == its && u64::from(*start) + last_bytes == u64::from(*at) => {
            chunks.push(chunk);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Memory, Transport};
    use kale_protocol::{layout, manifest::decode_page, object::Object};

    #[test]
    fn a_file_of_very_many_chunks_goes_over_pages_behind_its_first_node() {
        let memory = Memory::new();
        let mut packs = PackWriter::new(&memory);
        let known = Known::default();
        let mut writer = ManifestWriter::default();
        let mut pages = Pages { packs: &mut packs, known: &known };
        let path = |name: &str| ArtifactPath::new(name.as_bytes().to_vec()).unwrap();
        let folder = Node { path: path(""), mode: 0o755, modified_ns: 0, what: What::Folder };
        writer.node(folder, &mut pages).unwrap();
        writer.begin_file(path("a"), 0o644, 7, false);
        let pack = PackId([1; 16]);
        let chunks: Vec<Chunk> =
            (0..100_000u64).map(|i| Chunk { bytes: 1 << 20, digest: Digest::of(&i.to_le_bytes()) }).collect();
        let mut content = ContentDigest::default();
        for (index, chunk) in chunks.iter().enumerate() {
            content.push(chunk.bytes, &chunk.digest);
            let place = ChunkPlace::Raw { pack, offset: 4096 + ((index as u64) << 20) };
            writer.chunk(*chunk, Place::Pack(place), &mut pages).unwrap();
        }
        writer.end_file(&mut pages).unwrap();
        writer.begin_file(path("b"), 0o644, 7, false);
        writer.end_file(&mut pages).unwrap();
        let manifest = writer.finish(Shape::Tree, None, &mut pages).unwrap();
        packs.finish().unwrap();

        let manifest = Manifest::from_object(&manifest.to_object()).unwrap();
        let mut nodes = Vec::new();
        for page in &manifest.pages {
            let mut stored = vec![0; page.frame.stored_bytes as usize];
            let key = layout::pack(&manifest.packs[page.pack as usize]);
            memory.read_at(&key, page.frame.offset, &mut stored).unwrap();
            if page.frame.codec == Codec::Zstd {
                stored = zstd::bulk::decompress(&stored, page.frame.raw_bytes as usize).unwrap();
            }
            let read = decode_page(&stored, manifest.packs.len()).unwrap();
            assert_eq!((page.nodes as usize, &page.first), (read.len(), &read[0].path));
            nodes.extend(read);
        }
        nodes.extend(manifest.nodes);
        let paths: Vec<String> = nodes.iter().map(|node| node.path.to_string()).collect();
        assert_eq!(paths, ["", "a", "a", "a", "a", "b"]);
        let What::File { bytes, digest, .. } = &nodes[1].what else { panic!("the first node of a file is its own") };
        assert_eq!((*bytes, *digest), (100_000 << 20, content.finish()));
        let mut at = 4096;
        let mut read = Vec::new();
        for extent in nodes.iter().flat_map(Node::extents) {
            let Extent::Raw { offset, chunks, .. } = extent else { panic!("only raw content was added") };
            assert_eq!(*offset, at);
            at += extent.raw_bytes();
            read.extend(chunks.iter().copied());
        }
        assert_eq!(read, chunks);
    }
}
