//! Artifacts that can be mapped: where each of their files lies as it is.

use super::{ManifestReader, MarshalError, open_content};
use crate::store::Transport;
use kale_protocol::{
    chunk::Extent,
    digest::Digest,
    id::PackId,
    layout,
    manifest::{Node, What},
    path::ArtifactPath,
};
use std::{io::Read, path::PathBuf};

/// What arrays are aligned to in the files that hold them; packs keep it.
const ALIGNED: u64 = 64;
/// From here on a file that lies as it is counts as worth a map.
const WORTH_BYTES: u64 = 64 << 10;
/// Most bytes of small or compressed files that are read, beside those that are mapped.
const READ_BYTES: u64 = 16 << 20;

/// A file of an artifact, and where its content is.
#[derive(Debug)]
pub struct MappableFile {
    /// Its path in the artifact.
    pub path: ArtifactPath,
    /// Its length.
    pub bytes: u64,
    /// Where its content is.
    pub lies: Lies,
}

/// Where content is.
#[derive(Debug)]
pub enum Lies {
    /// As it is in a pack that is a local file; not verified.
    InPack {
        /// The pack's file.
        file: PathBuf,
        /// Where the content starts in it.
        offset: u64,
        /// The pack.
        pack: PackId,
        /// The first chunk, for messages.
        first: Digest,
    },
    /// Here, read and verified: it is small.
    Here(Vec<u8>),
}

/// Where all files of an artifact are, if at least one of them is worth a map and all others are small: at most `most`
/// files, and no links. Only files that are `data` are mapped: what tells a program what to do is verified first.
pub fn mappable(
    transport: &dyn Transport,
    manifest: &Digest,
    data: impl Fn(&ArtifactPath) -> bool,
    most: usize,
) -> Result<Option<Vec<MappableFile>>, MarshalError> {
    let reader = ManifestReader::open(transport, manifest)?;
    let totals = reader.manifest().totals;
    if totals.others > 0 || totals.files > most as u64 || totals.raw_bytes < WORTH_BYTES {
        return Ok(None);
    }
    let mut found: Vec<Stretch> = Vec::new();
    for node in reader.nodes() {
        let Node { path, what, .. } = node?;
        match what {
            What::File { bytes, extents, .. } => {
                found.push(Stretch { path, bytes, start: None, end: 0, whole: true });
                found.last_mut().expect("just pushed").extend(&extents);
            }
            What::More { extents } => {
                if let Some(last) = found.last_mut() {
                    last.extend(&extents);
                }
            }
            What::Folder => {}
            _ => return Ok(None),
        }
    }
    let mut files = Vec::with_capacity(found.len());
    let (mut read, mut mapped) = (0, false);
    for stretch in found {
        let lies = match stretch.place().filter(|_| data(&stretch.path)) {
            Some((pack, offset, first)) => {
                let pack = reader.manifest().packs[pack as usize];
                let Some(file) = transport.local_path(&layout::pack(&pack)) else { return Ok(None) };
                mapped = true;
                Lies::InPack { file, offset, pack, first }
            }
            None => {
                read += stretch.bytes;
                if read > READ_BYTES {
                    return Ok(None);
                }
                // Read only once it is known that something is mapped.
                Lies::Here(Vec::new())
            }
        };
        files.push(MappableFile { path: stretch.path, bytes: stretch.bytes, lies });
    }
    if !mapped {
        return Ok(None);
    }
    for file in &mut files {
        if let Lies::Here(content) = &mut file.lies {
            let mut from = open_content(transport, manifest, &file.path)?;
            from.read_to_end(content).map_err(|source| match source.downcast::<MarshalError>() {
                Ok(error) => error,
                Err(source) => MarshalError::Io { action: "read", path: file.path.to_string().into(), source },
            })?;
        }
    }
    Ok(Some(files))
}

/// A file's content, as far as it lies in one piece.
struct Stretch {
    path: ArtifactPath,
    bytes: u64,
    /// Pack, offset and first chunk.
    start: Option<(u32, u64, Digest)>,
    end: u64,
    whole: bool,
}

impl Stretch {
    fn extend(&mut self, extents: &[Extent]) {
        for extent in extents {
            match (extent, self.start) {
                (Extent::Raw { pack, offset, chunks }, None) => {
                    self.start = chunks.first().map(|chunk| (*pack, *offset, chunk.digest));
                    self.end = offset + extent.raw_bytes();
                }
                (Extent::Raw { pack, offset, .. }, Some((first, ..))) if *pack == first && *offset == self.end => {
                    self.end += extent.raw_bytes();
                }
                _ => self.whole = false,
            }
        }
    }

    fn place(&self) -> Option<(u32, u64, Digest)> {
        self.start.filter(|(_, offset, _)| {
            self.whole && self.bytes >= WORTH_BYTES && offset % ALIGNED == 0 && self.end - offset == self.bytes
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kale_protocol::chunk::Chunk;

    fn raw(pack: u32, offset: u64, bytes: u32) -> Extent {
        Extent::Raw { pack, offset, chunks: vec![Chunk { bytes, digest: Digest::of(b"any") }] }
    }

    fn place(bytes: u64, extents: &[Extent]) -> Option<(u32, u64)> {
        let mut stretch = Stretch { path: ArtifactPath::root(), bytes, start: None, end: 0, whole: true };
        extents.chunks(2).for_each(|extents| stretch.extend(extents));
        stretch.place().map(|(pack, offset, _)| (pack, offset))
    }

    #[test]
    fn only_what_lies_in_one_aligned_piece_is_mapped() {
        let worth = WORTH_BYTES as u32;
        assert_eq!(place(WORTH_BYTES, &[raw(1, 4096, worth)]), Some((1, 4096)));
        let parts = [raw(1, 64, worth), raw(1, 64 + WORTH_BYTES, 10), raw(1, 74 + WORTH_BYTES, 5)];
        assert_eq!(place(WORTH_BYTES + 15, &parts), Some((1, 64)));
        let cases: [(u64, &[Extent]); 7] = [
            (WORTH_BYTES - 1, &[raw(0, 0, worth - 1)]),
            (WORTH_BYTES, &[raw(0, 8, worth)]),
            (WORTH_BYTES + 1, &[raw(0, 0, worth)]),
            (WORTH_BYTES + 5, &[raw(0, 0, worth), raw(1, WORTH_BYTES, 5)]),
            (WORTH_BYTES + 5, &[raw(0, 0, worth), raw(0, WORTH_BYTES + 1, 5)]),
            (WORTH_BYTES + 5, &[raw(0, 0, worth), Extent::Zeros { count: 1, chunk_bytes: 5 }]),
            (WORTH_BYTES, &[Extent::Zeros { count: 1, chunk_bytes: worth }]),
        ];
        for (bytes, extents) in cases {
            assert_eq!(place(bytes, extents), None, "{bytes} {extents:?}");
        }
    }
}
