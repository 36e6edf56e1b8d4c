//! Files of up to a batch and other short entries, many of them at a time.

use super::super::{
    super::source::Regular,
    buffer::{BATCH, Buffer},
    files::{Files, Left, Member},
    item::{Entry, Item, Stop},
    policy::Policy,
    work::{Fill, Of},
};
use super::{Feeder, Meta};
use std::{mem, ops::Range, sync::Arc};

/// Most entries of one group.
const GROUP: usize = 1024;
/// About the most bytes of paths and targets in one group.
const GROUP_NAMES: usize = 256 << 10;
/// Files from this length on are read by the workers, as long as there are fewer than [`OPEN_FILES`] of them open.
const LEFT: usize = 4 << 10;
/// A process may have 1024 files open on most systems.
const OPEN_FILES: usize = 256;

/// Entries that are being collected, and where the content of the files among them goes.
#[derive(Default)]
pub(super) struct Group {
    entries: Vec<Entry>,
    names: usize,
    buffer: Option<Buffer>,
    filled: usize,
    members: Vec<Member>,
}

impl Feeder<'_, '_> {
    /// Adds a file to the group; what is very small is read at once.
    pub(super) fn member(&mut self, meta: Meta, file: Regular, sparse: bool) -> Result<(), Stop> {
        let Some(place) = self.place(file.bytes() as usize)? else {
            file.check_unchanged()?;
            return self.file(meta, sparse, true);
        };
        let is_left = place.len() >= LEFT && Arc::strong_count(&self.open_files) <= OPEN_FILES;
        let left = if is_left {
            Some(Left { file, _permit: Arc::clone(&self.open_files) })
        } else {
            if let Some(buffer) = &mut self.group.buffer {
                file.read_exact(&mut buffer.bytes[place.clone()], 0)?;
            }
            file.check_unchanged()?;
            None
        };
        self.group.members.push(Member { place, left });
        self.file(meta, sparse, false)
    }

    /// Adds content that is at hand to the group.
    pub(super) fn short(&mut self, meta: Meta, content: &[u8], sparse: bool) -> Result<(), Stop> {
        let place = self.place(content.len())?;
        if let (Some(buffer), Some(place)) = (&mut self.group.buffer, place) {
            buffer.bytes[place.clone()].copy_from_slice(content);
            self.group.members.push(Member { place, left: None });
        }
        self.file(meta, sparse, content.is_empty())
    }

    /// Where the content of the next file goes in the group's buffer; empty content takes none.
    fn place(&mut self, bytes: usize) -> Result<Option<Range<usize>>, Stop> {
        if self.group.filled + bytes > BATCH {
            self.send_group(false)?;
        }
        if bytes == 0 {
            return Ok(None);
        }
        if self.group.buffer.is_none() {
            self.group.buffer = Some(self.buffer()?);
        }
        let start = self.group.filled;
        self.group.filled += bytes;
        Ok(Some(start..self.group.filled))
    }

    fn file(&mut self, meta: Meta, sparse: bool, empty: bool) -> Result<(), Stop> {
        let names = meta.path.as_bytes().len();
        let Meta { path, mode, modified_ns } = meta;
        self.entry(Entry::File { path, mode, modified_ns, sparse, empty }, names)
    }

    pub(super) fn entry(&mut self, entry: Entry, names: usize) -> Result<(), Stop> {
        self.group.entries.push(entry);
        self.group.names += names;
        let full = self.group.entries.len() >= GROUP || self.group.names >= GROUP_NAMES;
        if full { self.send_group(false) } else { Ok(()) }
    }

    pub(super) fn send_group(&mut self, only: bool) -> Result<(), Stop> {
        let Group { entries, buffer, members, .. } = mem::take(&mut self.group);
        if entries.is_empty() {
            return Ok(());
        }
        let compress = self.compress();
        let policy = Policy::blind(compress);
        let files = Fill::Files(Files { members, compress });
        match buffer {
            Some(buffer) => self.job(Of::Group(entries, only), Some(buffer), files, Vec::new(), policy),
            None => self.send(Item::Group { entries, batch: None, only }),
        }
    }
}
