//! Files that become packs where they lie.

use crate::{
    marshal::{Known, RestoreOptions, SaveOptions, Saved, Source, restore, save},
    report::Silent,
    store::{Transport, Volume},
};
use kale_protocol::{layout, path::ArtifactPath};
use std::{
    fs::{self, OpenOptions},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

/// A store and a folder beside it.
struct Place {
    folder: tempfile::TempDir,
    volume: Volume,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let volume = Volume::create(&folder.path().join("store")).unwrap();
        Self { folder, volume }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn save(&self, source: Source, known: &Known) -> Saved {
        save(source, &self.volume, known, &SaveOptions::default(), &Silent).unwrap()
    }

    fn known(&self, saved: &Saved) -> Known {
        let mut known = Known::default();
        known.recall(&self.volume, &saved.manifest).unwrap();
        known
    }

    /// The artifact as it comes back, and checked.
    fn back(&self, saved: &Saved, name: &str) -> Vec<u8> {
        let (root, target) = (ArtifactPath::root(), self.path(name));
        restore(&self.volume, &saved.manifest, &root, &target, &RestoreOptions::default(), &Silent).unwrap();
        fs::read(&target).unwrap()
    }

    fn packs(&self, saved: &Saved) -> Vec<fs::Metadata> {
        let path = |pack| self.volume.local_path(&layout::pack(pack)).unwrap();
        saved.packs.iter().map(|pack| fs::metadata(path(pack)).unwrap()).collect()
    }
}

/// An array of noise, 20 MiB and a head.
fn array(seed: &str) -> Vec<u8> {
    let header = format!("{:<117}\n", "{'descr': '<f4', 'fortran_order': False, 'shape': (5242880,), }");
    let mut content = [b"\x93NUMPY\x01\x00\x76\x00".as_slice(), header.as_bytes()].concat();
    content.resize(128 + (20 << 20), 0);
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut content[128..]);
    // A stretch of zeros in the middle: stored as none, in an adopted file as in another.
    content[128 + (7 << 20)..128 + (9 << 20)].fill(0);
    content
}

#[test]
fn a_long_file_is_taken_as_it_is() {
    let place = Place::new();
    let content = array("one");
    fs::write(place.path("out"), &content).unwrap();
    fs::write(place.path("copy"), &content).unwrap();
    let inode = fs::metadata(place.path("out")).unwrap().ino();
    let saved = place.save(Source::Own(place.path("out")), &Known::default());
    assert!(!place.path("out").exists());
    let packs = place.packs(&saved);
    assert_eq!((packs.len(), packs[0].ino(), packs[0].mode() & 0o777), (1, inode, 0o444));
    assert!(saved.stored_bytes < content.len() as u64 + 4096);
    assert!(place.back(&saved, "back") == content);
    let copied = place.save(Source::Path(place.path("copy")), &Known::default());
    assert_eq!(copied.digest, saved.digest);
    assert!(place.path("copy").exists());
    let again = place.save(Source::Own(place.path("copy")), &place.known(&saved));
    assert_eq!((again.stored_bytes, again.manifest), (0, saved.manifest));
}

#[test]
fn of_a_second_version_only_what_is_new_is_copied() {
    let place = Place::new();
    let mut content = array("one");
    fs::write(place.path("out"), &content).unwrap();
    let first = place.save(Source::Own(place.path("out")), &Known::default());
    content[128 + (3 << 20) + 17] ^= 1;
    content[128 + (15 << 20)..128 + (16 << 20)].fill(5);
    fs::write(place.path("out"), &content).unwrap();
    let second = place.save(Source::Own(place.path("out")), &place.known(&first));
    assert!(place.path("out").exists());
    assert!((2 << 20..(2 << 20) + 16384).contains(&second.stored_bytes), "{}", second.stored_bytes);
    assert!(place.back(&second, "back") == content);
}

#[test]
fn a_file_that_is_still_open_for_writing_is_copied() {
    let place = Place::new();
    let content = array("one");
    fs::write(place.path("out"), &content).unwrap();
    let left_over = OpenOptions::new().write(true).open(place.path("out")).unwrap();
    let saved = place.save(Source::Own(place.path("out")), &Known::default());
    assert!(place.path("out").exists());
    left_over.write_all_at(b"other", 1 << 20).unwrap();
    assert!(place.back(&saved, "back") == content);
}

#[test]
fn a_tree_gives_its_long_files_and_keeps_what_is_short_or_has_two_names() {
    let place = Place::new();
    let (tree, content) = (place.path("tree"), array("two"));
    fs::create_dir(&tree).unwrap();
    for name in ["a.npy", "b.npy"] {
        fs::write(tree.join(name), &content).unwrap();
    }
    fs::write(tree.join("c.npy"), array("three")).unwrap();
    fs::hard_link(tree.join("c.npy"), tree.join("d.npy")).unwrap();
    fs::write(tree.join("e.txt"), "text").unwrap();
    let saved = place.save(Source::Own(tree.clone()), &Known::default());
    let left: Vec<_> = ["a.npy", "b.npy", "c.npy", "d.npy", "e.txt"].map(|name| tree.join(name).exists()).into();
    // The second one is the first one's content: of it, nothing is new.
    assert_eq!(left, [false, true, true, true, true]);
    let (root, back) = (ArtifactPath::root(), place.path("back"));
    restore(&place.volume, &saved.manifest, &root, &back, &RestoreOptions::default(), &Silent).unwrap();
    let read = |name: &str| fs::read(Path::new(&back).join(name)).unwrap();
    assert!(read("a.npy") == content && read("b.npy") == content && read("d.npy") == array("three"));
    assert!(saved.stored_bytes < (40 << 20) + 16384);
}
