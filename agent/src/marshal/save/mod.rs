//! Saves content as an artifact: read, cut, hash, compress, pack, in one pass on all cores.
//!
//! The caller's thread walks, and cuts what will be compressed ([`feed`]); workers read, cut the rest ([`files`],
//! [`span`], [`part`]), hash and compress ([`work`]). Whoever has the next item in order ([`turns`]) deduplicates and
//! writes it ([`assemble`]). Content travels in a fixed set of buffers of 2 to 4 MiB: two for each worker and two
//! more, fewer where memory has no room for them. So memory does not depend on the size or number of files: about
//! 10 MiB for each worker, the tables of [`Known`], the index of the open pack (10 MiB at most), two manifest pages,
//! and the names of the folders on the way down. What is stored, but for pack ids and times, does not depend on the
//! number of threads either; with [`Compress::Auto`] only as far as they decide whether a medium counts as fast.

mod adopt;
mod assemble;
mod buffer;
mod compare;
mod content;
mod feed;
mod files;
mod hashed;
mod item;
mod packer;
mod part;
mod policy;
mod raw_file;
mod span;
mod turns;
mod work;

use super::{
    MarshalError,
    known::Known,
    pool,
    source::{Entries, Source},
    walk::Walk,
};
use crate::{report::Monitor, store::Transport};
use assemble::Assembler;
use buffer::Buffers;
use feed::{Feeder, Input};
use kale_protocol::{
    digest::Digest,
    id::PackId,
    manifest::{Shape, Totals},
};
use std::{io, num::NonZeroUsize, thread};
use turns::Turns;
use work::Worker;

/// zstd's fastest level proper: higher ones cost many times more than they save on what pipelines store.
pub(crate) const LEVEL: i32 = 1;

/// How content is compressed.
///
/// Arrays and other content that does not compress by a tenth are stored as they are: a reader can then map, clone or
/// copy them without decoding, and a large file is one extent. Text, which zstd shrinks to a third, is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compress {
    /// Arrays by their format, and what samples say is incompressible, raw; all else at level 1, where that saves a
    /// tenth. Where the medium's rate is known, [`Compress::on`] it, for files that are begun once it was seen, too.
    #[default]
    Auto,
    /// The same, but what is new is compressed only where it is a little among much that is known: for a fast medium.
    Plain,
    /// Everything raw, and long files in one piece, whatever of them is known.
    Never,
    /// Everything at this level, where that saves anything.
    Zstd(i32),
}

/// How to save.
#[derive(Clone, Debug)]
pub struct SaveOptions {
    /// [`Shape::Value`] for an object of step code; otherwise what the source is decides.
    pub shape: Option<Shape>,
    /// What the content is; otherwise a file's content decides, where it is known.
    pub format: Option<String>,
    /// How content is compressed.
    pub compress: Compress,
    /// Whether the medium may be tried out where that decides much, since nothing is known of its rate: with
    /// [`Compress::Auto`] only.
    pub try_out: bool,
    /// Threads that read, hash, compress and write, beside the caller's, which walks.
    pub threads: NonZeroUsize,
}

impl Default for SaveOptions {
    fn default() -> Self {
        let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { shape: None, format: None, compress: Compress::Auto, try_out: false, threads }
    }
}

/// What was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The id of its manifest.
    pub manifest: Digest,
    /// Whether this save made the manifest; otherwise it was there before.
    pub manifest_new: bool,
    /// The digest of the artifact.
    pub digest: Digest,
    /// How it is meant to be used.
    pub shape: Shape,
    /// What its content is, where that is known.
    pub format: Option<String>,
    /// Its size.
    pub totals: Totals,
    /// The length of the packs that this save wrote.
    pub stored_bytes: u64,
    /// These packs.
    pub packs: Vec<PackId>,
    /// Bytes a second that the medium took when it was tried out for this save, and by which this decided.
    pub tried: Option<u64>,
}

/// Saves a source, and returns when its packs and its manifest are durable.
///
/// Chunks in `known` are referred to, not stored; an artifact that is known as a whole writes nothing. On an error no
/// manifest is published, and packs that were are removed, as far as the store lets them be. `monitor` is told of each
/// byte of content once.
pub fn save(
    source: Source,
    transport: &dyn Transport,
    known: &Known,
    options: &SaveOptions,
    monitor: &dyn Monitor,
) -> Result<Saved, MarshalError> {
    let own = matches!(source, Source::Own(_));
    let input = match source {
        Source::Path(path) | Source::Own(path) => Input::Entries(Entries::Walk(Box::new(Walk::open(&path)?))),
        Source::Parts(parts) => Input::Entries(Entries::of_parts(parts)?),
        Source::Striped(parts) => Input::Entries(Entries::of_striped(parts)?),
        Source::Reader(reader) => Input::Stream(reader),
    };
    let workers = options.threads.get();
    let buffers = Buffers::for_workers(workers);
    let turns = Turns::new(Assembler::new(transport, known, monitor), buffers.clone());
    let start = || Ok(Worker::new(known, &turns));
    let read = pool::spread(workers, start, Worker::work, |tasks| {
        let _guard = turns.guard();
        Ok(Feeder::new(&turns, tasks, known, buffers.clone(), options, transport, own).feed(input)?)
    });
    let (assembler, outline) = turns.end();
    // Where the reader or a worker failed, the assembler only ran out of items.
    match read.and(outline) {
        Ok(outline) => assembler.finish(outline, options),
        Err(error) => {
            assembler.abandon();
            Err(error)
        }
    }
}

/// One zstd frame that says how long its content is.
pub(crate) fn compress(content: &[u8], level: i32) -> Result<Vec<u8>, MarshalError> {
    zstd::bulk::compress(content, level).map_err(no_compression)
}

/// zstd fails only where it gets no memory.
fn no_compression(source: io::Error) -> MarshalError {
    MarshalError::Io { action: "compress content of", path: "the artifact".into(), source }
}

#[cfg(test)]
mod tests;
