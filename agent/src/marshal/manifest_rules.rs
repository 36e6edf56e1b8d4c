//! The rules of a manifest that need more than one node to be seen.

use kale_protocol::{
    chunk::Extent,
    digest::{ContentDigest, Digest},
    manifest::{ArtifactDigest, Manifest, Node, Shape, Totals, What},
    path::ArtifactPath,
};

/// Most chunks that all runs of zeros together may claim: 256 TiB where each has 1 MiB. They take no room in a
/// manifest, and yet the digest of each counts: more would only cost time.
const ZERO_CHUNKS: u64 = 1 << 28;
/// The longest that a file can be.
const FILE_BYTES: u64 = i64::MAX as u64;

/// Sees all nodes in order, and refuses the first that breaks a rule.
///
/// What passes is a tree: each node's parent is a folder that came before, so nothing lies below a file or a symbolic
/// link, and nothing is named twice.
#[derive(Debug)]
pub(crate) struct Rules {
    base: ArtifactPath,
    last: Option<ArtifactPath>,
    folders: Vec<ArtifactPath>,
    file: Option<OpenFile>,
    totals: Totals,
    artifact: ArtifactDigest,
    zeros: ZeroChunk,
}

/// The digest of the chunk of zeros that was met last: nearly all have one length.
#[derive(Debug)]
struct ZeroChunk {
    bytes: u32,
    digest: Digest,
    seen: u64,
}

impl ZeroChunk {
    fn digest(&mut self, count: u64, bytes: u32) -> Result<Digest, &'static str> {
        self.seen = self.seen.saturating_add(count);
        if self.seen > ZERO_CHUNKS {
            return Err("runs of zeros have more chunks than any content");
        }
        if self.bytes != bytes {
            self.bytes = bytes;
            self.digest = Digest::of(&vec![0; bytes as usize]);
        }
        Ok(self.digest)
    }
}

#[derive(Debug)]
struct OpenFile {
    bytes: u64,
    digest: Digest,
    seen_bytes: u64,
    seen: ContentDigest,
}

impl Rules {
    /// Rules for the nodes from `base` down; the root for a whole artifact.
    pub(crate) fn new(base: ArtifactPath) -> Self {
        Self {
            base,
            last: None,
            folders: Vec::new(),
            file: None,
            totals: Totals::default(),
            artifact: ArtifactDigest::default(),
            zeros: ZeroChunk { bytes: 0, digest: Digest::of(&[]), seen: 0 },
        }
    }

    /// Checks the next node.
    pub(crate) fn push(&mut self, node: &Node) -> Result<(), &'static str> {
        if let What::More { extents } = &node.what {
            if self.last.as_ref() != Some(&node.path) {
                return Err("more extents stand before their file");
            }
            if extents.is_empty() {
                return Err("more extents are none");
            }
            let file = self.file.as_mut().ok_or("more extents belong to no file, or to one that is complete")?;
            return file.push(extents, &mut self.zeros);
        }
        self.close_file()?;
        self.check_place(node)?;
        match &node.what {
            What::Folder => {
                self.folders.push(node.path.clone());
                self.totals.folders += 1;
            }
            What::File { bytes, digest, extents, .. } => {
                if *bytes > FILE_BYTES {
                    return Err("a file is longer than any can be");
                }
                self.totals.files += 1;
                self.totals.raw_bytes =
                    self.totals.raw_bytes.checked_add(*bytes).ok_or("the files are longer than any store")?;
                let seen = ContentDigest::default();
                let file = self.file.insert(OpenFile { bytes: *bytes, digest: *digest, seen_bytes: 0, seen });
                file.push(extents, &mut self.zeros)?;
            }
            _ => self.totals.others += 1,
        }
        self.artifact.push(node);
        self.last = Some(node.path.clone());
        Ok(())
    }

    /// Checks what can only be known at the end of what was asked for.
    pub(crate) fn finish(&mut self, manifest: &Manifest) -> Result<(), &'static str> {
        self.close_file()?;
        if self.last.is_none() {
            return Err("it has no node");
        }
        if !self.base.is_root() {
            return Ok(());
        }
        if self.totals != manifest.totals {
            return Err("its totals are not those of its nodes");
        }
        if self.artifact.finish() != manifest.digest {
            return Err("its digest is not that of its nodes");
        }
        Ok(())
    }

    fn close_file(&mut self) -> Result<(), &'static str> {
        self.file.take().map_or(Ok(()), |file| file.close())
    }

    fn check_place(&mut self, node: &Node) -> Result<(), &'static str> {
        let Some(last) = &self.last else {
            return if node.path == self.base { Ok(()) } else { Err("its first node is not the root") };
        };
        if node.path <= *last {
            return Err("nodes are not in path order");
        }
        while self.folders.pop_if(|folder| !node.path.is_within(folder)).is_some() {}
        let folder = self.folders.last().ok_or("a node lies in no folder")?;
        let above = folder.as_bytes().len() + usize::from(!folder.is_root());
        if node.path.as_bytes()[above..].contains(&b'/') {
            return Err("a node lies in what is no folder");
        }
        Ok(())
    }
}

impl OpenFile {
    fn push(&mut self, extents: &[Extent], zeros: &mut ZeroChunk) -> Result<(), &'static str> {
        for extent in extents {
            self.seen_bytes = self.seen_bytes.saturating_add(extent.raw_bytes());
            if self.seen_bytes > self.bytes {
                return Err("a file's extents are longer than the file");
            }
            match extent {
                Extent::Inline { content } => self.seen.push(content.len() as u32, &Digest::of(content)),
                Extent::Zeros { count, chunk_bytes } => {
                    let digest = zeros.digest(*count, *chunk_bytes)?;
                    (0..*count).for_each(|_| self.seen.push(*chunk_bytes, &digest));
                }
                Extent::Raw { chunks, .. } | Extent::Framed { chunks, .. } => {
                    chunks.iter().for_each(|chunk| self.seen.push(chunk.bytes, &chunk.digest));
                }
            }
        }
        Ok(())
    }

    fn close(self) -> Result<(), &'static str> {
        if self.seen_bytes != self.bytes {
            return Err("a file's extents are shorter than the file");
        }
        if self.seen.finish() == self.digest { Ok(()) } else { Err("a file's digest is not that of its chunks") }
    }
}

/// Checks that the root is what the shape says.
pub(crate) fn check_root(shape: Shape, root: &Node) -> Result<(), &'static str> {
    match (shape, &root.what) {
        (Shape::File | Shape::Value, What::File { .. }) | (Shape::Tree | Shape::Value, What::Folder) => Ok(()),
        _ => Err("its root is not of the kind that its shape says"),
    }
}
