//! Frames that chunks of a batch share.

use super::{
    super::{
        buffer::Buffer,
        hashed::{Hashed, Packed, new_members},
    },
    Assembler, HashedChunk, MarshalError, Place,
};
use kale_protocol::{
    chunk::{Chunk, ChunkPlace, Codec},
    digest::Digest,
};

impl Assembler<'_> {
    /// Writes what is new of a batch as one frame, and says where each chunk is; what belongs to runs is nowhere yet.
    pub(super) fn framed(&mut self, batch: &mut Hashed) -> Result<Vec<Option<Place>>, MarshalError> {
        let Hashed { buffer, chunks, policy, packed, .. } = batch;
        // Without a buffer nothing of it is new.
        let mut nothing = Buffer::default();
        let buffer = buffer.as_mut().unwrap_or(&mut nothing);
        let members = new_members(chunks, |digest| self.place(digest).is_some());
        let mut places = vec![None; chunks.len()];
        if !members.is_empty() {
            // The worker did not know what other batches held.
            let again = match packed {
                Some(packed) if packed.members != members => {
                    self.packer.pack(buffer, chunks, members.clone(), *policy)?
                }
                _ => None,
            };
            let packed = packed.as_ref().filter(|packed| packed.members == members).or(again.as_ref());
            self.frame(buffer, chunks, &members, packed, &mut places)?;
        }
        for index in 0..chunks.len() {
            let HashedChunk { chunk, zeros, run, .. } = chunks[index];
            if zeros && !run {
                places[index] = Some(Place::Zeros);
            } else if !run && places[index].is_none() {
                let known = self.place(&chunk.digest).map(Place::Pack);
                // Where there is no room to remember it, it is the same as an earlier one of this batch.
                let twin = || members.iter().find(|member| chunks[**member].chunk.digest == chunk.digest);
                let place = known.or_else(|| places[*twin()?].clone());
                places[index] = Some(place.expect("what is not new is known, or was met before"));
            }
        }
        Ok(places)
    }

    fn frame(
        &mut self,
        buffer: &Buffer,
        chunks: &[HashedChunk],
        members: &[usize],
        packed: Option<&Packed>,
        places: &mut [Option<Place>],
    ) -> Result<(), MarshalError> {
        let listed: Vec<Chunk> = members.iter().map(|index| chunks[*index].chunk).collect();
        let (pack, frame) = match packed {
            Some(packed) => self.packs.frame(packed.codec, &buffer.packed, listed.clone())?,
            None => self.packs.frame_of(Codec::Raw, &stretches(buffer, chunks, members), listed.clone())?,
        };
        let mut start = 0;
        let starts = listed.iter().map(|chunk| {
            let at = start;
            start += chunk.bytes;
            (chunk.digest, at)
        });
        let starts: Vec<(Digest, u32)> = starts.collect();
        for (index, (_, start)) in members.iter().zip(&starts) {
            places[*index] = Some(Place::Pack(match frame.codec {
                Codec::Raw => ChunkPlace::Raw { pack, offset: frame.offset + u64::from(*start) },
                Codec::Zstd | Codec::ZstdShuffled { .. } => ChunkPlace::Framed { pack, frame, start: *start },
            }));
        }
        self.own.add_framed(pack, frame, starts);
        Ok(())
    }
}

/// The content of members, as few parts as lie one behind the other.
fn stretches<'b>(buffer: &'b Buffer, chunks: &[HashedChunk], members: &[usize]) -> Vec<&'b [u8]> {
    let neighbours = members.chunk_by(|one, next| one + 1 == *next);
    let stretch = |members: &[usize]| {
        let [first, .., last] = *members else { return chunks[members[0]].content(buffer) };
        &buffer.bytes[chunks[first].start..chunks[last].start + chunks[last].chunk.bytes as usize]
    };
    neighbours.map(stretch).collect()
}
