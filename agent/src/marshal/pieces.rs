//! Pieces: stretches of a file's content, sized for one read and one write.

use kale_protocol::{
    chunk::{Chunk, Extent, Frame},
    id::PackId,
};

/// How much content a piece aims at: large enough that a read costs little, small enough that buffers stay in cache.
pub(crate) const PIECE_BYTES: usize = 1 << 20;

/// A stretch of a file without holes; it may be longer than [`PIECE_BYTES`] only where one chunk or frame is.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Where it starts in the file.
    pub(crate) offset: u64,
    /// Its length.
    pub(crate) bytes: usize,
    /// Where its bytes come from, in order.
    pub(crate) parts: Vec<Part>,
}

/// Content that one read gives.
#[derive(Debug)]
pub(crate) enum Part {
    /// The bytes themselves, which the manifest's own digest covers.
    Inline(Vec<u8>),
    /// Chunks that lie one behind the other.
    Stored(Stored),
}

/// Chunks that lie one behind the other in a pack.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// The pack.
    pub(crate) pack: PackId,
    /// Where in it.
    pub(crate) place: Place,
    /// The chunks.
    pub(crate) chunks: Vec<Chunk>,
}

/// Where the first of some chunks starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// At this offset of the pack.
    Raw(u64),
    /// In a frame, from this byte of the decoded frame on.
    Framed(Frame, u32),
}

impl Place {
    /// The offset in the pack that leads there.
    pub(crate) fn offset(&self) -> u64 {
        match self {
            Self::Raw(offset) => *offset,
            Self::Framed(frame, _) => frame.offset,
        }
    }
}

impl Stored {
    /// Bytes of content.
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.bytes as usize).sum()
    }

    /// Each chunk, how many bytes of content stand before it, and where it starts.
    pub(crate) fn each(&self) -> impl Iterator<Item = (Chunk, usize, Place)> {
        let mut before = 0;
        self.chunks.iter().map(move |chunk| {
            let place = match self.place {
                Place::Raw(offset) => Place::Raw(offset + u64::from(before)),
                Place::Framed(frame, start) => Place::Framed(frame, start + before),
            };
            let here = before as usize;
            before += chunk.bytes;
            (*chunk, here, place)
        })
    }

    /// Each chunk as if it were stored alone.
    pub(crate) fn singly(&self) -> impl Iterator<Item = Self> {
        self.each().map(|(chunk, _, place)| Self { pack: self.pack, place, chunks: vec![chunk] })
    }
}

/// Cuts extents into pieces; `offset` is where the first extent starts in the file. Zeros belong to no piece.
///
/// The extents have passed their checks, `packs` is the manifest's table.
pub(crate) fn pieces(mut offset: u64, extents: Vec<Extent>, packs: &[PackId]) -> Vec<Piece> {
    let mut cut = Cut { pieces: Vec::new(), ended: true };
    for extent in extents {
        let bytes = extent.raw_bytes();
        match extent {
            Extent::Inline { content } => cut.push(offset, content.len(), Part::Inline(content)),
            Extent::Zeros { .. } => cut.ended = true,
            Extent::Framed { pack, frame, start, chunks } => {
                // Never split: two threads would decode one frame.
                let place = Place::Framed(frame, start);
                let stored = Stored { pack: packs[pack as usize], place, chunks };
                cut.push(offset, stored.bytes(), Part::Stored(stored));
            }
            Extent::Raw { pack, offset: at, chunks } => {
                let mut done = 0;
                for chunks in groups(&chunks) {
                    let place = Place::Raw(at + done);
                    let stored = Stored { pack: packs[pack as usize], place, chunks: chunks.to_vec() };
                    let bytes = stored.bytes();
                    cut.push(offset + done, bytes, Part::Stored(stored));
                    done += bytes as u64;
                }
            }
        }
        offset += bytes;
    }
    cut.pieces
}

/// Splits chunks where a piece is full.
fn groups(mut chunks: &[Chunk]) -> impl Iterator<Item = &[Chunk]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = chunks.iter().take_while(|chunk| {
            bytes += chunk.bytes as usize;
            bytes <= PIECE_BYTES
        });
        let count = fits.count().max(1).min(chunks.len());
        let (group, rest) = chunks.split_at(count);
        chunks = rest;
        (!group.is_empty()).then_some(group)
    })
}

struct Cut {
    pieces: Vec<Piece>,
    ended: bool,
}

impl Cut {
    fn push(&mut self, offset: u64, bytes: usize, part: Part) {
        match self.pieces.last_mut() {
            Some(last) if !self.ended && last.bytes + bytes <= PIECE_BYTES => {
                last.bytes += bytes;
                last.parts.push(part);
            }
            _ => self.pieces.push(Piece { offset, bytes, parts: vec![part] }),
        }
        self.ended = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kale_protocol::digest::Digest;

    #[test]
    fn holes_end_pieces_and_small_parts_join() {
        let pack = PackId([1; 16]);
        let chunk = |bytes| Chunk { bytes, digest: Digest::of(b"any") };
        let extents = vec![
            Extent::Inline { content: vec![1; 10] },
            Extent::Raw {
                pack: 0,
                offset: 100,
                chunks: vec![chunk(5), chunk(1 << 20), chunk(1 << 19), chunk(1 << 19)],
            },
            Extent::Zeros { count: 2, chunk_bytes: 100 },
            Extent::Inline { content: vec![2; 3] },
        ];
        let cut = pieces(1000, extents, &[pack]);
        let shown: Vec<_> = cut.iter().map(|piece| (piece.offset, piece.bytes, piece.parts.len())).collect();
        let big = 1 << 20;
        assert_eq!(shown, [(1000, 15, 2), (1015, big, 1), (1015 + big as u64, big, 1), (1215 + 2 * big as u64, 3, 1)]);
    }
}
