//! Splits content where the parts of a known format begin: rule 1 of `docs/formats/chunking.md`.
//!
//! Where segments begin decides digests, so every limit in this folder is format, too. Parsers take untrusted bytes:
//! counts and lengths are checked before memory is taken, arithmetic is checked, and tables that are not sound give no
//! segments.

mod arrow;
mod npy;
mod parquet;
mod safetensors;
mod zip;

use super::cut::{MIN, Rule};
use std::{fs::File, io, os::unix::fs::FileExt};

/// Shorter segments are joined to the one before.
const SHORTEST: u64 = 4 << 10;
/// Where there would be more, all content is one segment.
const MOST: usize = 1 << 16;
/// Parts of this length and more begin a segment where the table says so.
const LARGE_PART: u64 = 64 << 10;
/// The longest table that is read whole, in bytes.
const TABLE: u64 = 16 << 20;
/// The most starts that a table may name before they are joined.
const STARTS: usize = 1 << 20;
/// How many bytes at the start of content tell whether it can be of a known format.
pub(crate) const MAGIC_BYTES: usize = 12;

/// Content that can be read anywhere.
pub(crate) trait ReadAt {
    /// Fills `buffer` from `offset` on; content that ends earlier is an error.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let part = rest.get(..buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(part);
        Ok(())
    }
}

/// A format that is known by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Npy,
    Safetensors,
    Zip,
    Arrow,
    Parquet,
}

impl Format {
    /// Its word in a manifest.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Npy => "npy",
            Self::Safetensors => "safetensors",
            Self::Zip => "zip",
            Self::Arrow => "arrow",
            Self::Parquet => "parquet",
        }
    }

    /// The format that content with these first bytes can have; whether it has it, its tables say.
    pub(crate) fn of_magic(first: &[u8]) -> Option<Self> {
        match first {
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Some(Self::Npy),
            [b'P', b'K', 3, 4, ..] => Some(Self::Zip),
            [b'A', b'R', b'R', b'O', b'W', b'1', 0, 0, ..] => Some(Self::Arrow),
            [b'P', b'A', b'R', b'1', ..] => Some(Self::Parquet),
            [_, _, _, _, 0, 0, 0, 0, b'{', ..] => Some(Self::Safetensors),
            _ => None,
        }
    }
}

/// A part of content that is cut by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Its first byte.
    pub(crate) start: u64,
    /// The byte after its last.
    pub(crate) end: u64,
    /// How it is cut; [`Rule::Fixed`] for typed segments.
    pub(crate) rule: Rule,
}

impl Segment {
    /// Its length.
    pub(crate) const fn bytes(&self) -> u64 {
        self.end - self.start
    }
}

/// Where a segment begins, as a parser says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Start {
    at: u64,
    rule: Rule,
}

/// A file's format, where its tables are sound, and its segments: none for empty content, one where nothing is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segments {
    /// The format.
    pub(crate) format: Option<Format>,
    /// The segments, which fill the content.
    pub(crate) segments: Vec<Segment>,
}

/// Recognises content and splits it. Content up to 64 KiB is one segment, whatever its format.
pub(crate) fn split(content: &(impl ReadAt + ?Sized), bytes: u64) -> Segments {
    let found = recognise(content, bytes);
    let format = found.as_ref().map(|(format, _)| *format);
    let starts = found.map(|(_, starts)| starts).filter(|_| bytes > MIN as u64).unwrap_or_default();
    Segments { format, segments: joined(starts, bytes) }
}

/// The format and the starts of its parts; `None` where it is not known, not sound or over the limits.
fn recognise(content: &(impl ReadAt + ?Sized), bytes: u64) -> Option<(Format, Vec<Start>)> {
    let mut first = [0; MAGIC_BYTES];
    if bytes < first.len() as u64 {
        return None;
    }
    content.read_exact_at(&mut first, 0).ok()?;
    let format = Format::of_magic(&first)?;
    let starts = match format {
        Format::Npy => npy::starts(content, bytes),
        Format::Safetensors => safetensors::starts(content, bytes),
        Format::Zip => zip::starts(content, bytes),
        Format::Arrow => arrow::starts(content, bytes),
        Format::Parquet => parquet::starts(content, bytes),
    }?;
    let ascending = starts.is_sorted_by(|a, b| a.at < b.at) && starts.last().is_none_or(|last| last.at <= bytes);
    ascending.then_some((format, starts))
}

/// Segments from starts: the first begins at 0, short ones are joined to the one before.
fn joined(starts: Vec<Start>, bytes: u64) -> Vec<Segment> {
    let whole = Segment { start: 0, end: bytes, rule: Rule::Content };
    if bytes == 0 {
        return Vec::new();
    }
    let head = match starts.first() {
        Some(first) if first.at == 0 => None,
        _ => Some(Start { at: 0, rule: Rule::Content }),
    };
    let starts: Vec<Start> = head.into_iter().chain(starts).collect();
    let mut segments: Vec<Segment> = Vec::new();
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).map_or(bytes, |next| next.at);
        match segments.last_mut() {
            Some(last) if end - start.at < SHORTEST => last.end = end,
            _ => segments.push(Segment { start: start.at, end, rule: start.rule }),
        }
    }
    if segments.len() > MOST { vec![whole] } else { segments }
}

/// Sorts the parts of a table and turns them into starts; `None` where they overlap or one ends beyond `end`.
fn in_order(mut parts: Vec<(u64, u64)>, end: u64) -> Option<Vec<(u64, u64)>> {
    parts.sort_unstable();
    let sound = parts.is_sorted_by(|a, b| a.1 <= b.0) && parts.last().is_none_or(|last| last.1 <= end);
    sound.then_some(parts)
}

/// Reads a table of checked length.
fn table(content: &(impl ReadAt + ?Sized), offset: u64, bytes: u64) -> Option<Vec<u8>> {
    let mut table = vec![0; usize::try_from(bytes).ok().filter(|_| bytes <= TABLE)?];
    content.read_exact_at(&mut table, offset).ok()?;
    Some(table)
}

fn le_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn le_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn le_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(at: u64) -> Start {
        Start { at, rule: Rule::Fixed }
    }

    #[test]
    fn short_segments_are_joined_and_all_content_is_covered() {
        let segments = joined(vec![start(100), start(10_000), start(10_100), start(30_000)], 31_000);
        let shown: Vec<_> = segments.iter().map(|s| (s.start, s.end, s.rule)).collect();
        assert_eq!(shown, [(0, 100, Rule::Content), (100, 10_100, Rule::Fixed), (10_100, 31_000, Rule::Fixed)]);
        assert_eq!(joined(Vec::new(), 0), []);
    }

    #[test]
    fn too_many_segments_are_none() {
        let starts = |count: u64| (0..count).map(|i| start(i * 4096)).collect::<Vec<_>>();
        assert_eq!(joined(starts(MOST as u64), MOST as u64 * 4096).len(), MOST);
        assert_eq!(joined(starts(MOST as u64 + 1), (MOST as u64 + 1) * 4096).len(), 1);
    }

    #[test]
    fn noise_behind_every_magic_gives_no_segments() {
        for magic in [&b"\x93NUMPY\x01\x00"[..], b"PK\x03\x04", b"ARROW1\0\0", b"PAR1", b"\x10\0\0\0\0\0\0\0{"] {
            for seed in 0..50u64 {
                let mut content = vec![0; 100_000];
                blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut content);
                content[..magic.len()].copy_from_slice(magic);
                let end = content.len() - 8;
                content[end..].copy_from_slice(if magic == b"PAR1" { b"\x40\0\0\0PAR1" } else { b"\0\x01ARROW1" });
                let split = split(&content[..], content.len() as u64);
                assert_eq!(split.segments.len(), 1, "{magic:?} {seed}");
            }
        }
    }
}
