//! How a batch is to be stored.

use super::{
    super::{MarshalError, cut::Rule, segment::Segment},
    Compress, LEVEL,
    hashed::HashedChunk,
};

/// A batch of which at most one in so many bytes is new is mostly known.
const FEW: u64 = 4;

/// A compressed frame must save so much to be worth decoding.
pub(super) const AUTO_PERCENT: u64 = 90;

/// Parts of a typed file up to this length are stored as their neighbours are, so that these stay one extent.
const SHORT_PART: u64 = 1 << 20;

/// How a batch is to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// As it is, and as few runs as it may be: what is known to lie in frames is written again.
    Raw,
    /// As it is where much is new; what is known stays where it is, in frames, too.
    Plain,
    /// Compressed, where that makes it less than so many per cent; bytes of elements of this width apart.
    Zstd { level: i32, percent: u64, probe: bool, width: u8 },
}

impl Policy {
    /// For content of which nothing is known beforehand.
    pub(super) fn blind(compress: Compress) -> Self {
        match compress {
            Compress::Auto => Self::Zstd { level: LEVEL, percent: AUTO_PERCENT, probe: true, width: 1 },
            Compress::Never => Self::Raw,
            Compress::Plain => Self::Plain,
            Compress::Zstd(level) => Self::Zstd { level, percent: 100, probe: false, width: 1 },
        }
    }

    /// For a segment of a file that has typed ones or not, decided once, so that what is raw is one run.
    pub(super) fn of(
        compress: Compress,
        segment: &Segment,
        typed: bool,
        compresses: impl FnOnce() -> Result<bool, MarshalError>,
    ) -> Result<Self, MarshalError> {
        let raw = match compress {
            Compress::Never => true,
            Compress::Zstd(_) => false,
            _ if segment.rule == Rule::Fixed || typed && segment.bytes() <= SHORT_PART => true,
            Compress::Plain => false,
            Compress::Auto => !compresses()?,
        };
        Ok(match Self::blind(compress) {
            _ if raw => Self::Raw,
            Self::Zstd { level, percent, .. } => Self::Zstd { level, percent, probe: false, width: 1 },
            as_it_is => as_it_is,
        })
    }
}

/// What a fast medium has of a batch that is mostly known: a little that is new is compressed in no time, and the second
/// version of what was compressed is no longer than the first one's share of it.
pub(super) fn among_known(chunks: &[HashedChunk], members: &[usize]) -> Policy {
    let all: u64 = chunks.iter().map(|hashed| u64::from(hashed.chunk.bytes)).sum();
    let new: u64 = members.iter().map(|index| u64::from(chunks[*index].chunk.bytes)).sum();
    if new <= all / FEW { Policy::blind(Compress::Auto) } else { Policy::Plain }
}
