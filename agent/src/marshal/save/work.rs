//! Hashes and compresses batches of chunks: what the worker threads do.

use super::{
    super::{
        MarshalError,
        cut::{self, Rule},
        known::Known,
        probe::Probe,
        room::Room,
        segment::Segment,
        shuffle,
        source::Regular,
        zeros::{is_zeros, zeros_digest},
    },
    Compress, LEVEL,
    buffer::{BATCH, Buffer},
    compare::Comparison,
    files::Files,
    no_compression,
    span::Span,
};
use crossbeam_channel::{Receiver, Sender};
use kale_protocol::{
    chunk::{Chunk, Codec},
    digest::Digest,
};
use std::{collections::HashSet, ops::Range, sync::Arc};

/// A compressed frame must save so much to be worth decoding.
pub(super) const AUTO_PERCENT: u64 = 90;

/// A batch of which at most one in so many bytes is new is mostly known.
const FEW: u64 = 4;

/// Parts of a typed file up to this length are stored as their neighbours are, so that these stay one extent.
const SHORT_PART: u64 = 1 << 20;

/// How a batch is to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// As it is, and as few runs as it may be: what is known to lie in frames is written again.
    Raw,
    /// As it is where much is new; what is known stays where it is, in frames, too.
    Plain,
    /// Compressed, where that makes it less than so many per cent; bytes of elements of this width apart.
    Zstd { level: i32, percent: u64, probe: bool, width: u8 },
}

impl Policy {
    /// For content of which nothing is known beforehand.
    pub(super) fn blind(compress: Compress) -> Self {
        match compress {
            Compress::Auto => Self::Zstd { level: LEVEL, percent: AUTO_PERCENT, probe: true, width: 1 },
            Compress::Never => Self::Raw,
            Compress::Plain => Self::Plain,
            Compress::Zstd(level) => Self::Zstd { level, percent: 100, probe: false, width: 1 },
        }
    }

    /// For a segment of a file that has typed ones or not, decided once, so that what is raw is one run.
    pub(super) fn of(
        compress: Compress,
        segment: &Segment,
        typed: bool,
        compresses: impl FnOnce() -> Result<bool, MarshalError>,
    ) -> Result<Self, MarshalError> {
        let raw = match compress {
            Compress::Never => true,
            Compress::Zstd(_) => false,
            _ if segment.rule == Rule::Fixed || typed && segment.bytes() <= SHORT_PART => true,
            Compress::Plain => false,
            Compress::Auto => !compresses()?,
        };
        Ok(match Self::blind(compress) {
            _ if raw => Self::Raw,
            Self::Zstd { level, percent, .. } => Self::Zstd { level, percent, probe: false, width: 1 },
            as_it_is => as_it_is,
        })
    }
}

/// What a worker is asked to do.
pub(super) enum Task {
    Batch(Box<Job>),
    Compare(Comparison),
}

/// Chunks that lie one behind the other in a buffer, once it is filled.
pub(super) struct Job {
    pub(super) buffer: Buffer,
    pub(super) fill: Fill,
    pub(super) lengths: Vec<u32>,
    pub(super) policy: Policy,
    pub(super) done: Sender<Hashed>,
}

/// What is to be read into a buffer before it is hashed: by a worker where that can be, so that the content is hot in
/// the cache of the core that hashes it, and the thread that walks the tree does not wait for it.
pub(super) enum Fill {
    /// Nothing: it is full.
    Full,
    /// A part of a large file.
    Part(Part),
    /// A part of a large file which is still to be cut.
    Span(Span),
    /// Files, each at its place.
    Files(Files),
}

/// Where a part of a large file begins, and whether its content is wanted, or only what it hashes to.
pub(super) struct Part {
    pub(super) file: Arc<Regular>,
    pub(super) offset: u64,
    pub(super) wanted: bool,
}

/// Reads a chunk of a file once more; it has to be what it was.
pub(super) fn read_again(file: &Regular, offset: u64, chunk: &Chunk, content: &mut [u8]) -> Result<(), MarshalError> {
    file.read_exact(content, offset)?;
    if Digest::of(content) == chunk.digest {
        return Ok(());
    }
    let how = format!("its content from byte {offset} on changed");
    Err(MarshalError::Changed { path: file.path().to_owned(), how })
}

/// A batch of which everything is known.
pub(super) struct Hashed {
    pub(super) buffer: Buffer,
    /// Where it was read from, for chunks that the buffer does not have.
    pub(super) part: Option<Part>,
    pub(super) chunks: Vec<HashedChunk>,
    /// How many of them each file has, where these are the files of a group.
    pub(super) files: Vec<usize>,
    pub(super) policy: Policy,
    /// A frame of some of the chunks, if it is worth it.
    pub(super) packed: Option<Packed>,
}

/// A chunk of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct HashedChunk {
    pub(super) chunk: Chunk,
    /// Where it starts in the buffer.
    pub(super) start: usize,
    pub(super) zeros: bool,
    /// Whether the buffer has its content; that of known ones need not be there.
    pub(super) held: bool,
    /// Whether it belongs to a run of its file, and to no frame that files share.
    pub(super) run: bool,
}

impl HashedChunk {
    /// Hashes content that starts there in its buffer.
    pub(super) fn of(content: &[u8], start: usize) -> Self {
        let (zeros, bytes) = (is_zeros(content), content.len() as u32);
        let digest = if zeros { zeros_digest(bytes) } else { Digest::of(content) };
        Self { chunk: Chunk { bytes, digest }, start, zeros, held: true, run: false }
    }

    /// Its content, which has to be held.
    pub(super) fn content<'b>(&self, buffer: &'b Buffer) -> &'b [u8] {
        &buffer.bytes[self.start..self.start + self.chunk.bytes as usize]
    }
}

/// A compressed frame; its bytes are in [`Buffer::packed`].
pub(super) struct Packed {
    /// Which chunks of the batch are in it.
    pub(super) members: Vec<usize>,
    /// How it is to be decoded.
    pub(super) codec: Codec,
}

impl Hashed {
    /// The content of one of its chunks, read again where the buffer does not have it.
    pub(super) fn content(&mut self, index: usize) -> Result<&[u8], MarshalError> {
        let HashedChunk { chunk, start, held, .. } = self.chunks[index];
        let content = &mut self.buffer.bytes[start..start + chunk.bytes as usize];
        if let (false, Some(part)) = (held, &self.part) {
            read_again(&part.file, part.offset + start as u64, &chunk, content)?;
        }
        Ok(content)
    }
}

/// Takes tasks until there are no more.
pub(super) fn work(tasks: &Receiver<Task>, known: &Known) -> Result<(), MarshalError> {
    let mut packer = Packer::default();
    let mut reader = PartReader::default();
    for task in tasks {
        match task {
            Task::Batch(job) => batch(*job, known, &mut packer, &mut reader)?,
            Task::Compare(comparison) => comparison.compare(reader.aside(0, cut::MAX))?,
        }
    }
    Ok(())
}

fn batch(job: Job, known: &Known, packer: &mut Packer, reader: &mut PartReader) -> Result<(), MarshalError> {
    let Job { mut buffer, fill, lengths, policy, done } = job;
    let (mut part, mut files) = (None, Vec::new());
    let chunks = match fill {
        Fill::Full => {
            let starts = lengths.iter().scan(0, |end, bytes| {
                let start = *end;
                *end += *bytes as usize;
                Some(start..*end)
            });
            starts.map(|place| HashedChunk::of(&buffer.bytes[place.clone()], place.start)).collect()
        }
        Fill::Part(of) => {
            let chunks = reader.part(&of, &mut buffer, &lengths, known, policy)?;
            part = Some(of);
            chunks
        }
        Fill::Span(span) => match span.cut(&mut buffer)? {
            Some(chunks) => chunks,
            // Whoever gave up the span before has the error.
            None => return Ok(()),
        },
        Fill::Files(group) => {
            let (chunks, counts) = group.hash(&mut buffer)?;
            files = counts;
            chunks
        }
    };
    let packed = match policy {
        Policy::Raw => None,
        Policy::Plain | Policy::Zstd { .. } => {
            let members = new_members(&chunks, |digest| known.place(digest).is_some());
            let policy = if policy == Policy::Plain { among_known(&chunks, &members) } else { policy };
            packer.pack(&mut buffer, &chunks, members, policy)?
        }
    };
    // Nobody waits for it when the save has failed elsewhere.
    drop(done.send(Hashed { buffer, part, chunks, files, policy, packed }));
    Ok(())
}

/// Reads parts of large files.
///
/// Each chunk is hashed while it is in the cache. Content that nobody will want, since the store has it, is read to the
/// same place again and again, which stays in this core's.
#[derive(Default)]
struct PartReader {
    scratch: Room,
    /// Whether the last chunk was known: then the next one often is.
    was_known: bool,
}

impl PartReader {
    /// Room for content that nobody wants, which begins at this offset in its file.
    fn aside(&mut self, offset: u64, bytes: usize) -> &mut [u8] {
        &mut self.scratch.of(offset, cut::MAX.max(bytes))[..bytes]
    }

    /// Chunks of these lengths, one behind the other.
    fn part(
        &mut self,
        part: &Part,
        buffer: &mut Buffer,
        lengths: &[u32],
        known: &Known,
        policy: Policy,
    ) -> Result<Vec<HashedChunk>, MarshalError> {
        let (mut chunks, mut start) = (Vec::with_capacity(lengths.len()), 0);
        for bytes in lengths {
            let end = start + *bytes as usize;
            let aside = !part.wanted || self.was_known && policy == Policy::Raw;
            chunks.push(self.chunk(part, buffer, start..end, aside, known)?);
            start = end;
        }
        Ok(chunks)
    }

    fn chunk(
        &mut self,
        part: &Part,
        buffer: &mut Buffer,
        place: Range<usize>,
        aside: bool,
        known: &Known,
    ) -> Result<HashedChunk, MarshalError> {
        let is_known = |hashed: &HashedChunk| hashed.zeros || known.place(&hashed.chunk.digest).is_some();
        let (start, offset) = (place.start, part.offset + place.start as u64);
        if !aside {
            part.file.read_exact(&mut buffer.bytes[place.clone()], offset)?;
            let hashed = HashedChunk::of(&buffer.bytes[place], start);
            self.was_known = is_known(&hashed);
            return Ok(hashed);
        }
        let content = self.aside(offset, place.len());
        part.file.read_exact(content, offset)?;
        let mut hashed = HashedChunk::of(content, start);
        let known = is_known(&hashed);
        hashed.held = part.wanted && !known;
        if hashed.held {
            buffer.bytes[place].copy_from_slice(content);
        }
        self.was_known = known;
        Ok(hashed)
    }
}

/// What a fast medium has of a batch that is mostly known: a little that is new is compressed in no time, and the second
/// version of what was compressed is no longer than the first one's share of it.
fn among_known(chunks: &[HashedChunk], members: &[usize]) -> Policy {
    let all: u64 = chunks.iter().map(|hashed| u64::from(hashed.chunk.bytes)).sum();
    let new: u64 = members.iter().map(|index| u64::from(chunks[*index].chunk.bytes)).sum();
    if new <= all / FEW { Policy::blind(Compress::Auto) } else { Policy::Plain }
}

/// The first of each chunk that may share a frame, and is neither zeros nor known.
pub(super) fn new_members(chunks: &[HashedChunk], mut is_known: impl FnMut(&Digest) -> bool) -> Vec<usize> {
    let mut seen = HashSet::new();
    let mut new = |HashedChunk { chunk, zeros, run, .. }: &HashedChunk| {
        !zeros && !run && !is_known(&chunk.digest) && seen.insert(chunk.digest)
    };
    (0..chunks.len()).filter(|index| new(&chunks[*index])).collect()
}

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
