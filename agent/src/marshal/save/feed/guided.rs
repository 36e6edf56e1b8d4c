//! Files that are what they were in an earlier artifact, or begin so: neither cut nor kept, only hashed.
//!
//! Cuts are a function of content alone, so this must find the cuts that cutting would. Two rules make it so. A file of
//! which every chunk is the one that the earlier artifact had, and which is as long, has its content, and with it its
//! cuts. And where no format tells of segments, a cut depends on the bytes from its chunk's first on, [`cut::MAX`] of
//! them at most: chunks of which so much is the same are cut the same. All else is cut as if nothing were known.

use super::super::{
    super::{
        cut::{self, Rule},
        known::{Guide, bytes_of},
        segment::{Format, MAGIC_BYTES, Segment},
        source::Regular,
    },
    buffer::PART,
    compare::{Comparer, is_same},
    item::{Item, Same, Stop},
    policy::Policy,
    work::Task,
};
use super::{Feeder, MarshalError};
use kale_protocol::{chunk::Chunk, path::ArtifactPath};
use std::{ops::Range, sync::Arc};

/// The first chunks of a file, which are those of its guide.
pub(super) struct Found {
    guide: Guide,
    /// Those that are still to be sent, and where they start.
    left: Range<usize>,
    at: u64,
    /// Where the last of them ends.
    pub(super) end: u64,
}

impl Feeder<'_, '_> {
    /// Compares a file with what earlier artifacts had under its path; none where that gains nothing.
    pub(super) fn same(
        &mut self,
        file: &Arc<Regular>,
        path: &ArtifactPath,
        segments: &[Segment],
    ) -> Result<Option<Found>, Stop> {
        let cut: u64 = segments.iter().filter(|segment| segment.rule == Rule::Content).map(Segment::bytes).sum();
        if file.is_sparse() || cut <= cut::MAX as u64 {
            return Ok(None);
        }
        let known = self.known;
        for guide in known.guides(path).iter().filter(|guide| guide.iter().all(|chunk| known.holds(chunk))) {
            let likeness = Likeness::of(file, guide, segments)?;
            if likeness == Likeness::None {
                continue;
            }
            let same = self.compare(file, guide)?;
            let chunks = match likeness {
                Likeness::Whole { .. } if same == guide.len() => same,
                Likeness::Whole { free: true } | Likeness::Start => settled(&guide[..same]),
                Likeness::Whole { free: false } | Likeness::None => 0,
            };
            if chunks > 0 {
                let end = bytes_of(&guide[..chunks]);
                return Ok(Some(Found { guide: Arc::clone(guide), left: 0..chunks, at: 0, end }));
            }
        }
        Ok(None)
    }

    /// How many of the guide's first chunks the file has. Stops soon after the first that is another.
    fn compare(&mut self, file: &Arc<Regular>, guide: &Guide) -> Result<usize, Stop> {
        let comparer = Comparer::new(Arc::clone(file), Arc::clone(guide));
        let (mut at, mut next) = (0, 0);
        loop {
            let (chunks, end) = part(guide, next, at, file.bytes());
            if chunks.is_empty() {
                break;
            }
            next = chunks.end;
            let Some(task) = comparer.task(chunks, at) else { break };
            self.tasks.send(Task::Compare(task)).map_err(|_| Stop::Gone)?;
            at = end;
        }
        Ok(comparer.finish().min(next))
    }

    /// Sends what was found of a segment, and says what is left of it.
    pub(super) fn send_same(
        &mut self,
        found: &mut Found,
        file: &Arc<Regular>,
        segment: Segment,
        policy: Policy,
    ) -> Result<Segment, Stop> {
        let (first, offset) = (found.left.start, found.at);
        while let Some(chunk) =
            found.guide.get(found.left.start).filter(|_| !found.left.is_empty() && found.at < segment.end)
        {
            found.at += u64::from(chunk.bytes);
            found.left.start += 1;
        }
        if found.left.start > first {
            let (file, guide) = (Arc::clone(file), Arc::clone(&found.guide));
            self.send(Item::Same(Same { file, guide, chunks: first..found.left.start, offset, policy }))?;
        }
        Ok(Segment { start: segment.start.max(found.at).min(segment.end), ..segment })
    }
}

/// What a guide may be good for, by what costs little to find out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Likeness {
    /// The file may be the same; where it is free of tables, a part of it is of use, too.
    Whole {
        free: bool,
    },
    /// It may begin with the same bytes.
    Start,
    None,
}

impl Likeness {
    /// Looks at the guide's first and last chunk.
    fn of(file: &Regular, guide: &Guide, segments: &[Segment]) -> Result<Self, MarshalError> {
        let (Some(first), Some(last)) = (guide.first(), guide.last()) else { return Ok(Self::None) };
        let mut magic = [0; MAGIC_BYTES];
        file.read_exact(&mut magic, 0)?;
        let free = Format::of_magic(&magic).is_none();
        let mut content = vec![0; cut::MAX];
        if bytes_of(guide) == file.bytes()
            && ends_with(guide, segments)
            && is_same(file, file.bytes() - u64::from(last.bytes), last, &mut content)?
        {
            return Ok(Self::Whole { free });
        }
        Ok(if free && is_same(file, 0, first, &mut content)? { Self::Start } else { Self::None })
    }
}

/// Whether a guide has a cut at the end of each segment.
fn ends_with(guide: &[Chunk], segments: &[Segment]) -> bool {
    let mut ends = segments.iter().map(|segment| segment.end).peekable();
    let mut at = 0;
    guide.iter().all(|chunk| {
        at += u64::from(chunk.bytes);
        ends.next_if_eq(&at);
        ends.peek().is_none_or(|end| *end > at)
    }) && ends.next().is_none()
}

/// How many of the first chunks, all of them the same, were cut by bytes that are the same.
fn settled(same: &[Chunk]) -> usize {
    let bytes = bytes_of(same);
    let mut end = 0;
    let window = |chunk: &&Chunk| {
        let start = end;
        end += u64::from(chunk.bytes);
        start + cut::MAX as u64 <= bytes
    };
    same.iter().take_while(window).count()
}

/// The next chunks for a worker, and where they end: none of them beyond the end of the file.
fn part(guide: &[Chunk], first: usize, at: u64, end: u64) -> (Range<usize>, u64) {
    let (mut next, mut until) = (first, at);
    while let Some(chunk) = guide.get(next)
        && until + u64::from(chunk.bytes) <= end.min(at + PART as u64)
    {
        until += u64::from(chunk.bytes);
        next += 1;
    }
    (first..next, until)
}
