//! Walks, reads and cuts: what the caller's thread does. What can be read without being cut is left to the workers.

mod group;
mod guided;
mod policies;

use super::{
    super::{
        MarshalError,
        cut::{self, Rule},
        known::Known,
        pool,
        segment::{self, Format, Segment},
        source::{Entries, Regular, now_ns},
        walk::{Found, Visited},
    },
    Compress, SaveOptions,
    adopt::{self, Adoptable},
    buffer::{self, BATCH, Buffer, Buffers, STEP},
    content::{Content, Holed, Stream, spool, stream_failed, whole_chunks},
    item::{Entry, Item, Outline, Stop},
    part::Part,
    policy::Policy,
    span::Span,
    turns::Turns,
    work::{Fill, Job, Of, Task},
};
use crate::store::Transport;
use crossbeam_channel::{Receiver, bounded};
use group::Group;
use kale_protocol::{
    manifest::{Node, Shape, What},
    path::ArtifactPath,
};
use std::{io::Read, mem, num::NonZeroUsize, ops::Range, sync::Arc};

/// Content up to this length is one chunk, and shares a frame with its neighbours.
const SMALL: u64 = cut::MIN as u64;
const STREAM_MODE: u16 = 0o644;

/// What is to be fed.
pub(super) enum Input {
    Entries(Entries),
    Stream(Box<dyn Read + Send>),
}

/// Reads a source and sends it on.
pub(super) struct Feeder<'t, 'a> {
    turns: &'t Turns<'a>,
    tasks: &'t pool::Feeder<'t, Task>,
    known: &'t Known,
    buffers: Buffers,
    open_files: Arc<()>,
    compress: Compress,
    /// How much of a long file goes into a buffer.
    part: usize,
    threads: NonZeroUsize,
    medium: &'t dyn Transport,
    /// Whether the medium is to be tried out where its rate decides much.
    tries_out: bool,
    /// What it took then.
    tried: Option<u64>,
    /// Whether the medium may adopt what is fed.
    adopts: bool,
    /// Set after a file that the store may take.
    settling: Option<Receiver<()>>,
    group: Group,
    /// A buffer that was taken and not needed; there are only so many, and a lost one would be waited for.
    spare: Option<Buffer>,
    /// How many items were sent.
    sent: u64,
}

impl<'t, 'a> Feeder<'t, 'a> {
    pub(super) fn new(
        turns: &'t Turns<'a>,
        tasks: &'t pool::Feeder<'t, Task>,
        known: &'t Known,
        buffers: Buffers,
        options: &SaveOptions,
        medium: &'t dyn Transport,
        adopts: bool,
    ) -> Self {
        let SaveOptions { compress, threads, try_out, .. } = *options;
        let (group, open_files) = (Group::default(), Arc::new(()));
        let part = buffer::part(buffers.most() + threads.get());
        Self {
            turns,
            tasks,
            known,
            buffers,
            open_files,
            compress,
            part,
            threads,
            medium,
            tries_out: try_out && compress == Compress::Auto,
            tried: None,
            adopts,
            settling: None,
            group,
            spare: None,
            sent: 0,
        }
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
                    if let Some(settled) = self.settling.take() {
                        settled.recv().map_err(|_| Stop::Gone)?;
                        entries.renew()?;
                    }
                    if is_root {
                        format = found;
                    }
                }
            }
        }
        self.done(shape, format)
    }

    fn done(&mut self, shape: Shape, format: Option<Format>) -> Result<(), Stop> {
        let only = self.sent == 0;
        self.send_group(only)?;
        self.send(Item::Done(Outline { shape, format, tried: self.tried }))
    }

    /// A file; returns its format where it is the root.
    fn regular(&mut self, file: Regular, meta: Meta, is_root: bool) -> Result<Option<Format>, Stop> {
        let bytes = file.bytes();
        let sparse = file.is_sparse();
        if bytes <= SMALL {
            let format = if is_root { segment::split(file.file(), bytes).format } else { None };
            self.member(meta, file, sparse)?;
            return Ok(format);
        }
        if bytes <= BATCH as u64 && !sparse && !is_root {
            self.member(meta, file, sparse)?;
            return Ok(None);
        }
        let segments = segment::split(file.file(), bytes);
        let policies = self.policies(&file, &segments.segments)?;
        let file = Arc::new(file);
        let same = self.same(&file, &meta.path, &segments.segments)?;
        let whole = same.as_ref().is_some_and(|same| same.end == bytes);
        // What is raw throughout, else what is kept as it is where it is new; compressed, it would be written.
        let worst = policies.iter().copied().find(|policy| *policy != Policy::Raw).unwrap_or(Policy::Raw);
        let adopts = self.adopts && !whole && !policies.iter().any(|policy| matches!(policy, Policy::Zstd { .. }));
        let adopt = if adopts { adopt::watch(self.medium, &file, worst)? } else { None };
        let settled = adopt.is_some().then(|| {
            let (settled, settling) = bounded(1);
            self.settling = Some(settling);
            settled
        });
        // What is adopted has to be hashed as one.
        let mut same = same.filter(|_| settled.is_none());
        self.begin(meta, sparse, adopt)?;
        for (segment, policy) in segments.segments.iter().zip(policies) {
            let rest = match &mut same {
                Some(same) => self.send_same(same, &file, *segment, policy)?,
                None => *segment,
            };
            if rest.bytes() == 0 {
                continue;
            }
            match segment.rule {
                _ if sparse => self.cut(&mut Holed::new(&file), rest, policy)?,
                Rule::Fixed => self.parts(&file, rest, policy, settled.is_none())?,
                Rule::Content if matches!(policy, Policy::Zstd { .. }) => {
                    self.cut(&mut Holed::new(&file), rest, policy)?;
                }
                Rule::Content => self.spans(&file, rest, policy)?,
            }
        }
        self.send(Item::End { file: Some(file), settled })?;
        Ok(segments.format)
    }

    /// Sends a segment that needs no cutting, to be read by the workers.
    fn parts(&mut self, file: &Arc<Regular>, segment: Segment, policy: Policy, wanted: bool) -> Result<(), Stop> {
        // What is written is to be in a cache still when it is; a frame is never longer than a batch either.
        let part = if wanted { BATCH } else { self.part };
        for at in (segment.start..segment.end).step_by(part) {
            let bytes = (segment.end - at).min(part as u64) as usize;
            let lengths = (0..bytes).step_by(cut::MAX).map(|start| (bytes - start).min(cut::MAX) as u32).collect();
            let part = Part { file: Arc::clone(file), offset: at, wanted };
            self.job(Of::File, None, Fill::Part(part), lengths, policy)?;
        }
        Ok(())
    }

    /// Sends a segment that is kept as it is, to be cut by the workers.
    fn spans(&mut self, file: &Arc<Regular>, segment: Segment, policy: Policy) -> Result<(), Stop> {
        for span in Span::of(file, segment, self.part) {
            self.job(Of::File, None, Fill::Span(span), Vec::new(), policy)?;
        }
        Ok(())
    }

    /// A stream: in memory if it is short, in a temporary file if it may have tables, else as it comes.
    fn stream(&mut self, mut reader: Box<dyn Read + Send>) -> Result<(), Stop> {
        let mut head = Vec::new();
        (&mut reader).take(SMALL + 1).read_to_end(&mut head).map_err(|source| stream_failed("read", source))?;
        let meta = Meta { path: ArtifactPath::root(), mode: STREAM_MODE, modified_ns: now_ns() };
        let known = Format::of_magic(&head);
        let format = if head.len() as u64 <= SMALL {
            self.short(meta, &head, false)?;
            segment::split(&head[..], head.len() as u64).format
        } else if known.is_some() {
            self.regular(spool(&head, &mut reader)?, meta, true)?
        } else {
            self.begin(meta, false, None)?;
            let segment = Segment { start: 0, end: u64::MAX, rule: Rule::Content };
            self.cut(&mut Stream { head: &head, reader }, segment, Policy::blind(self.compress))?;
            self.send(Item::End { file: None, settled: None })?;
            None
        };
        self.done(Shape::File, format)
    }

    fn begin(&mut self, meta: Meta, sparse: bool, adopt: Option<Adoptable>) -> Result<(), Stop> {
        self.send_group(false)?;
        let Meta { path, mode, modified_ns } = meta;
        self.send(Item::Begin { path, mode, modified_ns, sparse, adopt })
    }

    /// Cuts a segment and sends its chunks in batches.
    fn cut(&mut self, content: &mut dyn Content, segment: Segment, policy: Policy) -> Result<(), Stop> {
        let Segment { start: mut base, mut end, rule } = segment;
        let mut buffer = self.buffer()?;
        buffer.bytes.begin_at(base);
        let (mut lengths, mut cut, mut read, mut tested) = (Vec::new(), 0, 0, 0);
        let step = if rule == Rule::Fixed { cut::MAX } else { STEP };
        loop {
            let at = base + cut as u64;
            let (count, chunk_bytes) = whole_chunks(content.hole_end(at).min(end), at, end);
            if count > 0 {
                if cut > 0 {
                    buffer = self.send_batch(buffer, &mut lengths, policy, cut..cut, at)?;
                }
                self.send(Item::Hole { count, chunk_bytes })?;
                (base, cut, read, tested) = (at + count * u64::from(chunk_bytes), 0, 0, 0);
                continue;
            }
            let window = (end - at).min(cut::MAX as u64) as usize;
            if window == 0 {
                break;
            }
            let seen = (read - cut).min(window);
            let first = rule.first_chunk(&buffer.bytes[cut..cut + seen], seen == window, &mut tested);
            let Some(length) = first else {
                let until = (read + step).min(cut + window);
                let got = content.read(&mut buffer.bytes[read..until], base + read as u64)?;
                if got < until - read {
                    end = base + (read + got) as u64;
                }
                read += got;
                continue;
            };
            if cut + length > BATCH && cut > 0 {
                buffer = self.send_batch(buffer, &mut lengths, policy, cut..read, at)?;
                (base, read, cut) = (at, read - cut, 0);
            }
            lengths.push(length as u32);
            cut += length;
        }
        if cut == 0 {
            self.spare = Some(buffer);
            return Ok(());
        }
        self.job(Of::File, Some(buffer), Fill::Full, lengths, policy)
    }

    /// Sends what is cut, and gives a new buffer for what comes `at` that offset, which begins with what was read of it.
    fn send_batch(
        &mut self,
        buffer: Buffer,
        lengths: &mut Vec<u32>,
        policy: Policy,
        ahead: Range<usize>,
        at: u64,
    ) -> Result<Buffer, Stop> {
        let mut next = self.buffer()?;
        next.bytes.begin_at(at);
        next.bytes[..ahead.len()].copy_from_slice(&buffer.bytes[ahead]);
        self.job(Of::File, Some(buffer), Fill::Full, mem::take(lengths), policy)?;
        Ok(next)
    }

    /// How the next group is compressed: where the medium is seen to be fast meanwhile, not at all.
    fn compress(&self) -> Compress {
        self.compress.on(self.medium.rate(), self.threads, true)
    }

    fn job(
        &mut self,
        of: Of,
        buffer: Option<Buffer>,
        fill: Fill,
        lengths: Vec<u32>,
        policy: Policy,
    ) -> Result<(), Stop> {
        let job = Job { at: self.turn(), of, buffer, fill, lengths, policy };
        self.tasks.send(Task::Batch(Box::new(job))).map_err(|_| Stop::Gone)
    }

    fn buffer(&mut self) -> Result<Buffer, Stop> {
        self.spare.take().map_or_else(|| self.buffers.take(), Ok)
    }

    fn send(&mut self, item: Item) -> Result<(), Stop> {
        let at = self.turn();
        self.turns.send(at, item)
    }

    fn turn(&mut self) -> u64 {
        self.sent += 1;
        self.sent - 1
    }
}

/// What a node says of a file, beside its content.
struct Meta {
    path: ArtifactPath,
    mode: u16,
    modified_ns: i64,
}
