//! Reads manifests: the root once, then nodes in order, one page in memory at a time, three if they are loaded ahead.

use super::{
    MarshalError,
    manifest_rules::{Rules, check_root},
    pack_reader::read_frame,
};
use crate::store::{StoreError, Transport};
use crossbeam_channel::{Receiver, bounded};
use kale_protocol::{
    digest::Digest,
    envelope::HEADER_BYTES,
    layout, limits,
    manifest::{Manifest, Node, What, decode_page},
    object::Object,
    path::ArtifactPath,
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::Scope,
    vec,
};

/// An opened manifest: its root is in memory and verified, its pages are read when they are needed.
#[derive(Debug)]
pub struct ManifestReader<'t> {
    transport: &'t dyn Transport,
    id: Digest,
    manifest: Manifest,
    /// The page that a path was last looked up in: links refer to neighbours, mostly.
    last_page: Mutex<Option<(usize, Arc<Vec<Node>>)>>,
}

impl<'t> ManifestReader<'t> {
    /// Reads a manifest's root and checks it against its id.
    pub fn open(transport: &'t dyn Transport, id: &Digest) -> Result<Self, MarshalError> {
        let key = layout::manifest(id);
        let object = transport.read(&key, limits::MANIFEST + HEADER_BYTES as u64)?;
        if Digest::of(&object) != *id {
            let what = format!("the manifest {id}");
            return Err(MarshalError::Damaged { what, chunk: *id, place: key.to_string() });
        }
        let store = || transport.location().to_owned();
        let manifest = Manifest::from_object(&object).map_err(|source| StoreError::Object {
            store: store(),
            key: key.clone(),
            source,
        })?;
        Ok(Self { transport, id: *id, manifest, last_page: Mutex::new(None) })
    }

    /// The manifest's id.
    pub fn id(&self) -> &Digest {
        &self.id
    }

    /// The root: shape, totals, packs. Its `nodes` are only the last ones where there are pages.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// All nodes in path order, each checked against all before it.
    pub fn nodes(&self) -> Nodes<'_, 't> {
        Nodes::new(self, Cursor::default(), ArtifactPath::root())
    }

    /// The same, with a thread that loads pages while the ones before are gone through: three are in memory at most.
    pub fn nodes_ahead<'s>(&'s self, scope: &'s Scope<'s, '_>) -> Nodes<'s, 't> {
        let mut nodes = self.nodes();
        if self.manifest.pages.len() > 1 {
            let (loaded, ahead) = bounded(1);
            nodes.cursor.ahead = Some(ahead);
            scope.spawn(move || {
                // An error says that nobody wants more.
                let _ = (0..self.manifest.pages.len()).try_for_each(|page| loaded.send(self.load_page(page)));
            });
        }
        nodes
    }

    /// The node at a path and all below it, in path order; [`MarshalError::NoSuchPath`] where there is none.
    ///
    /// Rules about the whole artifact, such as its totals, are checked only from the root.
    pub fn nodes_at(&self, path: &ArtifactPath) -> Result<Nodes<'_, 't>, MarshalError> {
        if path.is_root() {
            return Ok(self.nodes());
        }
        let (page, index, _) = self.locate(path)?.ok_or_else(|| self.missing(path))?;
        Ok(Nodes::new(self, Cursor::at(page, index), path.clone()))
    }

    /// Finds the node at a path by binary search over pages; of a long file this is the first part.
    pub fn find(&self, path: &ArtifactPath) -> Result<Option<Node>, MarshalError> {
        Ok(self.locate(path)?.map(|(_, _, node)| node))
    }

    /// Finds a regular file, through a hard link if need be.
    pub(crate) fn find_file(&self, path: &ArtifactPath) -> Result<ArtifactPath, MarshalError> {
        let node = self.find(path)?.ok_or_else(|| self.missing(path))?;
        match node.what {
            What::File { .. } => Ok(node.path),
            What::HardLink { to } => {
                self.check_link(&to)?;
                Ok(to)
            }
            _ => Err(MarshalError::Format { format: "regular file", why: format!("'{path}' is of another kind") }),
        }
    }

    /// A part of a long file: the node at its path, or one of those with more extents behind it.
    pub(crate) fn file_part(&self, path: &ArtifactPath, number: usize) -> Result<Option<Node>, MarshalError> {
        let Some((mut page, index, _)) = self.locate(path)? else {
            return Ok(None);
        };
        let mut left = index + number;
        loop {
            let here = |nodes: &[Node]| (nodes.get(left).filter(|node| node.path == *path).cloned(), nodes.len());
            let (node, nodes) = match self.manifest.pages.get(page) {
                Some(_) => here(&self.cached_page(page)?),
                None => return Ok(here(&self.manifest.nodes).0),
            };
            if node.is_some() || left < nodes {
                return Ok(node);
            }
            // A page tells how many nodes it has: those between are passed over unread.
            left -= nodes;
            page += 1;
            while let Some(passed) = self.manifest.pages.get(page).filter(|next| left >= next.nodes as usize) {
                left -= passed.nodes as usize;
                page += 1;
            }
        }
    }

    /// An error that names this manifest and a rule.
    pub(crate) fn broken(&self, rule: &'static str) -> MarshalError {
        MarshalError::Manifest { manifest: self.id, rule }
    }

    /// The error for a path that is not there; every artifact has a root.
    pub(crate) fn missing(&self, path: &ArtifactPath) -> MarshalError {
        if path.is_root() {
            return self.broken("its first node is not the root");
        }
        MarshalError::NoSuchPath { path: path.to_string() }
    }

    fn check_link(&self, to: &ArtifactPath) -> Result<(), MarshalError> {
        match self.find(to)? {
            Some(Node { what: What::File { .. }, .. }) => Ok(()),
            _ => Err(self.broken("a hard link refers to what is no file")),
        }
    }

    /// Page, index in it, and node; the root's own nodes are the page behind the last.
    fn locate(&self, path: &ArtifactPath) -> Result<Option<(usize, usize, Node)>, MarshalError> {
        let pages = &self.manifest.pages;
        // A file whose extents go on over page borders begins before the pages that begin with its path.
        let after = pages.partition_point(|page| page.first < *path);
        for page in after.saturating_sub(1)..=after.min(pages.len()) {
            let found = |nodes: &[Node]| {
                let index = nodes.partition_point(|node| node.path < *path);
                let node = nodes.get(index).filter(|node| node.path == *path)?;
                (!matches!(node.what, What::More { .. })).then(|| (page, index, node.clone()))
            };
            let hit = match pages.get(page) {
                Some(_) => found(&self.cached_page(page)?),
                None => found(&self.manifest.nodes),
            };
            if hit.is_some() {
                return Ok(hit);
            }
        }
        Ok(None)
    }

    fn cached_page(&self, page: usize) -> Result<Arc<Vec<Node>>, MarshalError> {
        let mut last = self.last_page.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((number, nodes)) if *number == page => Ok(Arc::clone(nodes)),
            _ => {
                *last = None;
                let nodes = Arc::new(self.load_page(page)?);
                *last = Some((page, Arc::clone(&nodes)));
                Ok(nodes)
            }
        }
    }

    fn load_page(&self, number: usize) -> Result<Vec<Node>, MarshalError> {
        let page = &self.manifest.pages[number];
        let packs = &self.manifest.packs;
        let what = format_args!("page {number} of the manifest {}", self.id).to_string();
        let bytes = read_frame(self.transport, packs[page.pack as usize], page.frame, &page.digest, &what)?;
        let nodes =
            decode_page(&bytes, packs.len()).map_err(|source| MarshalError::Page { manifest: self.id, source })?;
        if nodes.len() != page.nodes as usize || nodes.first().is_none_or(|node| node.path != page.first) {
            return Err(self.broken("a page is not the one that its root describes"));
        }
        Ok(nodes)
    }
}

/// Where a stream of nodes is.
#[derive(Debug, Default)]
struct Cursor {
    /// The page to load next; the number of pages once only the root's own nodes are left.
    page: usize,
    /// How many nodes to pass over in that page.
    skip: usize,
    loaded: vec::IntoIter<Node>,
    /// The pages in order, from another thread.
    ahead: Option<Receiver<Result<Vec<Node>, MarshalError>>>,
}

impl Cursor {
    fn at(page: usize, skip: usize) -> Self {
        Self { page, skip, ..Self::default() }
    }

    fn next(&mut self, reader: &ManifestReader<'_>) -> Result<Option<Node>, MarshalError> {
        loop {
            if let Some(node) = self.loaded.next() {
                return Ok(Some(node));
            }
            if self.page >= reader.manifest.pages.len() {
                let node = reader.manifest.nodes.get(self.skip).cloned();
                self.skip += 1;
                return Ok(node);
            }
            // The old page goes before the new one comes: one is in memory.
            self.loaded = Vec::new().into_iter();
            let ahead = self.ahead.as_ref().and_then(|ahead| ahead.recv().ok());
            let mut nodes = ahead.unwrap_or_else(|| reader.load_page(self.page))?;
            nodes.drain(..self.skip.min(nodes.len()));
            self.loaded = nodes.into_iter();
            self.page += 1;
            self.skip = 0;
        }
    }
}

/// Nodes in path order, each checked against all before it; ends after the first error.
///
/// What it yields is a tree: the first node is the one that was asked for, and every other lies in a folder that came
/// before. Only the end of the stream, without an error, says that the manifest is whole.
#[derive(Debug)]
pub struct Nodes<'r, 't> {
    reader: &'r ManifestReader<'t>,
    cursor: Cursor,
    base: ArtifactPath,
    rules: Rules,
    begun: bool,
    ended: bool,
}

impl<'r, 't> Nodes<'r, 't> {
    fn new(reader: &'r ManifestReader<'t>, cursor: Cursor, base: ArtifactPath) -> Self {
        Self { reader, cursor, rules: Rules::new(base.clone()), base, begun: false, ended: false }
    }

    fn advance(&mut self) -> Result<Option<Node>, MarshalError> {
        let next = self.cursor.next(self.reader)?.filter(|node| node.path.is_within(&self.base));
        let Some(node) = next else {
            self.rules.finish(&self.reader.manifest).map_err(|rule| self.reader.broken(rule))?;
            return Ok(None);
        };
        self.rules.push(&node).map_err(|rule| self.reader.broken(rule))?;
        if !self.begun && self.base.is_root() {
            check_root(self.reader.manifest.shape, &node).map_err(|rule| self.reader.broken(rule))?;
        }
        self.begun = true;
        if let What::HardLink { to } = &node.what {
            self.reader.check_link(to)?;
        }
        Ok(Some(node))
    }
}

impl Iterator for Nodes<'_, '_> {
    type Item = Result<Node, MarshalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.advance().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}
