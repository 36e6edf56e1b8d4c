//! The order of a restore: folders, links and files; then hard links; then modes and times of folders.
//!
//! Nothing is remembered per node between these passes. The manifest is streamed again instead, which is little beside
//! the content, and only where there is something left to do: so memory is the same for ten nodes and ten million.

use super::{
    super::{
        ManifestReader, MarshalError,
        pack_reader::ChunkReader,
        pieces::pieces,
        pool::{Halt, WAITING, spread},
    },
    RestoreOptions, Restored, Verify,
    clone::Cloner,
    file::{FileWriter, Traits, mode_bits, set_time, time},
    folders::{Folders, Spot},
    staging::Staging,
    task::{SmallFile, Task, frame_of, release},
};
use crate::{report::Monitor, store::Transport};
use kale_protocol::{
    chunk::Extent,
    manifest::{Node, What},
    path::ArtifactPath,
};
use nix::{
    fcntl::AtFlags,
    sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat, futimens, mkdirat},
    sys::time::TimeSpec,
    unistd::{linkat, mkfifoat, symlinkat},
};
use std::{ffi::OsStr, mem, ops::Range, os::unix::ffi::OsStrExt, sync::Arc};

/// An artifact up to this length is restored without workers: to start them takes longer than its bytes do. So is a
/// longer one that a single thread is to restore, from files: a worker would take turns with the thread that asks.
const ALONE_BYTES: u64 = 256 << 10;
/// Files up to this length are restored by one worker each, longer ones by all workers.
const SMALL_BYTES: u64 = 4 << 20;
/// How much content a batch of small files has at most, by its last file exceeded.
const BATCH_BYTES: u64 = 2 << 20;
/// Most files in a batch; each may keep a folder open.
const BATCH_FILES: usize = 128;
/// About how many folders all batches together keep open, whatever the number of threads.
const OPEN_FOLDERS: usize = 256;

/// Where tasks go: to the workers, or straight to their end.
type Sink<'f, 's> = &'f mut (dyn FnMut(Task<'s>) -> Result<(), Halt> + 'f);

/// Makes everything in the staging place.
pub(crate) fn run(
    transport: &dyn Transport,
    reader: &ManifestReader<'_>,
    from: &ArtifactPath,
    staging: &Staging,
    options: &RestoreOptions,
    monitor: &dyn Monitor,
) -> Result<Restored, MarshalError> {
    let packs = &reader.manifest().packs;
    let start = || ChunkReader::new(transport);
    let short = reader.manifest().totals.raw_bytes <= ALONE_BYTES && reader.manifest().pages.is_empty();
    let done = if short || options.threads <= 1 && transport.has_files() {
        let mut chunks = start()?;
        let mut work = |task: Task<'_>| Ok(task.run(&mut chunks, packs, monitor)?);
        ContentPass::new(transport, reader, from, staging, &mut work, options).run().map_err(|halt| match halt {
            Halt::Failed(error) => error,
            Halt::Stopped => unreachable!("only workers stop, and there are none"),
        })
    } else {
        let work = |chunks: &mut _, task: Task<'_>| task.run(chunks, packs, monitor);
        spread(options.threads, start, work, |feeder| {
            ContentPass::new(transport, reader, from, staging, &mut |task| feeder.send(task), options).run()
        })
    };
    let (restored, links) = done?;
    if links > 0 {
        link_files(reader, from, staging)?;
    }
    if restored.folders > 0 {
        finish_folders(reader, from, staging)?;
    }
    Ok(restored)
}

/// The first pass: everything but hard links, and the final modes of folders.
struct ContentPass<'s, 'r, 't, 'f> {
    reader: &'r ManifestReader<'t>,
    from: &'s ArtifactPath,
    folders: Folders<'s, ()>,
    sink: Sink<'f, 's>,
    cloner: Cloner<'t>,
    verify: Verify,
    batch: Vec<SmallFile<'s>>,
    batch_bytes: u64,
    batch_folders: usize,
    most_folders: usize,
    /// The frame that the batch's last file ends in.
    batch_frame: Option<(u32, u64)>,
    /// The long file in work, and where its next extent starts in it.
    large: Option<(Arc<FileWriter<'s>>, u64)>,
    restored: Restored,
    /// Hard links that the second pass makes.
    links: u64,
}

impl<'s, 'r, 't, 'f> ContentPass<'s, 'r, 't, 'f> {
    fn new(
        transport: &'t dyn Transport,
        reader: &'r ManifestReader<'t>,
        from: &'s ArtifactPath,
        staging: &'s Staging,
        sink: Sink<'f, 's>,
        options: &RestoreOptions,
    ) -> Self {
        Self {
            reader,
            from,
            folders: Folders::new(staging, from),
            sink,
            cloner: Cloner::new(transport),
            verify: options.verify,
            batch: Vec::new(),
            batch_bytes: 0,
            batch_folders: 0,
            most_folders: (OPEN_FOLDERS / (WAITING + options.threads)).clamp(2, 16),
            batch_frame: None,
            large: None,
            restored: Restored::default(),
            links: 0,
        }
    }

    fn run(mut self) -> Result<(Restored, u64), Halt> {
        for node in self.reader.nodes_at(self.from)? {
            self.node(node?)?;
        }
        self.finish_large()?;
        self.send_batch()?;
        Ok((self.restored, self.links))
    }

    fn node(&mut self, node: Node) -> Result<(), Halt> {
        if let What::More { extents } = node.what {
            return self.feed_large(extents);
        }
        self.finish_large()?;
        while self.folders.leave(Some(&node.path))?.is_some() {}
        let spot = self.folders.spot(node.path.clone())?;
        match node.what {
            What::Folder => {
                mkdirat(spot.folder(), spot.name(), Mode::S_IRWXU).map_err(spot.fail("create"))?;
                // The umask may have taken what we need to fill it. It is ours, made a moment ago: no link to follow.
                fchmodat(spot.folder(), spot.name(), Mode::S_IRWXU, FchmodatFlags::FollowSymlink)
                    .map_err(spot.fail("set the mode of"))?;
                self.folders.enter(&spot, ())?;
                self.batch_folders += 1;
                self.restored.folders += 1;
            }
            What::File { bytes, sparse, extents, .. } => {
                let traits = Traits { mode: node.mode, modified_ns: node.modified_ns, bytes, sparse };
                self.file(spot, traits, extents)?;
            }
            What::Symlink { target } => {
                symlinkat(OsStr::from_bytes(&target), spot.folder(), spot.name()).map_err(spot.fail("create"))?;
                set_time(&spot, node.modified_ns)?;
                self.restored.others += 1;
            }
            What::Fifo => {
                mkfifoat(spot.folder(), spot.name(), Mode::S_IRUSR | Mode::S_IWUSR).map_err(spot.fail("create"))?;
                // Ours, made a moment ago: no link to follow.
                fchmodat(spot.folder(), spot.name(), mode_bits(node.mode), FchmodatFlags::FollowSymlink)
                    .map_err(spot.fail("set the mode of"))?;
                set_time(&spot, node.modified_ns)?;
                self.restored.others += 1;
            }
            What::HardLink { to } if to.is_within(self.from) => {
                self.links += 1;
                self.restored.others += 1;
            }
            What::HardLink { to } => self.copy(spot, &to)?,
            What::More { .. } => unreachable!("taken above"),
        }
        Ok(())
    }

    /// Restores the file that a link refers to where that lies outside of what is restored.
    ///
    /// Verified on the way whatever was asked for: whoever verifies `from` later does not come by here.
    fn copy(&mut self, spot: Spot<'s>, to: &ArtifactPath) -> Result<(), Halt> {
        let later = mem::replace(&mut self.verify, Verify::Now);
        let copied = self.copy_now(spot, to);
        self.verify = later;
        copied
    }

    fn copy_now(&mut self, spot: Spot<'s>, to: &ArtifactPath) -> Result<(), Halt> {
        let mut spot = Some(spot);
        for node in self.reader.nodes_at(to)? {
            let node = node?;
            match (node.what, spot.take()) {
                (What::File { bytes, sparse, extents, .. }, Some(spot)) => {
                    let traits = Traits { mode: node.mode, modified_ns: node.modified_ns, bytes, sparse };
                    self.file(spot, traits, extents)?;
                }
                (What::More { extents }, _) => self.feed_large(extents)?,
                _ => return Err(self.reader.broken("a hard link refers to what is no file").into()),
            }
        }
        self.finish_large()
    }

    fn file(&mut self, spot: Spot<'s>, traits: Traits, extents: Vec<Extent>) -> Result<(), Halt> {
        self.restored.files += 1;
        self.restored.raw_bytes += traits.bytes;
        let here: u64 = extents.iter().map(Extent::raw_bytes).sum();
        let cloned = !traits.sparse && self.has_clones(&extents);
        if traits.bytes <= SMALL_BYTES && here == traits.bytes && !cloned {
            // A batch that is long enough ends where a frame does: the next one need not decode that again.
            let frame = extents.first().and_then(frame_of);
            if self.batch_bytes >= BATCH_BYTES / 4 && frame.is_some() && frame != self.batch_frame {
                self.send_batch()?;
            }
            self.batch_frame = extents.last().and_then(frame_of);
            self.batch.push(SmallFile { spot, traits, extents });
            self.batch_bytes += traits.bytes;
            let full = self.batch.len() >= BATCH_FILES || self.batch_folders >= self.most_folders;
            return if full || self.batch_bytes >= BATCH_BYTES { self.send_batch() } else { Ok(()) };
        }
        let writer = FileWriter::create(spot, traits)?;
        writer.extend()?;
        self.large = Some((Arc::new(writer), 0));
        self.feed_large(extents)
    }

    fn send_batch(&mut self) -> Result<(), Halt> {
        self.batch_bytes = 0;
        self.batch_folders = 0;
        (self.sink)(Task::Files(mem::take(&mut self.batch)))
    }

    fn has_clones(&self, extents: &[Extent]) -> bool {
        let mut at = 0;
        extents.iter().any(|extent| {
            let (here, bytes) = (at, extent.raw_bytes());
            at += bytes;
            matches!(extent, Extent::Raw { offset, .. } if self.cloner.may(*offset, here, bytes))
        })
    }

    fn feed_large(&mut self, extents: Vec<Extent>) -> Result<(), Halt> {
        let (file, mut at) = self.large.take().expect("the manifest's rules put more extents behind their file");
        let (mut copied, mut copied_at) = (Vec::new(), at);
        for extent in extents {
            let bytes = extent.raw_bytes();
            let cloned = match extent {
                Extent::Raw { pack, offset, .. } if !file.is_sparse() => {
                    let pack = self.reader.manifest().packs[pack as usize];
                    self.cloner.clone(pack, offset, file.file(), at, bytes)
                }
                _ => at..at,
            };
            if !cloned.is_empty() {
                self.feed(&file, copied_at, mem::take(&mut copied), at..at)?;
                self.feed(&file, at, vec![extent], cloned)?;
                copied_at = at + bytes;
            } else {
                copied.push(extent);
            }
            at += bytes;
        }
        self.feed(&file, copied_at, copied, at..at)?;
        self.large = Some((file, at));
        Ok(())
    }

    /// Hands out the pieces of extents that start at `at`, of which some bytes are in the file already.
    fn feed(
        &mut self,
        file: &Arc<FileWriter<'s>>,
        at: u64,
        extents: Vec<Extent>,
        cloned: Range<u64>,
    ) -> Result<(), Halt> {
        for piece in pieces(at, extents, &self.reader.manifest().packs) {
            let bytes = piece.bytes as u64;
            if self.verify == Verify::Later && cloned.start <= piece.offset && piece.offset + bytes <= cloned.end {
                file.skip(bytes);
                self.restored.unverified_bytes += bytes;
            } else {
                (self.sink)(Task::Piece(Arc::clone(file), piece, cloned.clone()))?;
            }
        }
        Ok(())
    }

    fn finish_large(&mut self) -> Result<(), Halt> {
        match self.large.take() {
            Some((file, _)) => Ok(release(file)?),
            None => Ok(()),
        }
    }
}

/// The second pass: hard links, once their files stand and while all folders still let us in.
fn link_files(reader: &ManifestReader<'_>, from: &ArtifactPath, staging: &Staging) -> Result<(), MarshalError> {
    let mut folders = Folders::new(staging, from);
    for node in reader.nodes_at(from)? {
        let node = node?;
        while folders.leave(Some(&node.path))?.is_some() {}
        match node.what {
            What::Folder => {
                let spot = folders.spot(node.path)?;
                folders.enter(&spot, ())?;
            }
            What::HardLink { to } if to.is_within(from) => {
                let (file, link) = (folders.find(&to)?, folders.spot(node.path)?);
                // Without AT_SYMLINK_FOLLOW, and the rules make sure that it is a file.
                linkat(file.folder(), file.name(), link.folder(), link.name(), AtFlags::empty())
                    .map_err(link.fail("create"))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The last pass: modes and times of folders, deepest first, since both may forbid or change with what comes after.
fn finish_folders(reader: &ManifestReader<'_>, from: &ArtifactPath, staging: &Staging) -> Result<(), MarshalError> {
    let mut folders: Folders<'_, (u16, i64)> = Folders::new(staging, from);
    for node in reader.nodes_at(from)? {
        let node = node?;
        while let Some((spot, traits)) = folders.leave(Some(&node.path))? {
            finish_folder(&spot, traits)?;
        }
        if matches!(node.what, What::Folder) {
            let spot = folders.spot(node.path)?;
            folders.enter(&spot, (node.mode, node.modified_ns))?;
        }
    }
    while let Some((spot, traits)) = folders.leave(None)? {
        finish_folder(&spot, traits)?;
    }
    Ok(())
}

fn finish_folder(spot: &Spot<'_>, (mode, modified_ns): (u16, i64)) -> Result<(), MarshalError> {
    let folder = spot.open_folder()?;
    futimens(&folder, &TimeSpec::UTIME_OMIT, &time(modified_ns)).map_err(spot.fail("set the time of"))?;
    fchmod(&folder, mode_bits(mode)).map_err(spot.fail("set the mode of"))
}
