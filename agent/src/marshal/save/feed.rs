//! Reads and cuts: what the reader thread does.

use super::{
    super::{
        MarshalError,
        cut::{self, Rule},
        probe::{self, Probe},
        segment::{self, Format, Segment},
        source::{Entries, Regular, now_ns},
        walk::{Found, Visited},
    },
    Compress, LEVEL, SaveOptions,
    content::{Content, Stream, spool, stream_failed, whole_chunks},
    work::{AUTO_PERCENT, Hashed, Job, Policy},
};
use crossbeam_channel::{Receiver, Sender, bounded};
use kale_protocol::{
    manifest::{Node, Shape, What},
    path::ArtifactPath,
};
use std::{io::Read, mem, ops::Range};

/// Batches of chunks are about this long: one frame where they are compressed.
const BATCH: usize = 1 << 20;
/// Most entries of one group of small files.
const GROUP: usize = 1024;
/// About the most bytes of paths and targets in one group.
const GROUP_NAMES: usize = 256 << 10;
/// Content up to this length is one chunk, and shares a frame with its neighbours.
const SMALL: u64 = cut::MIN as u64;
/// Samples that decide whether a segment is compressed.
const SAMPLES: u64 = 64;
/// Parts of a typed file up to this length are stored as their neighbours are, so that these stay one extent.
const SHORT_PART: u64 = 1 << 20;
const STREAM_MODE: u16 = 0o644;

/// Content on its way: a batch, and as much again for looking ahead.
pub(super) struct Buffer {
    pub(super) bytes: Box<[u8]>,
}

impl Buffer {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; BATCH + cut::MAX].into_boxed_slice() }
    }
}

/// What is to be fed.
pub(super) enum Input {
    Entries(Entries),
    Stream(Box<dyn Read + Send>),
}

/// What the assembler gets, in path order.
pub(super) enum Item {
    /// Entries that are whole, with the batch that holds the content of the small files among them.
    Group {
        entries: Vec<Entry>,
        batch: Option<Receiver<Hashed>>,
        /// Whether nothing else comes before or after it.
        only: bool,
    },
    /// A large file begins.
    Begin { path: ArtifactPath, mode: u16, modified_ns: i64, sparse: bool },
    /// Its next chunks.
    Batch(Receiver<Hashed>),
    /// Its next chunks, of zeros, from a hole.
    Hole { count: u64, chunk_bytes: u32 },
    /// It ends.
    End,
    /// All was read.
    Done { shape: Shape, format: Option<Format> },
}

/// One entry of a group.
pub(super) enum Entry {
    /// No file.
    Node(Node),
    /// A file whose content is the batch's next chunk, or nothing.
    File { path: ArtifactPath, mode: u16, modified_ns: i64, sparse: bool, empty: bool },
}

/// Why feeding ends early.
pub(super) enum Stop {
    /// The assembler takes no more; it knows why.
    Gone,
    Failed(MarshalError),
}

impl From<MarshalError> for Stop {
    fn from(error: MarshalError) -> Self {
        Self::Failed(error)
    }
}

/// Reads a source and sends it on.
pub(super) struct Feeder {
    items: Sender<Item>,
    jobs: Sender<Job>,
    buffers: Receiver<Buffer>,
    compress: Compress,
    group: Group,
    /// A buffer that was taken and not needed; there are only so many, and a lost one would be waited for.
    spare: Option<Buffer>,
    /// Whether anything was sent.
    sent: bool,
}

#[derive(Default)]
struct Group {
    entries: Vec<Entry>,
    names: usize,
    buffer: Option<Buffer>,
    lengths: Vec<u32>,
    filled: usize,
}

impl Feeder {
    pub(super) fn new(
        items: Sender<Item>,
        jobs: Sender<Job>,
        buffers: Receiver<Buffer>,
        options: &SaveOptions,
    ) -> Self {
        Self { items, jobs, buffers, compress: options.compress, group: Group::default(), spare: None, sent: false }
    }

    /// Feeds all of it. An assembler that takes no more is no error here: it has its own.
    pub(super) fn feed(mut self, input: Input) -> Result<(), MarshalError> {
        let fed = match input {
            Input::Entries(entries) => self.entries(entries),
            Input::Stream(reader) => self.stream(reader),
        };
        match fed {
            Ok(()) | Err(Stop::Gone) => Ok(()),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    fn entries(&mut self, mut entries: Entries) -> Result<(), Stop> {
        let (mut shape, mut format) = (Shape::File, None);
        while let Some(entry) = entries.next()? {
            let Visited { path, local, mode, modified_ns, found } = entry;
            let is_root = path.is_root();
            let node = |what| Entry::Node(Node { path: path.clone(), mode, modified_ns, what });
            match found {
                Found::Folder => {
                    if is_root {
                        shape = Shape::Tree;
                    }
                    self.entry(node(What::Folder), path.as_bytes().len())?;
                }
                Found::Symlink(target) => {
                    let names = path.as_bytes().len() + target.len();
                    self.entry(node(What::Symlink { target }), names)?;
                }
                Found::HardLink(to) => {
                    let names = path.as_bytes().len() + to.as_bytes().len();
                    self.entry(node(What::HardLink { to }), names)?;
                }
                Found::Fifo => self.entry(node(What::Fifo), path.as_bytes().len())?,
                Found::File(file, stat) => {
                    let meta = Meta { path, mode, modified_ns };
                    let found = self.regular(Regular::new(file, local, stat), meta, is_root)?;
                    if is_root {
                        format = found;
                    }
                }
            }
        }
        self.done(shape, format)
    }

    fn done(&mut self, shape: Shape, format: Option<Format>) -> Result<(), Stop> {
        let only = !self.sent;
        self.send_group(only)?;
        self.send(Item::Done { shape, format })
    }

    /// A file; returns its format where it is the root.
    fn regular(&mut self, mut file: Regular, meta: Meta, is_root: bool) -> Result<Option<Format>, Stop> {
        let bytes = file.bytes();
        let sparse = file.is_sparse();
        if bytes <= SMALL {
            let mut content = [0; SMALL as usize];
            let content = &mut content[..bytes as usize];
            file.read_exact(content, 0)?;
            file.check_unchanged()?;
            self.small(meta, content, sparse)?;
            return Ok(if is_root { segment::split(content, bytes).format } else { None });
        }
        self.begin(meta, sparse)?;
        let segments = segment::split(file.file(), bytes);
        let typed = segments.segments.iter().any(|segment| segment.rule == Rule::Fixed);
        for segment in &segments.segments {
            let policy = self.policy(&file, segment, typed)?;
            self.cut(&mut file, *segment, policy)?;
        }
        file.check_unchanged()?;
        self.send(Item::End)?;
        Ok(segments.format)
    }

    /// A stream: in memory if it is short, in a temporary file if it may have tables, else as it comes.
    fn stream(&mut self, mut reader: Box<dyn Read + Send>) -> Result<(), Stop> {
        let mut head = Vec::new();
        (&mut reader).take(SMALL + 1).read_to_end(&mut head).map_err(|source| stream_failed("read", source))?;
        let meta = Meta { path: ArtifactPath::root(), mode: STREAM_MODE, modified_ns: now_ns() };
        let known = Format::of_magic(&head);
        let format = if head.len() as u64 <= SMALL {
            self.small(meta, &head, false)?;
            segment::split(&head[..], head.len() as u64).format
        } else if known.is_some() {
            self.regular(spool(&head, &mut reader)?, meta, true)?
        } else {
            self.begin(meta, false)?;
            let segment = Segment { start: 0, end: u64::MAX, rule: Rule::Gear };
            self.cut(&mut Stream { head: &head, reader }, segment, self.blind_policy())?;
            self.send(Item::End)?;
            None
        };
        self.done(Shape::File, format)
    }

    fn begin(&mut self, meta: Meta, sparse: bool) -> Result<(), Stop> {
        self.send_group(false)?;
        let Meta { path, mode, modified_ns } = meta;
        self.send(Item::Begin { path, mode, modified_ns, sparse })
    }

    /// Cuts a segment and sends its chunks in batches.
    fn cut(&mut self, content: &mut dyn Content, segment: Segment, policy: Policy) -> Result<(), Stop> {
        let Segment { start: mut base, mut end, rule } = segment;
        let mut buffer = self.buffer()?;
        let (mut lengths, mut cut, mut read) = (Vec::new(), 0, 0);
        loop {
            let at = base + cut as u64;
            let (count, chunk_bytes) = whole_chunks(content.hole_end(at).min(end), at, end);
            if count > 0 {
                if cut > 0 {
                    buffer = self.send_batch(buffer, &mut lengths, policy, cut..cut)?;
                }
                self.send(Item::Hole { count, chunk_bytes })?;
                (base, cut, read) = (at + count * u64::from(chunk_bytes), 0, 0);
                continue;
            }
            let window = (end - at).min(cut::MAX as u64) as usize;
            if read - cut < window {
                let got = content.read(&mut buffer.bytes[read..cut + window], base + read as u64)?;
                if got < cut + window - read {
                    end = base + (read + got) as u64;
                }
                read += got;
            }
            let window = (end - at).min(cut::MAX as u64) as usize;
            if window == 0 {
                break;
            }
            let length = rule.first_chunk(&buffer.bytes[cut..cut + window]);
            if cut + length > BATCH && cut > 0 {
                buffer = self.send_batch(buffer, &mut lengths, policy, cut..read)?;
                (base, read, cut) = (at, read - cut, 0);
            }
            lengths.push(length as u32);
            cut += length;
        }
        if cut == 0 {
            self.spare = Some(buffer);
            return Ok(());
        }
        let batch = self.job(buffer, lengths, policy)?;
        self.send(Item::Batch(batch))
    }

    /// Sends what is cut, and gives a new buffer that begins with what was read beyond it.
    fn send_batch(
        &mut self,
        buffer: Buffer,
        lengths: &mut Vec<u32>,
        policy: Policy,
        ahead: Range<usize>,
    ) -> Result<Buffer, Stop> {
        let mut next = self.buffer()?;
        next.bytes[..ahead.len()].copy_from_slice(&buffer.bytes[ahead]);
        let batch = self.job(buffer, mem::take(lengths), policy)?;
        self.send(Item::Batch(batch))?;
        Ok(next)
    }

    /// How a segment of a file is stored: decided once, so that what is raw is one run.
    fn policy(&self, file: &Regular, segment: &Segment, typed: bool) -> Result<Policy, MarshalError> {
        let raw = match self.compress {
            Compress::Never => true,
            Compress::Zstd(_) => false,
            Compress::Auto if segment.rule == Rule::Fixed || typed && segment.bytes() <= SHORT_PART => true,
            Compress::Auto => !self.samples(file, segment)?.compressible(),
        };
        Ok(match self.blind_policy() {
            _ if raw => Policy::Raw,
            Policy::Zstd { level, percent, .. } => Policy::Zstd { level, percent, probe: false },
            Policy::Raw => Policy::Raw,
        })
    }

    fn samples(&self, file: &Regular, segment: &Segment) -> Result<Probe, MarshalError> {
        let mut probe = Probe::default();
        let step = (segment.bytes() / SAMPLES).max(probe::EVERY as u64);
        let mut sample = [0; probe::SAMPLE];
        for at in (segment.start..segment.end).step_by(step as usize) {
            let sample = &mut sample[..(segment.end - at).min(probe::SAMPLE as u64) as usize];
            file.read_exact(sample, at)?;
            probe.push(sample);
        }
        Ok(probe)
    }

    /// How content is stored of which nothing is known beforehand.
    fn blind_policy(&self) -> Policy {
        match self.compress {
            Compress::Auto => Policy::Zstd { level: LEVEL, percent: AUTO_PERCENT, probe: true },
            Compress::Never => Policy::Raw,
            Compress::Zstd(level) => Policy::Zstd { level, percent: 100, probe: false },
        }
    }

    /// Adds a small file to the group.
    fn small(&mut self, meta: Meta, content: &[u8], sparse: bool) -> Result<(), Stop> {
        if self.group.filled + content.len() > BATCH {
            self.send_group(false)?;
        }
        if !content.is_empty() {
            let mut buffer = match self.group.buffer.take() {
                Some(buffer) => buffer,
                None => self.buffer()?,
            };
            let group = &mut self.group;
            buffer.bytes[group.filled..group.filled + content.len()].copy_from_slice(content);
            group.buffer = Some(buffer);
            group.filled += content.len();
            group.lengths.push(content.len() as u32);
        }
        let names = meta.path.as_bytes().len();
        let Meta { path, mode, modified_ns } = meta;
        self.entry(Entry::File { path, mode, modified_ns, sparse, empty: content.is_empty() }, names)
    }

    fn entry(&mut self, entry: Entry, names: usize) -> Result<(), Stop> {
        self.group.entries.push(entry);
        self.group.names += names;
        let full = self.group.entries.len() >= GROUP || self.group.names >= GROUP_NAMES;
        if full { self.send_group(false) } else { Ok(()) }
    }

    fn send_group(&mut self, only: bool) -> Result<(), Stop> {
        let Group { entries, buffer, lengths, .. } = mem::take(&mut self.group);
        if entries.is_empty() {
            return Ok(());
        }
        let policy = self.blind_policy();
        let batch = buffer.map(|buffer| self.job(buffer, lengths, policy)).transpose()?;
        self.send(Item::Group { entries, batch, only })
    }

    fn job(&self, buffer: Buffer, lengths: Vec<u32>, policy: Policy) -> Result<Receiver<Hashed>, Stop> {
        let (done, batch) = bounded(1);
        self.jobs.send(Job { buffer, lengths, policy, done }).map_err(|_| Stop::Gone)?;
        Ok(batch)
    }

    fn buffer(&mut self) -> Result<Buffer, Stop> {
        self.spare.take().map_or_else(|| self.buffers.recv().map_err(|_| Stop::Gone), Ok)
    }

    fn send(&mut self, item: Item) -> Result<(), Stop> {
        self.sent = true;
        self.items.send(item).map_err(|_| Stop::Gone)
    }
}

/// What a node says of a file, beside its content.
struct Meta {
    path: ArtifactPath,
    mode: u16,
    modified_ns: i64,
}
