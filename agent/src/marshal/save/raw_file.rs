//! Which stretches of other packs a file that is stored as it is refers to.

use super::{super::pack_writer::Spot, adopt::Adoptable, policy::Policy};
use kale_protocol::chunk::ChunkPlace;

/// A raw file refers to at most so many stretches of other packs in each [`FRAGMENT_WINDOW`] of its content; what would
/// make more is stored again, so that reading it back stays a few long reads.
const FRAGMENTS: u64 = 4;
const FRAGMENT_WINDOW: u64 = 8 << 20;

/// The large file that is being written.
#[derive(Default)]
pub(super) struct RawFile {
    pub(super) bytes: u64,
    pub(super) fragments: u64,
    /// Set while it is only hashed, since the store may take it as it is.
    pub(super) adopt: Option<Adoptable>,
    /// Where its last chunk ended, if that lies as it is in a pack.
    pub(super) last: Option<Spot>,
}

impl RawFile {
    /// Whether to refer to a place: it goes on where the file's last chunk ended, or does not break the file up too
    /// much. What would be compressed anyway is read a frame at a time, wherever the frames are.
    pub(super) fn takes(&mut self, place: &ChunkPlace, policy: Policy) -> bool {
        let goes_on = match *place {
            ChunkPlace::Raw { pack, offset } => self.last == Some(Spot { pack, offset }),
            ChunkPlace::Framed { .. } => policy != Policy::Raw,
        };
        let room = self.fragments < FRAGMENTS * (self.bytes / FRAGMENT_WINDOW + 1);
        self.fragments += u64::from(!goes_on && room);
        goes_on || room
    }
}
