//! Content that lies in several places, one behind the other, and is read as one file.

use super::super::segment::ReadAt;
use crate::snapshot::Snapshot;
use nix::{
    errno::Errno,
    sys::{
        memfd::{MFdFlags, memfd_create},
        stat::{FileStat, fstat},
    },
};
use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, sync::Arc};

/// A place of some content.
#[derive(Debug)]
pub enum Stripe {
    /// All of a file.
    File(File),
    /// Memory of a process that does not change.
    Memory(Stretch),
}

impl From<File> for Stripe {
    fn from(file: File) -> Self {
        Self::File(file)
    }
}

/// A stretch of a snapshot, by address.
#[derive(Debug)]
pub struct Stretch {
    of: Arc<Snapshot>,
    place: Range<u64>,
    /// What an empty file is.
    like: Arc<FileStat>,
}

impl Stretch {
    /// Stretches of one snapshot. An error where there is no memory file to be had, as which they count.
    pub(crate) fn of(snapshot: &Arc<Snapshot>, places: impl Iterator<Item = Range<u64>>) -> io::Result<Vec<Self>> {
        let like = Arc::new(fstat(memfd_create(c"kale", MFdFlags::MFD_CLOEXEC)?)?);
        Ok(places.map(|place| Self { of: Arc::clone(snapshot), place, like: Arc::clone(&like) }).collect())
    }
}

impl Stripe {
    pub(super) fn stat(&self) -> Result<FileStat, Errno> {
        match self {
            Self::File(file) => fstat(file),
            Self::Memory(Stretch { place, like, .. }) => {
                let bytes = place.end - place.start;
                let mut like = **like;
                like.st_size = i64::try_from(bytes).unwrap_or(i64::MAX);
                like.st_blocks = i64::try_from(bytes.div_ceil(512)).unwrap_or(i64::MAX);
                Ok(like)
            }
        }
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::File(file) => FileExt::read_exact_at(file, buffer, offset),
            Self::Memory(Stretch { of, place, .. }) => match place.start.checked_add(offset) {
                Some(start) if start.checked_add(buffer.len() as u64).is_some_and(|end| end <= place.end) => {
                    of.read_exact_at(buffer, start)
                }
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            },
        }
    }
}

/// One or several stripes that are read as one.
#[derive(Debug)]
pub(crate) struct Striped {
    first: Stripe,
    /// Where each further stripe starts, and the stripe.
    more: Vec<(u64, Stripe)>,
}

impl From<File> for Striped {
    fn from(file: File) -> Self {
        Self { first: file.into(), more: Vec::new() }
    }
}

impl Striped {
    /// Stripes as one; none where there are none.
    pub(super) fn new(stripes: Vec<Stripe>) -> Result<Option<Self>, Errno> {
        let mut stripes = stripes.into_iter();
        let Some(first) = stripes.next() else { return Ok(None) };
        let mut start = length(&first.stat()?);
        let mut more = Vec::new();
        for stripe in stripes {
            let bytes = length(&stripe.stat()?);
            more.push((start, stripe));
            start = start.saturating_add(bytes);
        }
        Ok(Some(Self { first, more }))
    }

    /// What the first one is, with the length and room of all, and the latest of their times; an error if it is memory that
    /// is not there any more.
    pub(super) fn stat(&self) -> Result<FileStat, Errno> {
        if let Stripe::Memory(Stretch { of, .. }) = &self.first {
            of.check_alive().map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
        }
        let mut all = self.first.stat()?;
        for (_, stripe) in &self.more {
            let stat = stripe.stat()?;
            all.st_size = all.st_size.saturating_add(stat.st_size);
            all.st_blocks = all.st_blocks.saturating_add(stat.st_blocks);
            let latest = |a: (i64, i64), b: (i64, i64)| a.max(b);
            (all.st_mtime, all.st_mtime_nsec) =
                latest((all.st_mtime, all.st_mtime_nsec), (stat.st_mtime, stat.st_mtime_nsec));
            (all.st_ctime, all.st_ctime_nsec) =
                latest((all.st_ctime, all.st_ctime_nsec), (stat.st_ctime, stat.st_ctime_nsec));
        }
        Ok(all)
    }

    /// The file, where it is one and nothing else.
    pub(super) fn single(&self) -> Option<&File> {
        match &self.first {
            Stripe::File(file) if self.more.is_empty() => Some(file),
            _ => None,
        }
    }
}

/// The length of a file.
pub(super) fn length(stat: &FileStat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

impl ReadAt for Striped {
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        if self.more.is_empty() {
            return self.first.read_exact_at(buffer, offset);
        }
        while !buffer.is_empty() {
            let index = self.more.partition_point(|(start, _)| *start <= offset);
            let (start, stripe) = match index.checked_sub(1) {
                Some(before) => (self.more[before].0, &self.more[before].1),
                None => (0, &self.first),
            };
            let here = match self.more.get(index) {
                Some((next, _)) => buffer.len().min(usize::try_from(next - offset).unwrap_or(usize::MAX)),
                None => buffer.len(),
            };
            let (now, rest) = buffer.split_at_mut(here);
            stripe.read_exact_at(now, offset - start)?;
            buffer = rest;
            offset += here as u64;
        }
        Ok(())
    }
}
