//! The order of a restore: folders, links and files; then hard links; then modes and times of folders.
//!
//! Nothing is remembered per node between these passes. The manifest is streamed again instead, which is little beside
//! the content, and only where there is something left to do: so memory is the same for ten nodes and ten million.

use super::{
    super::{
        ManifestReader, MarshalError,
        pack_reader::ChunkReader,
        pieces::{Piece, pieces},
        pool::{Feeder, Halt, spread},
    },
    RestoreOptions, Restored,
    file::{FileWriter, Traits, mode_bits, set_time, time},
    folders::{Folders, Spot},
    staging::Staging,
};
use crate::{report::Monitor, store::Transport};
use crossbeam_channel::{Receiver, Sender, unbounded};
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
use std::{ffi::OsStr, mem, os::unix::ffi::OsStrExt};

/// Files up to this length are restored by one worker each, longer ones by all workers and one writer.
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
    /// The content of a piece, to be sent back.
    Piece(Reply, Vec<u8>),
}

struct SmallFile<'s> {
    spot: Spot<'s>,
    traits: Traits,
    extents: Vec<Extent>,
}

/// A piece with its content, or nothing where it was lost.
type Back = Option<(Piece, Vec<u8>)>;

/// The way back of a piece; tells of its loss where a worker never gets to it.
struct Reply {
    piece: Option<Piece>,
    path: ArtifactPath,
    back: Sender<Back>,
}

impl Reply {
    fn send(mut self, content: Vec<u8>) {
        if let Some(piece) = self.piece.take() {
            // Nobody listens any more once another piece failed.
            let _ = self.back.send(Some((piece, content)));
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if self.piece.is_some() {
            let _ = self.back.send(None);
        }
    }
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
    let work = |(chunks, buffer): &mut (ChunkReader<'_>, Vec<u8>), task: Task<'_>| match task {
        Task::Files(files) => {
            chunks.plan(files.iter().flat_map(|file| &file.extents).filter_map(|extent| match extent {
                Extent::Raw { pack, offset, .. } => {
                    Some((packs[*pack as usize], *offset..*offset + extent.raw_bytes()))
                }
                _ => None,
            }));
            files.into_iter().try_for_each(|file| restore_small(chunks, buffer, file, packs, monitor))
        }
        Task::Piece(reply, mut content) => {
            let piece = reply.piece.as_ref().expect("taken only when the reply is sent");
            chunks.read_piece(piece, &shown(&reply.path), &mut content)?;
            reply.send(content);
            Ok(())
        }
    };
    let pass = spread(
        options.threads,
        || Ok((ChunkReader::new(transport)?, Vec::new())),
        work,
        |feeder| {
            let mut pass = ContentPass::new(reader, from, staging, feeder, options, monitor);
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

fn shown(path: &ArtifactPath) -> String {
    if path.is_root() { "the artifact".to_owned() } else { format!("'{path}'") }
}

fn restore_small(
    chunks: &mut ChunkReader<'_>,
    buffer: &mut Vec<u8>,
    file: SmallFile<'_>,
    packs: &[PackId],
    monitor: &dyn Monitor,
) -> Result<(), MarshalError> {
    let what = shown(&file.spot.path);
    let mut writer = FileWriter::create(file.spot, file.traits)?;
    for piece in pieces(0, file.extents, packs) {
        chunks.read_piece(&piece, &what, buffer)?;
        writer.write(&piece, buffer)?;
    }
    writer.finish()?;
    monitor.advance(file.traits.bytes);
    Ok(())
}

/// The first pass: everything but hard links, and the final modes of folders.
struct ContentPass<'s, 'r, 't, 'f> {
    reader: &'r ManifestReader<'t>,
    from: &'s ArtifactPath,
    folders: Folders<'s, ()>,
    feeder: &'f Feeder<'f, Task<'s>>,
    monitor: &'f dyn Monitor,
    batch: Vec<SmallFile<'s>>,
    batch_bytes: u64,
    batch_folders: usize,
    back: (Sender<Back>, Receiver<Back>),
    buffers: Vec<Vec<u8>>,
    window: usize,
    large: Option<Large<'s>>,
    restored: Restored,
    /// Hard links that the second pass makes.
    links: u64,
}

/// A long file in work.
struct Large<'s> {
    writer: FileWriter<'s>,
    path: ArtifactPath,
    offset: u64,
    in_flight: usize,
}

impl<'s, 'r, 't, 'f> ContentPass<'s, 'r, 't, 'f> {
    fn new(
        reader: &'r ManifestReader<'t>,
        from: &'s ArtifactPath,
        staging: &'s Staging,
        feeder: &'f Feeder<'f, Task<'s>>,
        options: &RestoreOptions,
        monitor: &'f dyn Monitor,
    ) -> Self {
        Self {
            reader,
            from,
            folders: Folders::new(staging, from),
            feeder,
            monitor,
            batch: Vec::new(),
            batch_bytes: 0,
            batch_folders: 0,
            back: unbounded(),
            buffers: Vec::new(),
            // Two a worker: one in work, one waiting.
            window: options.threads.max(1) * 2,
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
            let full =
                self.batch.len() >= BATCH_FILES || self.batch_folders >= (OPEN_FOLDERS / self.window).clamp(2, 16);
            return if full || self.batch_bytes >= BATCH_BYTES { self.send_batch() } else { Ok(()) };
        }
        let path = spot.path.clone();
        let writer = FileWriter::create(spot, traits)?;
        self.large = Some(Large { writer, path, offset: 0, in_flight: 0 });
        self.feed_large(extents)
    }

    fn send_batch(&mut self) -> Result<(), Halt> {
        self.batch_bytes = 0;
        self.batch_folders = 0;
        self.feeder.send(Task::Files(mem::take(&mut self.batch)))
    }

    fn feed_large(&mut self, extents: Vec<Extent>) -> Result<(), Halt> {
        let offset = self.large.as_ref().expect("the manifest's rules put more extents behind their file").offset;
        let bytes: u64 = extents.iter().map(Extent::raw_bytes).sum();
        for piece in pieces(offset, extents, &self.reader.manifest().packs) {
            if self.large.as_ref().is_some_and(|large| large.in_flight >= self.window) {
                self.write_one()?;
            }
            if let Some(large) = &mut self.large {
                let reply = Reply { piece: Some(piece), path: large.path.clone(), back: self.back.0.clone() };
                self.feeder.send(Task::Piece(reply, self.buffers.pop().unwrap_or_default()))?;
                large.in_flight += 1;
            }
        }
        if let Some(large) = &mut self.large {
            large.offset = offset + bytes;
        }
        Ok(())
    }

    /// Waits for a piece and writes it. One thread writes a file: two in one inode wait for each other.
    fn write_one(&mut self) -> Result<(), Halt> {
        let (piece, content) = self.back.1.recv().ok().flatten().ok_or(Halt::Stopped)?;
        if let Some(large) = &mut self.large {
            large.writer.write(&piece, &content)?;
            large.in_flight -= 1;
        }
        self.monitor.advance(content.len() as u64);
        self.buffers.push(content);
        Ok(())
    }

    fn finish_large(&mut self) -> Result<(), Halt> {
        while self.large.as_ref().is_some_and(|large| large.in_flight > 0) {
            self.write_one()?;
        }
        match self.large.take() {
            Some(large) => Ok(large.writer.finish()?),
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
