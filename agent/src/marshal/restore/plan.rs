//! The order of a restore: folders, links and files; then hard links; then modes and times of folders.
//!
//! Nothing is remembered per node between these passes. The manifest is streamed again instead, which is little beside
//! the content, and only where there is something left to do: so memory is the same for ten nodes and ten million.

use super::{
    super::{
        ManifestReader, MarshalError,
        pack_reader::ChunkReader,
        pieces::{Piece, pieces},
        pool::{Feeder, Halt, WAITING, spread},
    },
    RestoreOptions, Restored,
    file::{FileWriter, Traits, mode_bits, set_time, time},
    folders::{Folders, Spot},
    staging::Staging,
};
use crate::{report::Monitor, store::Transport};
use kale_protocol::{
    chunk::Extent,
    id::PackId,
    manifest::{Node, What},
    path::ArtifactPath,
};
use nix::{
    fcntl::AtFlags,
    sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat, futimens, mkdirat},
    sys::time::TimeSpec,
    unistd::{linkat, mkfifoat, symlinkat},
};
use std::{ffi::OsStr, fmt, mem, os::unix::ffi::OsStrExt, sync::Arc};

/// Files up to this length are restored by one worker each, longer ones by all workers.
const SMALL_BYTES: u64 = 4 << 20;
/// How much content a batch of small files has at most, by its last file exceeded.
const BATCH_BYTES: u64 = 2 << 20;
/// Most files in a batch; each may keep a folder open.
const BATCH_FILES: usize = 64;
/// About how many folders all batches together keep open, whatever the number of threads.
const OPEN_FOLDERS: usize = 256;

/// What a worker does.
enum Task<'s> {
    /// Whole files, start to end.
    Files(Vec<SmallFile<'s>>),
    /// One piece of a long file; who writes the last one finishes it.
    Piece(Arc<FileWriter<'s>>, Piece),
}

struct SmallFile<'s> {
    spot: Spot<'s>,
    traits: Traits,
    extents: Vec<Extent>,
}

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
    let work = |chunks: &mut ChunkReader<'_>, task: Task<'_>| match task {
        Task::Files(files) => {
            chunks.plan(files.iter().flat_map(|file| &file.extents).filter_map(|extent| match extent {
                Extent::Raw { pack, offset, .. } => {
                    Some((packs[*pack as usize], *offset..*offset + extent.raw_bytes()))
                }
                _ => None,
            }));
            let bytes = files.iter().map(|file| file.traits.bytes).sum();
            files.into_iter().try_for_each(|file| restore_small(chunks, file, packs))?;
            monitor.advance(bytes);
            Ok(())
        }
        Task::Piece(file, piece) => {
            // Read, verified and written by one thread, while it is hot in that core's cache.
            file.write(piece.offset, chunks.piece(&piece, &Shown(file.path()))?)?;
            monitor.advance(piece.bytes as u64);
            release(file)
        }
    };
    let pass = spread(
        options.threads,
        || ChunkReader::new(transport),
        work,
        |feeder| {
            let mut pass = ContentPass::new(reader, from, staging, feeder, options.threads);
            pass.run()?;
            Ok((pass.restored, pass.links))
        },
    );
    let (restored, links) = pass?;
    if links > 0 {
        link_files(reader, from, staging)?;
    }
    if restored.folders > 0 {
        finish_folders(reader, from, staging)?;
    }
    Ok(restored)
}

/// An artifact's path for messages.
struct Shown<'p>(&'p ArtifactPath);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_root() { f.write_str("the artifact") } else { write!(f, "'{}'", self.0) }
    }
}

fn restore_small(chunks: &mut ChunkReader<'_>, file: SmallFile<'_>, packs: &[PackId]) -> Result<(), MarshalError> {
    let writer = FileWriter::create(file.spot, file.traits)?;
    for piece in pieces(0, file.extents, packs) {
        writer.write(piece.offset, chunks.piece(&piece, &Shown(writer.path()))?)?;
    }
    writer.finish()
}

/// Gives up a long file, and finishes it if nobody else has it any more.
fn release(file: Arc<FileWriter<'_>>) -> Result<(), MarshalError> {
    Arc::into_inner(file).map_or(Ok(()), FileWriter::finish)
}

/// The first pass: everything but hard links, and the final modes of folders.
struct ContentPass<'s, 'r, 't, 'f> {
    reader: &'r ManifestReader<'t>,
    from: &'s ArtifactPath,
    folders: Folders<'s, ()>,
    feeder: &'f Feeder<'f, Task<'s>>,
    batch: Vec<SmallFile<'s>>,
    batch_bytes: u64,
    batch_folders: usize,
    most_folders: usize,
    /// The long file in work, and where its next extent starts in it.
    large: Option<(Arc<FileWriter<'s>>, u64)>,
    restored: Restored,
    /// Hard links that the second pass makes.
    links: u64,
}

impl<'s, 'r, 't, 'f> ContentPass<'s, 'r, 't, 'f> {
    fn new(
        reader: &'r ManifestReader<'t>,
        from: &'s ArtifactPath,
        staging: &'s Staging,
        feeder: &'f Feeder<'f, Task<'s>>,
        threads: usize,
    ) -> Self {
        Self {
            reader,
            from,
            folders: Folders::new(staging, from),
            feeder,
            batch: Vec::new(),
            batch_bytes: 0,
            batch_folders: 0,
            most_folders: (OPEN_FOLDERS / (WAITING + threads)).clamp(2, 16),
            large: None,
            restored: Restored::default(),
            links: 0,
        }
    }

    fn run(&mut self) -> Result<(), Halt> {
        for node in self.reader.nodes_at(self.from)? {
            self.node(node?)?;
        }
        self.finish_large()?;
        self.send_batch()
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
    fn copy(&mut self, spot: Spot<'s>, to: &ArtifactPath) -> Result<(), Halt> {
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
        if traits.bytes <= SMALL_BYTES && here == traits.bytes {
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
        self.feeder.send(Task::Files(mem::take(&mut self.batch)))
    }

    fn feed_large(&mut self, extents: Vec<Extent>) -> Result<(), Halt> {
        let (file, end) = self.large.as_mut().expect("the manifest's rules put more extents behind their file");
        let offset = *end;
        *end += extents.iter().map(Extent::raw_bytes).sum::<u64>();
        for piece in pieces(offset, extents, &self.reader.manifest().packs) {
            self.feeder.send(Task::Piece(Arc::clone(file), piece))?;
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
