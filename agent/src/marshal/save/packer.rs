//! Frames of what is new of a batch.

use super::{
    super::{MarshalError, probe::Probe, shuffle},
    buffer::{BATCH, Buffer},
    hashed::{HashedChunk, Packed},
    no_compression,
    policy::Policy,
};
use kale_protocol::chunk::Codec;

/// Compresses with a context and a buffer that are used again.
#[derive(Default)]
pub(super) struct Packer {
    context: Option<(i32, zstd::bulk::Compressor<'static>)>,
    gathered: Vec<u8>,
    shuffled: Vec<u8>,
}

impl Packer {
    /// Compresses the members of a batch into one frame; `None` where the policy says that it is not worth it.
    pub(super) fn pack(
        &mut self,
        buffer: &mut Buffer,
        chunks: &[HashedChunk],
        members: Vec<usize>,
        policy: Policy,
    ) -> Result<Option<Packed>, MarshalError> {
        let Policy::Zstd { level, percent, probe, width } = policy else { return Ok(None) };
        if members.is_empty() {
            return Ok(None);
        }
        let Self { context, gathered, shuffled } = self;
        let content = gather(gathered, &buffer.bytes, chunks, &members);
        if probe && !Probe::of(content) {
            return Ok(None);
        }
        let (content, codec) = match width {
            1 => (content, Codec::Zstd),
            width => {
                shuffle::apart(content, width, shuffled);
                (&shuffled[..], Codec::ZstdShuffled { width })
            }
        };
        let context = match context {
            Some((at, context)) if *at == level => context,
            other => &mut other.insert((level, zstd::bulk::Compressor::new(level).map_err(no_compression)?)).1,
        };
        buffer.packed.clear();
        // The most that is ever needed, at once: what grows leaves what it grew out of behind.
        buffer.packed.reserve(zstd::zstd_safe::compress_bound(content.len().max(BATCH)));
        let stored = context.compress_to_buffer(content, &mut buffer.packed).map_err(no_compression)?;
        let worth = (stored as u64) < content.len() as u64 * percent / 100;
        Ok(worth.then_some(Packed { members, codec }))
    }
}

/// The members' content, one behind the other: copied only where some are missing in between.
fn gather<'b>(gathered: &'b mut Vec<u8>, bytes: &'b [u8], chunks: &[HashedChunk], members: &[usize]) -> &'b [u8] {
    let end = |chunk: &HashedChunk| chunk.start + chunk.chunk.bytes as usize;
    let (Some(first), Some(last)) = (members.first(), members.last()) else { return &[] };
    if last - first + 1 == members.len() {
        return &bytes[chunks[*first].start..end(&chunks[*last])];
    }
    gathered.clear();
    gathered.reserve(BATCH);
    members.iter().for_each(|index| gathered.extend_from_slice(&bytes[chunks[*index].start..end(&chunks[*index])]));
    gathered
}
