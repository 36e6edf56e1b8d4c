//! Groups of files and other short entries.

use super::{
    super::{hashed::Hashed, item::Entry, raw_file::RawFile},
    Assembler, Buffer, HashedChunk, Known, MarshalError, Place, Policy,
};
use kale_protocol::limits;

impl Assembler<'_> {
    /// Small files, and what of longer ones is compressed, share a frame; what is kept as it is is a run for each file.
    pub(super) fn group(
        &mut self,
        entries: Vec<Entry>,
        mut batch: Option<Hashed>,
        only: bool,
    ) -> Result<Option<Buffer>, MarshalError> {
        let mut places = match &mut batch {
            Some(batch) if only && self.fits_inline(batch) => inline(batch, self.known),
            Some(batch) => self.framed(batch)?,
            None => Vec::new(),
        };
        let mut files = batch.iter().flat_map(|batch| batch.files.iter().map(move |count| (batch, *count)));
        let mut first = 0;
        for entry in entries {
            match entry {
                Entry::Node(node) => self.node(node)?,
                Entry::File { path, mode, modified_ns, sparse, empty } => {
                    self.manifest.begin_file(path, mode, modified_ns, sparse);
                    if !empty {
                        let (batch, count) = files.next().expect("a batch has all files of its group");
                        self.file = RawFile::default();
                        let its = first..first + count;
                        for (hashed, place) in batch.chunks[its.clone()].iter().zip(&mut places[its]) {
                            let place = match place.take() {
                                Some(place) => place,
                                None => self.raw_chunk(hashed, Policy::Raw, || Ok(hashed.content(batch.held())))?,
                            };
                            self.file_chunk(hashed.chunk, place)?;
                            self.monitor.advance(u64::from(hashed.chunk.bytes));
                        }
                        first += count;
                    }
                    self.end_file()?;
                }
            }
        }
        drop(files);
        Ok(batch.and_then(|batch| batch.buffer))
    }

    /// Whether all of the artifact's new content may be kept in the manifest.
    fn fits_inline(&self, batch: &Hashed) -> bool {
        let new =
            batch.chunks.iter().filter(|hashed| !hashed.zeros && self.known.place(&hashed.chunk.digest).is_none());
        !self.packs.has_begun() && new.map(|hashed| hashed.chunk.bytes as usize).sum::<usize>() <= limits::INLINE
    }
}

fn inline(batch: &Hashed, known: &Known) -> Vec<Option<Place>> {
    let place = |hashed: &HashedChunk| match known.place(&hashed.chunk.digest) {
        _ if hashed.zeros => Place::Zeros,
        Some(place) => Place::Pack(place),
        None => Place::Inline(hashed.content(batch.held()).to_vec()),
    };
    batch.chunks.iter().map(|hashed| Some(place(hashed))).collect()
}
