//! Manifests: what an artifact consists of, and where each piece is. `docs/formats/manifest.md`.

use crate::{
    chunk::{Extent, Frame},
    codec::{self, CodecError},
    digest::Digest,
    envelope::{Kind, Packing},
    extension::Extensions,
    id::PackId,
    limits,
    object::Object,
    path::ArtifactPath,
};
use serde::{Deserialize, Serialize};

/// The root of a manifest, stored under the BLAKE3 of its object.
///
/// Its nodes, in path order, are those of `pages` and then those of `nodes`. A small artifact has no pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The digest of the artifact: equal for equal content, whoever stored it, however it is stored.
    pub digest: Digest,
    /// How the artifact is meant to be used.
    pub shape: Shape,
    /// What the content is, in a word such as `npy`, `parquet`, `pickle`, where that is known.
    pub format: Option<String>,
    /// Counts, for people and for limits.
    pub totals: Totals,
    /// The packs that extents and pages refer to by index.
    pub packs: Vec<PackId>,
    /// Nodes that were moved out to packs.
    pub pages: Vec<PageRef>,
    /// Nodes kept here.
    pub nodes: Vec<Node>,
    /// Later additions.
    pub extensions: Extensions,
}

/// How an artifact is meant to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Shape {
    /// One file: its only node is the root.
    File,
    /// A folder: its first node is the root folder.
    Tree,
    /// A value that step code saved as an object: a file or a tree whose inside belongs to the format.
    Value,
}

/// Counts over all nodes of a manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Regular files, hard links not counted.
    pub files: u64,
    /// Folders, the root included.
    pub folders: u64,
    /// Symbolic links, hard links and FIFOs.
    pub others: u64,
    /// Bytes of all regular files.
    pub raw_bytes: u64,
}

/// A page of nodes that lies in a pack, as one frame that holds nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRef {
    /// Path of its first node: a path can be found by binary search over pages.
    pub first: ArtifactPath,
    /// How many nodes it has.
    pub nodes: u32,
    /// Index into the pack table.
    pub pack: u32,
    /// The frame.
    pub frame: Frame,
    /// BLAKE3 of the decoded frame.
    pub digest: Digest,
}

/// One entry of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Where it lies in the artifact.
    pub path: ArtifactPath,
    /// Permission bits, with set-user-id, set-group-id and sticky: the low 12 bits of `st_mode`.
    pub mode: u16,
    /// Last modification, in nanoseconds since 1970 UTC; not part of the digest.
    pub modified_ns: i64,
    /// What it is.
    pub what: What,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A folder.
    Folder,
    /// A regular file.
    File {
        /// Length of its content.
        bytes: u64,
        /// Digest of its content (`digest::ContentDigest`).
        digest: Digest,
        /// Whether it had holes: then zero blocks are restored as holes.
        sparse: bool,
        /// Its content in order, or the first part of it where `More` nodes follow.
        extents: Vec<Extent>,
    },
    /// More extents of the file before, under the same path: a long file may go over several pages.
    More {
        /// The extents that follow.
        extents: Vec<Extent>,
    },
    /// A symbolic link; its target is never followed by the agent.
    Symlink {
        /// The target, as it was: any bytes but NUL.
        #[serde(with = "crate::bytes")]
        target: Vec<u8>,
    },
    /// Another name of a file whose node stands earlier.
    HardLink {
        /// The earlier path.
        to: ArtifactPath,
    },
    /// A FIFO.
    Fifo,
}

impl Node {
    /// Extents of this node, none where it has no content.
    pub fn extents(&self) -> &[Extent] {
        match &self.what {
            What::File { extents, .. } | What::More { extents } => extents,
            _ => &[],
        }
    }

    /// Checks sizes and sums; `packs` is the length of the manifest's pack table.
    pub fn check(&self, packs: usize) -> Result<(), &'static str> {
        if self.mode > 0o7777 {
            return Err("a mode has more than 12 bits");
        }
        match &self.what {
            What::Symlink { target }
                if target.is_empty() || target.len() > limits::LINK_TARGET || target.contains(&0) =>
            {
                return Err("a symbolic link's target is empty, too long or has a NUL byte");
            }
            What::HardLink { to } if *to >= self.path => {
                return Err("a hard link refers to a later path");
            }
            What::File { bytes, extents, .. }
                if extents.iter().fold(0, |sum: u64, extent| sum.saturating_add(extent.raw_bytes())) > *bytes =>
            {
                return Err("a file's extents are longer than the file");
            }
            _ => {}
        }
        self.extents().iter().try_for_each(|extent| extent.check(packs))
    }
}

impl Object for Manifest {
    const KIND: Kind = Kind::Manifest;
    const PACKING: Packing = Packing::Zstd;

    fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.pages.is_empty() && self.nodes.is_empty() {
            return Err("a manifest has no node");
        }
        for page in &self.pages {
            if page.pack as usize >= self.packs.len() {
                return Err("a page names a pack that is not in the pack table");
            }
            if page.nodes == 0 {
                return Err("a page has no node");
            }
            page.frame.check()?;
        }
        if !self.pages.is_sorted_by(|a, b| a.first <= b.first) {
            return Err("pages are not in path order");
        }
        check_nodes(&self.nodes, self.packs.len())
    }
}

/// Encodes the nodes of a page: the content of its frame.
pub fn encode_page(nodes: &Vec<Node>) -> Vec<u8> {
    codec::encode(nodes)
}

/// Why a page cannot be read although its digest matches.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// It does not decode.
    #[error("a manifest page cannot be decoded")]
    Decode(#[source] CodecError),
    /// It breaks a rule.
    #[error("a manifest page breaks its format: {0}")]
    Rule(&'static str),
}

/// Decodes what [`encode_page`] wrote and checks it against the pack table's length.
pub fn decode_page(bytes: &[u8], packs: usize) -> Result<Vec<Node>, PageError> {
    if bytes.len() > limits::PAGE as usize {
        return Err(PageError::Rule("it is over 16 MiB"));
    }
    let nodes: Vec<Node> = codec::decode(bytes).map_err(PageError::Decode)?;
    check_nodes(&nodes, packs).map_err(PageError::Rule)?;
    Ok(nodes)
}

fn check_nodes(nodes: &[Node], packs: usize) -> Result<(), &'static str> {
    nodes.iter().try_for_each(|node| node.check(packs))?;
    let in_order = nodes.is_sorted_by(|a, b| match b.what {
        What::More { .. } => a.path == b.path,
        _ => a.path < b.path,
    });
    if in_order { Ok(()) } else { Err("nodes are not in path order") }
}

/// Builds the digest of an artifact from its nodes, in path order.
///
/// Part of it: path, type, mode, content digest and length, link targets. Not part of it: times, owners,
/// where and how content is stored, holes.
#[derive(Debug)]
pub struct ArtifactDigest {
    hasher: blake3::Hasher,
    /// What is still to be hashed: short pieces one by one take several times as long.
    gathered: Vec<u8>,
}

/// So much is hashed at a time, in bytes.
const GATHERED: usize = 16 << 10;

impl Default for ArtifactDigest {
    fn default() -> Self {
        Self { hasher: blake3::Hasher::new_derive_key("kale-agent 2026-11-24 artifact"), gathered: Vec::new() }
    }
}

impl ArtifactDigest {
    /// Adds the next node; `More` nodes add nothing, since the file's digest covers them.
    pub fn push(&mut self, node: &Node) {
        let (tag, digest, bytes, target): (u8, Option<&Digest>, u64, &[u8]) = match &node.what {
            What::More { .. } => return,
            What::Folder => (b'd', None, 0, &[]),
            What::File { bytes, digest, .. } => (b'f', Some(digest), *bytes, &[]),
            What::Symlink { target } => (b'l', None, 0, target),
            What::HardLink { to } => (b'h', None, 0, to.as_bytes()),
            What::Fifo => (b'p', None, 0, &[]),
        };
        self.field(&[tag]);
        self.field(node.path.as_bytes());
        self.gathered.extend_from_slice(&node.mode.to_le_bytes());
        self.gathered.extend_from_slice(&bytes.to_le_bytes());
        self.field(digest.map_or(&[][..], |digest| &digest.0));
        self.field(target);
        if self.gathered.len() >= GATHERED {
            self.hasher.update(&self.gathered);
            self.gathered.clear();
        }
    }

    /// The digest of all that was pushed.
    pub fn finish(&self) -> Digest {
        self.hasher.clone().update(&self.gathered).finalize().into()
    }

    /// Adds a field with its length, so that no two sequences of fields hash alike.
    fn field(&mut self, bytes: &[u8]) {
        self.gathered.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.gathered.extend_from_slice(bytes);
    }
}
