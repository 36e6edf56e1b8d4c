//! What was read from where, and where in the pack it lies.

use std::{
    fs, io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

/// The longest piece, in bytes: hot in the cache of the core that reads it.
pub(crate) const PIECE: u64 = 1 << 20;

/// Pieces of one long file, or some small files: what one thread does at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Task {
    /// Each with its path below the source, its offset there and its length.
    pub(crate) pieces: Vec<(PathBuf, u64, u64)>,
    /// Where its content lies in the pack, and how long it is there.
    pub(crate) stored: (u64, u64),
    /// One digest for each piece.
    pub(crate) digests: Vec<[u8; 32]>,
}

impl Task {
    /// How long its content is.
    pub(crate) fn bytes(&self) -> u64 {
        self.pieces.iter().map(|(.., bytes)| bytes).sum()
    }
}

/// Cuts a file or folder into tasks, in the order of names.
pub(crate) fn tasks(source: &Path) -> io::Result<Vec<Task>> {
    let mut files = Vec::new();
    walk(source, Path::new(""), &mut files)?;
    let mut tasks = vec![Task::default()];
    for (path, length) in files {
        let mut at = 0;
        loop {
            let bytes = (length - at).min(PIECE);
            if tasks.last().is_some_and(|last| last.bytes() > 0 && last.bytes() + bytes > PIECE) {
                tasks.push(Task::default());
            }
            let last = tasks.len() - 1;
            tasks[last].pieces.push((path.clone(), at, bytes));
            at += bytes;
            if at == length {
                break;
            }
        }
    }
    Ok(tasks)
}

fn walk(source: &Path, below: &Path, files: &mut Vec<(PathBuf, u64)>) -> io::Result<()> {
    let found = fs::symlink_metadata(source)?;
    if found.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(source)?.collect::<io::Result<_>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            walk(&entry.path(), &below.join(entry.file_name()), files)?;
        }
    } else if found.is_file() {
        files.push((below.to_owned(), found.len()));
    }
    Ok(())
}

/// Writes the list of what is where, beside the pack.
pub(crate) fn write_list(pack: &Path, tasks: &[Task]) -> io::Result<()> {
    let mut list = Vec::new();
    for task in tasks {
        let numbers = [task.pieces.len() as u64, task.stored.0, task.stored.1];
        list.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        for ((path, offset, bytes), digest) in task.pieces.iter().zip(&task.digests) {
            let path = path.as_os_str().as_bytes();
            list.extend([path.len() as u64, *offset, *bytes].iter().flat_map(|number| number.to_le_bytes()));
            list.extend_from_slice(path);
            list.extend_from_slice(digest);
        }
    }
    fs::write(pack.with_extension("list"), list)
}

/// Reads that list.
pub(crate) fn read_list(pack: &Path) -> io::Result<Vec<Task>> {
    let list = fs::read(pack.with_extension("list"))?;
    let mut rest = &list[..];
    let mut tasks = Vec::new();
    while !rest.is_empty() {
        let [count, offset, stored] = [number(&mut rest)?, number(&mut rest)?, number(&mut rest)?];
        let mut task = Task { stored: (offset, stored), ..Task::default() };
        for _ in 0..count {
            let [length, offset, bytes] = [number(&mut rest)?, number(&mut rest)?, number(&mut rest)?];
            let path = PathBuf::from(std::ffi::OsString::from_vec(take(&mut rest, length as usize)?.to_vec()));
            task.pieces.push((path, offset, bytes));
            task.digests.push(take(&mut rest, 32)?.try_into().expect("32 bytes"));
        }
        tasks.push(task);
    }
    Ok(tasks)
}

fn take<'l>(rest: &mut &'l [u8], bytes: usize) -> io::Result<&'l [u8]> {
    let (taken, left) = rest.split_at_checked(bytes).ok_or(io::ErrorKind::UnexpectedEof)?;
    *rest = left;
    Ok(taken)
}

fn number(rest: &mut &[u8]) -> io::Result<u64> {
    Ok(u64::from_le_bytes(take(rest, 8)?.try_into().expect("8 bytes")))
}
