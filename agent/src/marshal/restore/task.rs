//! What the workers of a restore do: read, verify, write.

use super::{
    super::{
        MarshalError,
        pack_reader::ChunkReader,
        pieces::{Piece, pieces},
    },
    file::{FileWriter, Traits},
    folders::Spot,
};
use crate::report::Monitor;
use kale_protocol::{chunk::Extent, id::PackId, path::ArtifactPath};
use std::{fmt, ops::Range, sync::Arc};

/// What a worker does.
pub(crate) enum Task<'s> {
    /// Whole files, start to end.
    Files(Vec<SmallFile<'s>>),
    /// One piece of a long file, and which bytes of the file are there already; who does the last one finishes it.
    Piece(Arc<FileWriter<'s>>, Piece, Range<u64>),
}

/// A file whose extents are all known.
pub(crate) struct SmallFile<'s> {
    /// Where it is made.
    pub(crate) spot: Spot<'s>,
    /// What it gets besides content.
    pub(crate) traits: Traits,
    /// Its content.
    pub(crate) extents: Vec<Extent>,
}

impl Task<'_> {
    /// Does it; `packs` is the manifest's table.
    pub(crate) fn run(
        self,
        chunks: &mut ChunkReader<'_>,
        packs: &[PackId],
        monitor: &dyn Monitor,
    ) -> Result<(), MarshalError> {
        match self {
            Self::Files(files) => {
                chunks.plan(files.iter().flat_map(|file| &file.extents).filter_map(|extent| match extent {
                    Extent::Raw { pack, offset, .. } => {
                        Some((packs[*pack as usize], *offset..*offset + extent.raw_bytes()))
                    }
                    _ => None,
                }));
                let bytes = files.iter().map(|file| file.traits.bytes).sum();
                files.into_iter().try_for_each(|file| restore_small(chunks, file, packs))?;
                monitor.advance(bytes);
                Ok(())
            }
            Self::Piece(file, piece, cloned) => {
                // Read, verified and written by one thread, while it is hot in that core's cache.
                if let Some(parts) = chunks.shared(&piece) {
                    let mut offset = piece.offset;
                    for part in parts {
                        write_outside(&file, offset, &part, &cloned)?;
                        offset += part.len() as u64;
                    }
                } else {
                    let content = chunks.piece(&piece, &Shown(file.path()))?;
                    write_outside(&file, piece.offset, content, &cloned)?;
                }
                monitor.advance(piece.bytes as u64);
                release(file)
            }
        }
    }
}

/// An artifact's path for messages.
struct Shown<'p>(&'p ArtifactPath);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_root() { f.write_str("the artifact") } else { write!(f, "'{}'", self.0) }
    }
}

fn restore_small(chunks: &mut ChunkReader<'_>, file: SmallFile<'_>, packs: &[PackId]) -> Result<(), MarshalError> {
    let writer = FileWriter::create(file.spot, file.traits)?;
    for piece in pieces(0, file.extents, packs) {
        writer.write(piece.offset, chunks.piece(&piece, &Shown(writer.path()))?)?;
    }
    writer.finish()
}

/// Writes what of some content is not there already.
fn write_outside(file: &FileWriter<'_>, offset: u64, content: &[u8], there: &Range<u64>) -> Result<(), MarshalError> {
    let end = offset + content.len() as u64;
    let (from, to) = (there.start.clamp(offset, end), there.end.clamp(offset, end));
    if from >= to {
        return file.write(offset, content);
    }
    file.skip(to - from);
    let (before, after) = (&content[..(from - offset) as usize], &content[(to - offset) as usize..]);
    for (at, part) in [(offset, before), (to, after)] {
        if !part.is_empty() {
            file.write(at, part)?;
        }
    }
    Ok(())
}

/// Gives up a long file, and finishes it if nobody else has it any more.
pub(crate) fn release(file: Arc<FileWriter<'_>>) -> Result<(), MarshalError> {
    Arc::into_inner(file).map_or(Ok(()), FileWriter::finish)
}

/// The pack's number and the offset in it of the frame that an extent lies in.
pub(crate) fn frame_of(extent: &Extent) -> Option<(u32, u64)> {
    match extent {
        Extent::Framed { pack, frame, .. } => Some((*pack, frame.offset)),
        _ => None,
    }
}
