//! One file of an artifact as a stream: for showing it, or for handing it to code that reads.

use super::{
    ManifestReader, MarshalError,
    pack_reader::ChunkReader,
    pieces::{Piece, pieces},
};
use crate::store::Transport;
use kale_protocol::{chunk::Extent, digest::Digest, manifest::What, path::ArtifactPath};
use std::{
    collections::VecDeque,
    fmt,
    io::{self, Read, Seek, SeekFrom},
};

/// Opens a regular file of an artifact; the root where the artifact is one file. Hard links are followed.
pub fn open_content<'t>(
    transport: &'t dyn Transport,
    manifest: &Digest,
    path: &ArtifactPath,
) -> Result<Content<'t>, MarshalError> {
    let reader = ManifestReader::open(transport, manifest)?;
    let path = reader.find_file(path)?;
    let what = format!("'{path}' of the manifest {manifest}");
    let chunks = ChunkReader::new(transport)?;
    let mut content = Content {
        reader,
        chunks,
        path,
        what,
        bytes: 0,
        position: 0,
        node: 0,
        node_end: 0,
        pieces: VecDeque::new(),
        buffer: Vec::new(),
        buffer_offset: 0,
    };
    content.rewind()?;
    Ok(content)
}

/// The content of a file; each chunk is verified before a byte of it is given out.
///
/// Holds one manifest page's worth of places and one piece of content, whatever the file's length. Errors of
/// reading carry a [`MarshalError`] as their source.
pub struct Content<'t> {
    reader: ManifestReader<'t>,
    chunks: ChunkReader<'t>,
    path: ArtifactPath,
    what: String,
    bytes: u64,
    position: u64,
    /// How many of the file's nodes were taken up.
    node: usize,
    /// Where the extents of the last of them end in the file.
    node_end: u64,
    pieces: VecDeque<Piece>,
    buffer: Vec<u8>,
    buffer_offset: u64,
}

impl fmt::Debug for Content<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").field("what", &self.what).field("position", &self.position).finish_non_exhaustive()
    }
}

impl Content<'_> {
    /// The file's length.
    pub fn raw_bytes(&self) -> u64 {
        self.bytes
    }

    fn rewind(&mut self) -> Result<(), MarshalError> {
        self.node = 0;
        self.node_end = 0;
        self.next_node().map(drop)
    }

    /// Takes up the places of the file's next node; false at the end.
    fn next_node(&mut self) -> Result<bool, MarshalError> {
        let Some(node) = self.reader.file_part(&self.path, self.node)? else {
            return Ok(false);
        };
        let extents = match node.what {
            What::File { bytes, extents, .. } => {
                self.bytes = bytes;
                extents
            }
            What::More { extents } => extents,
            _ => return Err(self.reader.broken("a file goes on as what is no file")),
        };
        let start = self.node_end;
        self.node_end = start.saturating_add(extents.iter().map(Extent::raw_bytes).fold(0, u64::saturating_add));
        if self.node_end > self.bytes {
            return Err(self.reader.broken("a file's extents are longer than the file"));
        }
        self.pieces = pieces(start, extents, &self.reader.manifest().packs).into();
        self.node += 1;
        Ok(true)
    }

    /// Bytes at the position, at most `wanted`: verified content, or a hole's length.
    fn at_position(&mut self, wanted: usize) -> Result<Span, MarshalError> {
        loop {
            let here = self.position.checked_sub(self.buffer_offset).filter(|here| *here < self.buffer.len() as u64);
            if let Some(here) = here {
                let start = here as usize;
                return Ok(Span::Buffer(start, wanted.min(self.buffer.len() - start)));
            }
            let first = self.pieces.front().map_or(self.node_end, |piece| piece.offset);
            if self.position < first {
                return Ok(Span::Zeros((first - self.position).min(wanted as u64) as usize));
            }
            match self.pieces.pop_front() {
                Some(piece) if piece.offset + (piece.bytes as u64) <= self.position => {}
                Some(piece) => {
                    self.buffer.clear();
                    if let Err(error) = self.chunks.read_piece(&piece, &self.what, &mut self.buffer) {
                        // Nothing of a piece that is damaged in part is given out, and a second try fails alike.
                        self.buffer.clear();
                        self.pieces.push_front(piece);
                        return Err(error);
                    }
                    self.buffer_offset = piece.offset;
                }
                None if !self.next_node()? => {
                    return Err(self.reader.broken("a file's extents are shorter than the file"));
                }
                None => {}
            }
        }
    }
}

enum Span {
    Buffer(usize, usize),
    Zeros(usize),
}

impl Read for Content<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() || self.position >= self.bytes {
            return Ok(0);
        }
        let count = match self.at_position(out.len()).map_err(io::Error::other)? {
            Span::Buffer(start, count) => {
                out[..count].copy_from_slice(&self.buffer[start..start + count]);
                count
            }
            Span::Zeros(count) => {
                out[..count].fill(0);
                count
            }
        };
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Content<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(by) => self.bytes.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        let target = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        if target < self.position {
            // Places are kept only from the position on.
            self.buffer.clear();
            self.rewind().map_err(io::Error::other)?;
        }
        self.position = target;
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        marshal::fixture::{Fixture, file, folder, node, noise, path},
        store::Memory,
    };
    use kale_protocol::{
        layout,
        manifest::{Node, Shape},
    };

    /// A file over several pages, with holes at its start, inside and at its end.
    fn long() -> (Fixture, Digest, Vec<u8>) {
        let mut fixture = Fixture::new();
        let parts = [noise(1, 700_000), noise(2, 3000), noise(3, 2_500_000), noise(4, 10)];
        let zeros = |chunk_bytes| Extent::Zeros { count: 2, chunk_bytes };
        let framed = fixture.framed(&[&parts[1]]).remove(0);
        let extents = vec![
            zeros(1000),
            fixture.raw(&parts[0], 100_000),
            framed,
            zeros(50_000),
            fixture.raw(&parts[2], 1 << 20),
            Extent::Inline { content: parts[3].clone() },
            zeros(1),
        ];
        let hole = |bytes| vec![0; bytes];
        let [a, b, c, d] = parts;
        let content = [hole(2000), a, b, hole(100_000), c, d, hole(2)].concat();
        let Node { what: What::File { bytes, digest, sparse, .. }, .. } = file("b", 0o644, false, extents.clone())
        else {
            panic!("a file")
        };
        let mut rest = extents.into_iter();
        let first = rest.by_ref().take(2).collect();
        let mut nodes = vec![folder(""), file("a", 0o644, false, vec![])];
        nodes.push(node("b", 0o644, What::File { bytes, digest, sparse, extents: first }));
        nodes.extend(rest.map(|extent| node("b", 0o644, What::More { extents: vec![extent] })));
        nodes.push(node("c", 0o644, What::HardLink { to: path("b") }));
        let id = fixture.manifest(Shape::Tree, &nodes, 2);
        (fixture, id, content)
    }

    fn open<'t>(memory: &'t Memory, id: &Digest, at: &str) -> Result<Content<'t>, MarshalError> {
        open_content(memory, id, &path(at))
    }

    #[test]
    fn reads_a_long_file_and_through_a_link() {
        let (fixture, id, expected) = long();
        for at in ["b", "c"] {
            let mut content = open(&fixture.memory, &id, at).unwrap();
            assert_eq!(content.raw_bytes(), expected.len() as u64);
            let mut read = Vec::new();
            content.read_to_end(&mut read).unwrap();
            assert!(read == expected);
        }
        let mut empty = open(&fixture.memory, &id, "a").unwrap();
        assert_eq!(empty.read(&mut [0; 10]).unwrap(), 0);
        assert!(matches!(open(&fixture.memory, &id, ""), Err(MarshalError::Format { .. })));
        assert!(matches!(open(&fixture.memory, &id, "x"), Err(MarshalError::NoSuchPath { .. })));
    }

    #[test]
    fn seeks_everywhere() {
        let (fixture, id, expected) = long();
        let mut content = open(&fixture.memory, &id, "b").unwrap();
        let all = expected.len() as u64;
        let places =
            [5, all - 3, 0, 702_000, 701_999, 1999, 2000, 760_000, 805_000, all - 13, 3_000_000, 2_999_990, all + 5];
        for offset in places {
            assert_eq!(content.seek(SeekFrom::Start(offset)).unwrap(), offset);
            let mut read = Vec::new();
            content.by_ref().take(100).read_to_end(&mut read).unwrap();
            let start = (offset as usize).min(expected.len());
            assert!(read == expected[start..(start + 100).min(expected.len())], "at {offset}");
        }
        assert_eq!(content.seek(SeekFrom::End(-1)).unwrap(), all - 1);
        assert!(content.seek(SeekFrom::Current(-(all as i64))).is_err());
    }

    #[test]
    fn gives_nothing_of_a_damaged_chunk_out() {
        let (fixture, id, expected) = long();
        // In the last chunk of the second raw extent, found from the pack's index.
        let index = crate::marshal::pack_reader::open_pack(&fixture.memory, fixture.packs[0]).unwrap();
        let at = index.frames.iter().rev().find(|f| f.frame.raw_bytes == 2_500_000 - (2 << 20)).unwrap().frame.offset;
        fixture.memory.tamper(&layout::pack(&fixture.packs[0]), |bytes| bytes[at as usize] ^= 1);
        let mut content = open(&fixture.memory, &id, "b").unwrap();
        let mut read = Vec::new();
        let error = content.read_to_end(&mut read).unwrap_err();
        assert!(error.to_string().contains("'b' of the manifest"), "{error}");
        assert!(read == expected[..805_000 + (2 << 20)]);
        assert!(content.read(&mut [0; 1]).is_err(), "a second try must fail alike");
    }
}
