//! What can go wrong between content and chunks.

use crate::store::StoreError;
use kale_protocol::{digest::Digest, exit::Code, manifest::PageError, path::PathError};
use std::{io, path::PathBuf};

/// A failure to save or restore content, with the place where it happened.
#[derive(Debug, thiserror::Error)]
pub enum MarshalError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A local file or folder failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The local path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file changed while it was saved: what was read may be no version that ever was.
    #[error("{} changed while it was saved ({how})", path.display())]
    Changed {
        /// The local path.
        path: PathBuf,
        /// What changed, such as `its length went from 10 to 12 bytes`.
        how: String,
    },
    /// An entry that cannot be an artifact or a part of one.
    #[error("{} is a {what}, which cannot be stored", path.display())]
    Refused {
        /// The local path.
        path: PathBuf,
        /// What it is, such as `socket`.
        what: &'static str,
    },
    /// A local path is longer than an artifact's path may be.
    #[error("{} cannot be stored", path.display())]
    Path {
        /// The local path.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: PathError,
    },
    /// Stored bytes are not what their digest says.
    #[error("{what} is damaged: chunk {chunk} in {place} does not match its digest")]
    Damaged {
        /// The artifact or file that needs it.
        what: String,
        /// The chunk.
        chunk: Digest,
        /// Pack and offset.
        place: String,
    },
    /// A manifest page is damaged.
    #[error("the manifest {manifest} is damaged")]
    Page {
        /// The manifest.
        manifest: Digest,
        /// What is wrong with it.
        #[source]
        source: PageError,
    },
    /// A manifest breaks a rule that needs all of it to be seen.
    #[error("the manifest {manifest} is damaged: {rule}")]
    Manifest {
        /// The manifest.
        manifest: Digest,
        /// The rule.
        rule: &'static str,
    },
    /// There is no such path in the artifact.
    #[error("the artifact has no '{path}'")]
    NoSuchPath {
        /// The path.
        path: String,
    },
    /// Something stands where an artifact is to be restored.
    #[error("{} is there already, and restoring never overwrites: move it away, or give another path", path.display())]
    Occupied {
        /// The local path.
        path: PathBuf,
    },
    /// The content is not of the format that was expected.
    #[error("this is no {format}: {why}")]
    Format {
        /// The format.
        format: &'static str,
        /// Why not.
        why: String,
    },
}

impl MarshalError {
    /// The exit code for it.
    pub fn code(&self) -> Code {
        match self {
            Self::Store(error) => error.code(),
            Self::Io { .. } => Code::Io,
            Self::Occupied { .. } => Code::Usage,
            Self::Changed { .. } | Self::Refused { .. } | Self::Path { .. } => Code::Output,
            Self::Damaged { .. } | Self::Page { .. } | Self::Manifest { .. } => Code::Damaged,
            Self::NoSuchPath { .. } | Self::Format { .. } => Code::Missing,
        }
    }
}
