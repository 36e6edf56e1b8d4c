//! What the assembler gets.

use super::{
    super::{MarshalError, known::Guide, segment::Format, source::Regular},
    adopt::Adoptable,
    hashed::Hashed,
    policy::Policy,
};
use crossbeam_channel::Sender;
use kale_protocol::{
    manifest::{Node, Shape},
    path::ArtifactPath,
};
use std::{ops::Range, sync::Arc};

/// What the assembler gets, in path order.
pub(super) enum Item {
    /// Entries that are whole, with the batch that holds the content of the files among them.
    Group {
        entries: Vec<Entry>,
        batch: Option<Hashed>,
        /// Whether nothing else comes before or after it.
        only: bool,
    },
    /// A large file begins.
    Begin { path: ArtifactPath, mode: u16, modified_ns: i64, sparse: bool, adopt: Option<Adoptable> },
    /// Its next chunks.
    Batch(Hashed),
    /// Its next chunks, which are known: the same as in an earlier artifact.
    Same(Same),
    /// Its next chunks, of zeros, from a hole.
    Hole { count: u64, chunk_bytes: u32 },
    /// It ends; a file that the workers have read has to be the one that it was. Where the store may take it, whoever
    /// walks on wants to know when that is done or not.
    End { file: Option<Arc<Regular>>, settled: Option<Sender<()>> },
    /// All was read.
    Done(Outline),
}

/// What a source turned out to be.
#[derive(Debug)]
pub(super) struct Outline {
    pub(super) shape: Shape,
    pub(super) format: Option<Format>,
    /// Bytes a second that the medium took, if it was tried out.
    pub(super) tried: Option<u64>,
}

/// Chunks of a file that were compared with an earlier artifact's.
pub(super) struct Same {
    pub(super) file: Arc<Regular>,
    pub(super) guide: Guide,
    pub(super) chunks: Range<usize>,
    /// Where the first of them starts.
    pub(super) offset: u64,
    pub(super) policy: Policy,
}

/// One entry of a group.
pub(super) enum Entry {
    /// No file.
    Node(Node),
    /// A file whose content is the batch's next file, or nothing.
    File { path: ArtifactPath, mode: u16, modified_ns: i64, sparse: bool, empty: bool },
}

/// Why feeding ends early.
pub(super) enum Stop {
    /// The assembler takes no more; it knows why.
    Gone,
    Failed(MarshalError),
}

impl From<MarshalError> for Stop {
    fn from(error: MarshalError) -> Self {
        Self::Failed(error)
    }
}
