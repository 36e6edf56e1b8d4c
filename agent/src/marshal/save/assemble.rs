//! Takes hashed content in order: deduplicates, writes packs, builds the manifest. Each item by the thread that has it.

mod frame;
mod group;
mod same;

use super::{
    super::{
        MarshalError,
        known::Known,
        manifest_writer::{ManifestWriter, Pages, Place},
        pack_writer::{PackStats, PackWriter, Spot},
        room::Room,
        zeros::zeros_digest,
    },
    SaveOptions, Saved,
    adopt::Adoptable,
    buffer::Buffer,
    hashed::{Hashed, HashedChunk, new_members},
    item::{Item, Outline},
    packer::Packer,
    policy::Policy,
    raw_file::RawFile,
};
use crate::{
    report::Monitor,
    store::{Created, Transport},
};
use kale_protocol::{
    chunk::{Chunk, ChunkPlace},
    digest::Digest,
    layout,
    manifest::{Node, Shape},
    object::Object,
};
use std::mem;
/// Chunks of this save that are remembered: the most that a table of 2^18 slots holds, about 13 MiB.
const OWN_ENTRIES: usize = 229_376;
/// Why an artifact is not whole.
const CUT_OFF: &str = "the reader or a worker ended early, and its own error is reported instead of this one";

pub(super) struct Assembler<'a> {
    transport: &'a dyn Transport,
    known: &'a Known,
    own: Known,
    packs: PackWriter<'a>,
    manifest: ManifestWriter,
    packer: Packer,
    monitor: &'a dyn Monitor,
    file: RawFile,
    /// For content that is read once more.
    aside: Room,
    /// There once all was assembled.
    outline: Option<Outline>,
}

impl<'a> Assembler<'a> {
    pub(super) fn new(transport: &'a dyn Transport, known: &'a Known, monitor: &'a dyn Monitor) -> Self {
        Self {
            transport,
            known,
            own: Known::with_entries(OWN_ENTRIES),
            packs: PackWriter::new(transport),
            manifest: ManifestWriter::default(),
            packer: Packer::default(),
            monitor,
            file: RawFile::default(),
            aside: Room::default(),
            outline: None,
        }
    }

    /// Takes the next item; gives back the buffer that it held.
    pub(super) fn assemble(&mut self, item: Item) -> Result<Option<Buffer>, MarshalError> {
        match item {
            Item::Group { entries, batch, only } => return self.group(entries, batch, only),
            Item::Begin { path, mode, modified_ns, sparse, adopt } => {
                self.file = RawFile { adopt, ..RawFile::default() };
                self.manifest.begin_file(path, mode, modified_ns, sparse);
            }
            Item::Batch(batch) => match &mut self.file.adopt {
                Some(adopt) => {
                    let bytes = adopt.remember(&batch.chunks);
                    self.monitor.advance(bytes);
                    return Ok(batch.buffer);
                }
                None => return self.batch(batch),
            },
            Item::Same(same) => self.same(&same)?,
            Item::Hole { count, chunk_bytes } => {
                let chunk = Chunk { bytes: chunk_bytes, digest: zeros_digest(chunk_bytes) };
                (0..count).try_for_each(|_| self.file_chunk(chunk, Place::Zeros))?;
                self.monitor.advance(count * u64::from(chunk_bytes));
            }
            Item::End { file, settled } => {
                let adopted = match self.file.adopt.take() {
                    Some(adopt) => self.settle(&adopt)?,
                    None => false,
                };
                if let Some(settled) = settled {
                    // A reader that has ended does not ask.
                    let _ = settled.send(());
                }
                self.end_file()?;
                // What was taken was looked at before, and has changed its name since.
                if !adopted && let Some(file) = file {
                    file.check_unchanged()?;
                }
            }
            Item::Done(outline) => self.outline = Some(outline),
        }
        Ok(None)
    }

    /// What the source turned out to be. Where not all was assembled, whoever ended early has the error.
    pub(super) fn outline(&mut self) -> Result<Outline, MarshalError> {
        let cut_off = || MarshalError::Changed { path: "the artifact".into(), how: CUT_OFF.to_owned() };
        self.outline.take().ok_or_else(cut_off)
    }

    /// Publishes packs and manifest, in this order; or nothing, where the artifact is known.
    pub(super) fn finish(mut self, outline: Outline, options: &SaveOptions) -> Result<Saved, MarshalError> {
        let Outline { shape, format, tried } = outline;
        let shape = match options.shape {
            Some(Shape::Value) => Shape::Value,
            _ => shape,
        };
        let format = options.format.clone().or_else(|| format.map(|format| format.word().to_owned()));
        let (digest, totals) = (self.manifest.digest(), self.manifest.totals());
        if let Some(manifest) = self.known.manifest(&digest, shape, format.as_deref()) {
            self.packs.abandon();
            let (stored_bytes, packs) = (0, Vec::new());
            return Ok(Saved {
                manifest,
                manifest_new: false,
                digest,
                shape,
                format,
                totals,
                stored_bytes,
                packs,
                tried,
            });
        }
        let published = publish(self.manifest, &mut self.packs, self.known, self.transport, shape, format.clone());
        match published {
            Ok((manifest, created, PackStats { packs, stored_bytes })) => {
                let manifest_new = created == Created::New;
                Ok(Saved { manifest, manifest_new, digest, shape, format, totals, stored_bytes, packs, tried })
            }
            Err(error) => {
                self.packs.abandon();
                Err(error)
            }
        }
    }

    /// Takes back all that was written.
    pub(super) fn abandon(self) {
        self.packs.abandon();
    }

    /// Chunks of a large file: in a frame where that is worth it, else one behind the other.
    fn batch(&mut self, mut batch: Hashed) -> Result<Option<Buffer>, MarshalError> {
        // Nothing was packed, either since it is not worth it or since all is known: then it stays where it is.
        let all_known = || new_members(&batch.chunks, |digest| self.place(digest).is_some()).is_empty();
        if batch.packed.is_some() || batch.policy != Policy::Raw && all_known() {
            let places = self.framed(&mut batch)?;
            for (chunk, place) in batch.chunks.iter().zip(places.into_iter().flatten()) {
                self.file.bytes += u64::from(chunk.chunk.bytes);
                self.file.last = None;
                self.file_chunk(chunk.chunk, place)?;
            }
        } else {
            let mut aside = mem::take(&mut self.aside);
            for (index, hashed) in batch.chunks.iter().enumerate() {
                let place = self.raw_chunk(hashed, batch.policy, || batch.content(index, &mut aside))?;
                self.file_chunk(hashed.chunk, place)?;
            }
            self.aside = aside;
        }
        self.monitor.advance(batch.chunks.iter().map(|chunk| u64::from(chunk.chunk.bytes)).sum());
        Ok(batch.buffer)
    }

    /// The next chunk of a file that is stored as it is; its content is asked for only where it has to be written.
    fn raw_chunk<'b>(
        &mut self,
        hashed: &HashedChunk,
        policy: Policy,
        content: impl FnOnce() -> Result<&'b [u8], MarshalError>,
    ) -> Result<Place, MarshalError> {
        let HashedChunk { chunk, zeros, .. } = *hashed;
        let file_offset = self.file.bytes;
        self.file.bytes += u64::from(chunk.bytes);
        if zeros {
            self.file.last = None;
            return Ok(Place::Zeros);
        }
        let known = self.place(&chunk.digest);
        let known = known.filter(|place| self.file.takes(place, policy));
        let place = match known {
            Some(place) => place,
            None => {
                let Spot { pack, offset } = self.packs.raw(chunk, content()?, file_offset, self.file.last)?;
                self.own.add_raw(chunk.digest, pack, offset);
                ChunkPlace::Raw { pack, offset }
            }
        };
        self.file.last = match place {
            ChunkPlace::Raw { pack, offset } => Some(Spot { pack, offset: offset + u64::from(chunk.bytes) }),
            ChunkPlace::Framed { .. } => None,
        };
        Ok(Place::Pack(place))
    }

    /// Decides on a file that was only hashed: taken as it is, or copied after all. Says whether it was taken.
    fn settle(&mut self, adopt: &Adoptable) -> Result<bool, MarshalError> {
        let is_new = |chunk: &HashedChunk| !chunk.zeros && self.place(&chunk.chunk.digest).is_none();
        if adopt.is_mostly(is_new)
            && let Some(pack) = adopt.take(self.transport, &mut self.packs)?
        {
            for &HashedChunk { chunk, start, zeros, .. } in adopt.chunks() {
                let offset = start as u64;
                if zeros {
                    self.file_chunk(chunk, Place::Zeros)?;
                } else {
                    self.own.add_raw(chunk.digest, pack, offset);
                    self.file_chunk(chunk, Place::Pack(ChunkPlace::Raw { pack, offset }))?;
                }
            }
            return Ok(true);
        }
        let mut buffer = Buffer::new();
        for hashed in adopt.chunks() {
            let place = self.raw_chunk(hashed, adopt.policy(), || adopt.read(hashed, &mut buffer.bytes))?;
            self.file_chunk(hashed.chunk, place)?;
        }
        Ok(false)
    }

    fn place(&self, chunk: &Digest) -> Option<ChunkPlace> {
        self.own.place(chunk).or_else(|| self.known.place(chunk))
    }

    fn node(&mut self, node: Node) -> Result<(), MarshalError> {
        self.manifest.node(node, &mut Pages { packs: &mut self.packs, known: self.known })
    }

    fn file_chunk(&mut self, chunk: Chunk, place: Place) -> Result<(), MarshalError> {
        self.manifest.chunk(chunk, place, &mut Pages { packs: &mut self.packs, known: self.known })
    }

    fn end_file(&mut self) -> Result<(), MarshalError> {
        self.manifest.end_file(&mut Pages { packs: &mut self.packs, known: self.known })
    }
}

/// Packs first: a manifest never names one that is not durable.
fn publish(
    manifest: ManifestWriter,
    packs: &mut PackWriter<'_>,
    known: &Known,
    transport: &dyn Transport,
    shape: Shape,
    format: Option<String>,
) -> Result<(Digest, Created, PackStats), MarshalError> {
    let manifest = manifest.finish(shape, format, &mut Pages { packs, known })?;
    let stats = packs.finish()?;
    let object = manifest.to_object();
    let id = Digest::of(&object);
    let created = transport.create(&layout::manifest(&id), &object)?;
    Ok((id, created, stats))
}
