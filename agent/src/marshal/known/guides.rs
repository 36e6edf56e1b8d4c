//! Where long files of earlier artifacts were cut, and what their chunks were: so that a file that is the same need not
//! be cut again to find that out.

use super::super::{cut, zeros::zeros_digest};
use kale_protocol::{
    chunk::{Chunk, Extent},
    digest::Digest,
    manifest::{Node, What},
    path::ArtifactPath,
};
use std::{collections::HashMap, iter, sync::Arc};

/// Shorter files are cut by one worker in one go.
const FROM: u64 = cut::MAX as u64;

/// The chunks of a file, one behind the other, none of them longer than [`cut::MAX`].
pub(crate) type Guide = Arc<[Chunk]>;

/// How long chunks are together.
pub(crate) fn bytes_of(chunks: &[Chunk]) -> u64 {
    chunks.iter().map(|chunk| u64::from(chunk.bytes)).sum()
}

/// Guides by the path of their file. Bounded: files that come after there is no room are not remembered.
#[derive(Clone, Debug, Default)]
pub(super) struct Guides {
    files: HashMap<ArtifactPath, Vec<Guide>>,
    /// How many chunks more may be remembered.
    room: usize,
    open: Option<Open>,
}

/// A file whose nodes are being added.
#[derive(Clone, Debug)]
struct Open {
    path: ArtifactPath,
    bytes: u64,
    chunks: Vec<Chunk>,
}

impl Guides {
    /// None yet, and at most so many chunks.
    pub(super) fn within(room: usize) -> Self {
        Self { room, ..Self::default() }
    }

    /// Those of files at a path.
    pub(super) fn at(&self, path: &ArtifactPath) -> &[Guide] {
        self.files.get(path).map_or(&[], Vec::as_slice)
    }

    /// Adds the next node of a manifest; a long file may go over several.
    pub(super) fn add(&mut self, node: &Node) {
        match &node.what {
            What::File { bytes, sparse: false, .. } if *bytes > FROM => {
                self.close();
                self.open = Some(Open { path: node.path.clone(), bytes: *bytes, chunks: Vec::new() });
            }
            What::More { .. } => {}
            _ => return self.close(),
        }
        let Some(mut open) = self.open.take() else { return };
        if open.path == node.path && node.extents().iter().all(|extent| open.extend(extent, self.room)) {
            self.open = Some(open);
        }
    }

    /// Keeps the last file, if it is whole.
    pub(super) fn close(&mut self) {
        let Some(Open { path, bytes, chunks }) = self.open.take() else { return };
        let fits = |chunk: &Chunk| (1..=cut::MAX as u32).contains(&chunk.bytes);
        if chunks.iter().all(fits) && bytes_of(&chunks) == bytes {
            self.room -= chunks.len();
            self.files.entry(path).or_default().push(chunks.into());
        }
    }
}

impl Open {
    /// Adds an extent's chunks; says whether there was room.
    fn extend(&mut self, extent: &Extent, room: usize) -> bool {
        let left = room.saturating_sub(self.chunks.len());
        match extent {
            Extent::Raw { chunks, .. } | Extent::Framed { chunks, .. } if chunks.len() <= left => {
                self.chunks.extend(chunks);
            }
            Extent::Zeros { count, chunk_bytes } if *count <= left as u64 && *chunk_bytes <= cut::MAX as u32 => {
                let chunk = Chunk { bytes: *chunk_bytes, digest: zeros_digest(*chunk_bytes) };
                self.chunks.extend(iter::repeat_n(chunk, *count as usize));
            }
            Extent::Inline { content } if left > 0 => {
                self.chunks.push(Chunk { bytes: content.len() as u32, digest: Digest::of(content) });
            }
            _ => return false,
        }
        true
    }
}
