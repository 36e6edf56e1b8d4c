//! The work itself, on as many threads as there are cores.

use super::pack::{PIECE, Task, read_list, tasks, write_list};
use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io,
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

/// How much is written before the medium is told to begin, in bytes.
const WRITE_BEHIND: u64 = 16 << 20;
const PAGE: usize = 4096;

/// What is done with content, beside writing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// It is read and hashed.
    Digest,
    /// The same, and compressed.
    Compress,
    /// Nothing: each thread reads once, and writes that again and again. What comes of it cannot be restored.
    None,
}

/// Stores a file or folder as one pack.
pub(crate) fn save(source: &Path, pack: &Path, work: Work, sync: bool) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(pack)?;
    let end = Mutex::new(0);
    let (told, written) = mpsc::channel::<(u64, u64)>();
    let tasks = tasks(source)?;
    let done = thread::scope(|scope| {
        let (file, end) = (&file, &end);
        // It waits where the medium's queue is full, so that no worker has to.
        scope.spawn(move || sync.then(|| written.iter().for_each(|(from, bytes)| write_out(file, from, bytes))));
        let one = |task: &Task, room: &mut Room| {
            let mut task = task.clone();
            if work != Work::None || room.filled == 0 {
                task.digests = room.read(source, &task)?;
            }
            let content = room.packed(work == Work::Compress)?;
            // One at a time: two writers in one inode wait for each other in the kernel.
            let mut end = end.lock().unwrap_or_else(PoisonError::into_inner);
            file.write_all_at(content, *end)?;
            task.stored = (*end, content.len() as u64);
            let before = *end / WRITE_BEHIND;
            *end += content.len() as u64;
            if *end / WRITE_BEHIND > before {
                // Nobody listens where nothing is synced.
                let _ = told.send((before * WRITE_BEHIND, WRITE_BEHIND));
            }
            Ok(task)
        };
        let done = spread(&tasks, one);
        drop(told);
        done
    })?;
    write_list(pack, &done)?;
    if sync {
        file.sync_data()?;
        File::open(pack.with_extension("list"))?.sync_all()?;
        let folder = pack.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// Hashes a file or folder and compares it with what was stored.
pub(crate) fn again(source: &Path, pack: &Path) -> io::Result<()> {
    let same = |task: &Task, room: &mut Room| {
        let digests = room.read(source, task)?;
        if digests == task.digests { Ok(()) } else { Err(io::Error::other("it is another one")) }
    };
    spread(&read_list(pack)?, same).map(drop)
}

/// Brings what was stored into place, verified.
pub(crate) fn load(pack: &Path, target: &Path) -> io::Result<()> {
    let tasks = read_list(pack)?;
    let stored = File::open(pack)?;
    let mut lengths: HashMap<&PathBuf, u64> = HashMap::new();
    let pieces = || tasks.iter().flat_map(|task| &task.pieces);
    pieces().for_each(|(path, offset, bytes)| *lengths.entry(path).or_default() = offset + bytes);
    let mut long = HashMap::new();
    for (path, bytes) in &lengths {
        let at = place(target, path);
        fs::create_dir_all(at.parent().unwrap_or(Path::new(".")))?;
        if *bytes > PIECE {
            let file = File::create_new(at)?;
            file.set_len(*bytes)?;
            long.insert(*path, Mutex::new(file));
        }
    }
    let one = |task: &Task, room: &mut Room| {
        let mut content = room.unpacked(&stored, task)?;
        for ((path, offset, bytes), digest) in task.pieces.iter().zip(&task.digests) {
            let (now, rest) = content.split_at(*bytes as usize);
            content = rest;
            if blake3::hash(now).as_bytes() != digest {
                return Err(io::Error::other("it is damaged"));
            }
            match long.get(path) {
                Some(file) => file.lock().unwrap_or_else(PoisonError::into_inner).write_all_at(now, *offset)?,
                None => File::create_new(place(target, path))?.write_all_at(now, 0)?,
            }
        }
        Ok(())
    };
    spread(&tasks, one).map(drop)
}

/// A single file has no path below itself.
fn place(target: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { target.to_owned() } else { target.join(path) }
}

/// What a thread needs, used again and again.
struct Room {
    /// Memory for what was read.
    content: Vec<u8>,
    /// Where a page begins in it: the kernel copies much slower to and from places shortly behind one.
    start: usize,
    filled: usize,
    packed: Vec<u8>,
    packer: zstd::bulk::Compressor<'static>,
}

impl Room {
    fn new() -> io::Result<Self> {
        let packer = zstd::bulk::Compressor::new(1)?;
        let content = vec![0; PIECE as usize + PAGE];
        let start = content.as_ptr().align_offset(PAGE) % PAGE;
        Ok(Self { content, start, filled: 0, packed: vec![0; 2 * PIECE as usize], packer })
    }

    fn read(&mut self, source: &Path, task: &Task) -> io::Result<Vec<[u8; 32]>> {
        self.filled = 0;
        let mut digests = Vec::with_capacity(task.pieces.len());
        for (path, offset, bytes) in &task.pieces {
            let content = &mut self.content[self.start + self.filled..][..*bytes as usize];
            File::open(place(source, path))?.read_exact_at(content, *offset)?;
            digests.push(*blake3::hash(content).as_bytes());
            self.filled += content.len();
        }
        Ok(digests)
    }

    /// What was read, compressed where that saves a tenth.
    fn packed(&mut self, compress: bool) -> io::Result<&[u8]> {
        let content = &self.content[self.start..][..self.filled];
        if compress {
            let stored = self.packer.compress_to_buffer(content, &mut self.packed[..])?;
            if stored < content.len() / 10 * 9 {
                return Ok(&self.packed[..stored]);
            }
        }
        Ok(content)
    }

    fn unpacked(&mut self, pack: &File, task: &Task) -> io::Result<&[u8]> {
        let (offset, stored) = (task.stored.0, task.stored.1 as usize);
        let content = &mut self.content[self.start..][..task.bytes() as usize];
        if stored == content.len() {
            pack.read_exact_at(content, offset)?;
        } else {
            pack.read_exact_at(&mut self.packed[..stored], offset)?;
            zstd::bulk::decompress_to_buffer(&self.packed[..stored], content)?;
        }
        Ok(content)
    }
}

/// Does all tasks, each by the next thread that is free; results are in order.
fn spread<T: Send>(tasks: &[Task], one: impl Fn(&Task, &mut Room) -> io::Result<T> + Sync) -> io::Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let work = || -> io::Result<Vec<(usize, T)>> {
        let mut room = Room::new()?;
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Relaxed);
            let Some(task) = tasks.get(at) else { return Ok(done) };
            done.push((at, one(task, &mut room)?));
        }
    };
    let mut done = thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_fold(Vec::new(), |mut all, thread| {
            all.extend(thread.join().expect("no thread panics")?);
            Ok::<_, io::Error>(all)
        })
    })?;
    done.sort_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// Has the medium begin with what was written.
fn write_out(file: &File, from: u64, bytes: u64) {
    // SAFETY: it takes numbers only, and the descriptor is open; where it fails, the sync at the end does all.
    #[expect(unsafe_code, reason = "sync_file_range has no safe wrapper")]
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), from as i64, bytes as i64, libc::SYNC_FILE_RANGE_WRITE);
    }
}
