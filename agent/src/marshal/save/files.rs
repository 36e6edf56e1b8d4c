//! The content of the files of a group: read, cut where it is long, and hashed, file by file, by a worker.

use super::{
    super::{
        MarshalError,
        cut::{self, Rule},
        probe::Probe,
        segment::{self, Segment},
        source::Regular,
    },
    Compress,
    buffer::Buffer,
    hashed::HashedChunk,
    policy::Policy,
};
use std::{ops::Range, sync::Arc};

/// Files whose content has its place in one buffer, in order.
pub(super) struct Files {
    pub(super) members: Vec<Member>,
    pub(super) compress: Compress,
}

/// A file of a group that has content.
pub(super) struct Member {
    pub(super) place: Range<usize>,
    /// The file, where its content is still to be read.
    pub(super) left: Option<Left>,
}

/// A file that is left to a worker.
pub(super) struct Left {
    pub(super) file: Regular,
    /// How many of these there are tells how many files are open.
    pub(super) _permit: Arc<()>,
}

impl Files {
    /// The chunks of all files, and how many each of them has.
    pub(super) fn hash(self, buffer: &mut Buffer) -> Result<(Vec<HashedChunk>, Vec<usize>), MarshalError> {
        let mut chunks = Vec::with_capacity(self.members.len());
        let mut counts = Vec::with_capacity(self.members.len());
        for Member { place, left } in self.members {
            let content = &mut buffer.bytes[place.clone()];
            if let Some(Left { file, .. }) = left {
                file.read_exact(content, 0)?;
                file.check_unchanged()?;
            }
            let before = chunks.len();
            if content.len() <= cut::MIN {
                chunks.push(HashedChunk::of(content, place.start));
            } else {
                long(content, place.start, self.compress, &mut chunks)?;
            }
            counts.push(chunks.len() - before);
        }
        Ok((chunks, counts))
    }
}

/// Adds the chunks of a file that may have several.
fn long(content: &[u8], start: usize, compress: Compress, chunks: &mut Vec<HashedChunk>) -> Result<(), MarshalError> {
    let bytes = content.len() as u64;
    let segments = segment::split(content, bytes).segments;
    let typed = segments.iter().any(|segment| segment.rule == Rule::Fixed);
    let all = Segment { start: 0, end: bytes, rule: Rule::Content };
    // What is kept as it is lies in one piece, and can be mapped.
    let run = Policy::of(compress, &all, typed, || Ok(Probe::of(content)))? == Policy::Raw;
    for segment in &segments {
        let (mut at, end, mut tested) = (segment.start as usize, segment.end as usize, 0);
        while at < end {
            let window = &content[at..end.min(at + cut::MAX)];
            let length = segment.rule.first_chunk(window, true, &mut tested).unwrap_or(window.len());
            chunks.push(HashedChunk { run, ..HashedChunk::of(&window[..length], start + at) });
            at += length;
        }
    }
    Ok(())
}
