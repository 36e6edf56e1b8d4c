//! Trees of files: made at random, and compared down to the last bit.

use nix::sys::stat::{Mode, UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use proptest::{collection::vec, prelude::*, sample::select};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::{Seek, SeekFrom, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};

/// One entry to make; entries whose name is taken, or whose folder is a file, are left out.
#[derive(Clone, Debug)]
pub enum Made {
    /// A file with this content and mode.
    File(Vec<u8>, u32),
    /// A file with data, a hole, and data.
    Sparse(Vec<u8>, u64),
    /// A folder with this mode.
    Folder(u32),
    /// A symbolic link to these bytes.
    Symlink(Vec<u8>),
    /// Another name of the n-th file made so far.
    HardLink(usize),
    /// A FIFO.
    Fifo(u32),
}

/// A tree: paths of one to four components, and what is there.
pub type Tree = Vec<(Vec<Vec<u8>>, Made, i64)>;

/// Any tree that `tar` can carry, of up to 25 entries.
pub fn carried_by_tar() -> impl Strategy<Value = Tree> {
    let component = prop_oneof![
        4 => select(vec![&b"a"[..], b"b", b"c.txt", b"d d", b".hidden", b"-x", b"..."]).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>().prop_filter("no slash, no NUL", |b| *b != b'/' && *b != 0), 1..20)
            .prop_filter("no dots", |name| name != b"." && name != b".."),
    ];
    let size = prop_oneof![4 => 0..200_usize, 2 => 60_000..70_000_usize, 1 => 1_000_000..1_400_000_usize];
    let content = prop_oneof![
        1 => size.clone().prop_flat_map(|size| any::<u64>().prop_map(move |seed| noise(seed, size))),
        1 => size.prop_flat_map(|size| any::<u8>().prop_map(move |byte| text(byte, size))),
    ];
    let mode = select(vec![0o644, 0o600, 0o755, 0o400, 0o777, 0o4755, 0o2644, 0o1755, 0o444, 0o000]);
    let folder_mode = select(vec![0o755, 0o700, 0o555, 0o1777, 0o2755, 0o311]);
    let target = prop_oneof![
        select(vec![&b"a"[..], b"../../../etc/passwd", b"/", b".", b"nowhere"]).prop_map(<[u8]>::to_vec),
        vec(1..=255_u8, 1..30),
    ];
    let made = prop_oneof![
        6 => (content.clone(), mode.clone()).prop_map(|(content, mode)| Made::File(content, mode)),
        1 => (content, 1_u64..40).prop_map(|(content, mib)| Made::Sparse(content, mib << 20)),
        3 => folder_mode.prop_map(Made::Folder),
        2 => target.prop_map(Made::Symlink),
        2 => (0..8_usize).prop_map(Made::HardLink),
        1 => mode.prop_map(Made::Fifo),
    ];
    vec((vec(component, 1..4), made, -2_000_000_000_i64..4_000_000_000), 0..25)
}

/// Bytes without structure, the same for the same seed.
pub fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut all = Vec::with_capacity(bytes + 8);
    while all.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        all.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    all.truncate(bytes);
    all
}

fn text(byte: u8, bytes: usize) -> Vec<u8> {
    if byte < 64 {
        vec![0; bytes]
    } else {
        format!("line of {byte}\n").into_bytes().into_iter().cycle().take(bytes).collect()
    }
}

/// Makes a tree below a new folder.
pub fn make(root: &Path, tree: &Tree) {
    fs::create_dir(root).expect("a new folder");
    let mut files: Vec<PathBuf> = Vec::new();
    let mut later: Vec<(PathBuf, u32)> = Vec::new();
    let mut times: Vec<(PathBuf, i64)> = Vec::new();
    for (components, made, seconds) in tree {
        let path = components.iter().fold(root.to_owned(), |path, part| path.join(OsStr::from_bytes(part)));
        let parent = path.parent().expect("below the root");
        let clear = parent
            .ancestors()
            .take_while(|folder| folder.starts_with(root))
            .all(|folder| fs::symlink_metadata(folder).map_or(true, |found| found.is_dir()));
        if !clear || fs::symlink_metadata(&path).is_ok() || fs::create_dir_all(parent).is_err() {
            continue;
        }
        match made {
            Made::File(content, mode) => {
                fs::write(&path, content).expect("a file");
                later.push((path.clone(), *mode));
                files.push(path.clone());
            }
            Made::Sparse(content, hole) => {
                let mut file = fs::File::create(&path).expect("a file");
                file.write_all(content).expect("data before the hole");
                file.seek(SeekFrom::Current(i64::try_from(*hole).expect("a small hole"))).expect("a hole");
                file.write_all(content).expect("data behind the hole");
                file.set_len(content.len() as u64 * 2 + hole + 4096).expect("a hole at the end");
                files.push(path.clone());
            }
            Made::Folder(mode) => {
                fs::create_dir(&path).expect("a folder");
                later.push((path.clone(), *mode));
            }
            Made::Symlink(target) => symlink(OsStr::from_bytes(target), &path).expect("a link"),
            Made::HardLink(number) => match files.get(*number) {
                Some(file) => fs::hard_link(file, &path).expect("a hard link"),
                None => continue,
            },
            Made::Fifo(mode) => {
                nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o600)).expect("a FIFO");
                later.push((path.clone(), *mode));
            }
        }
        times.push((path, *seconds));
    }
    for (path, mode) in later.iter().rev() {
        fs::set_permissions(path, fs::Permissions::from_mode(*mode)).expect("a mode");
    }
    // Deepest first: making an entry has touched the folders above it.
    for (path, seconds) in times.iter().rev() {
        let time = TimeSpec::new(*seconds, 123_456_789);
        utimensat(nix::fcntl::AT_FDCWD, path, &time, &time, UtimensatFlags::NoFollowSymlink).expect("a time");
    }
}

/// Everything about one entry that a restored tree must have as the original had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    kind: u32,
    mode: u32,
    modified: (i64, i64),
    content: Option<String>,
    target: Option<Vec<u8>>,
    /// The first path of the same inode, for files with several names.
    same_as: Option<PathBuf>,
    /// Whether it takes far less room on its medium than its length.
    pub holes: bool,
}

/// Reads a whole tree, as root or as its owner.
pub fn read(root: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut entries = BTreeMap::new();
    let mut inodes = BTreeMap::new();
    visit(root, Path::new(""), &mut entries, &mut inodes);
    entries
}

fn visit(root: &Path, relative: &Path, entries: &mut BTreeMap<PathBuf, Entry>, inodes: &mut BTreeMap<u64, PathBuf>) {
    let path = root.join(relative);
    let found = fs::symlink_metadata(&path).expect("an entry");
    let kind = found.mode() & libc::S_IFMT;
    let mut same_as = None;
    if kind == libc::S_IFREG && found.nlink() > 1 {
        match inodes.get(&found.ino()) {
            Some(first) => same_as = Some(PathBuf::clone(first)),
            None => {
                inodes.insert(found.ino(), relative.to_owned());
            }
        }
    }
    let content = (kind == libc::S_IFREG).then(|| {
        let bytes = fs::read(&path).expect("a file");
        kale_protocol::digest::Digest::of(&bytes).to_string()
    });
    let entry = Entry {
        kind,
        mode: found.mode() & 0o7777,
        modified: (found.mtime(), found.mtime_nsec()),
        content,
        target: (kind == libc::S_IFLNK).then(|| fs::read_link(&path).expect("a link").as_os_str().as_bytes().to_vec()),
        same_as,
        holes: kind == libc::S_IFREG && found.size() > (1 << 20) && found.blocks() * 512 < found.size() / 2,
    };
    entries.insert(relative.to_owned(), entry);
    if kind == libc::S_IFDIR {
        let mut names: Vec<_> =
            fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        for name in names {
            visit(root, &relative.join(name), entries, inodes);
        }
    }
}
