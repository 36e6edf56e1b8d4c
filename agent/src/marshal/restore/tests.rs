//! Restoring what the fixture wrote, whole, in part, and damaged.

use super::*;
use crate::{
    marshal::fixture::{Fixture, file, folder, node, noise, path},
    report::Silent,
    store::Memory,
};
use kale_protocol::{
    chunk::Extent,
    layout::{self, Key},
    manifest::{Manifest, Node, Shape},
};
use std::{
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
    },
};

const OPTIONS: RestoreOptions = RestoreOptions { threads: 2, verify: Verify::Now };

pub(super) fn run(memory: &Memory, id: &Digest, from: &str, target: &Path) -> Result<Restored, MarshalError> {
    restore(memory, id, &path(from), target, &OPTIONS, &Silent)
}

pub(super) fn run_with(
    transport: &dyn Transport,
    id: &Digest,
    target: &Path,
    threads: usize,
) -> Result<Restored, MarshalError> {
    restore(transport, id, &path(""), target, &RestoreOptions { threads, verify: Verify::Now }, &Silent)
}

/// Fails unless nothing but `expected` is left in a folder.
pub(super) fn assert_only(folder: &Path, expected: &[&str]) {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, expected);
}

/// A file of more zeros than anybody can count.
pub(super) fn endless(at: &str) -> Node {
    let (bytes, extents) = (1 << 60, vec![Extent::Zeros { count: 1 << 60, chunk_bytes: 1 }]);
    node(at, 0o644, What::File { bytes, digest: Digest::of(b""), sparse: true, extents })
}

/// Opens a folder that was restored closed, so that the test can look into it and remove it.
pub(super) fn unlock(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
}

pub(super) fn inline(at: &str, content: &[u8]) -> Node {
    file(at, 0o640, false, vec![Extent::Inline { content: content.to_vec() }])
}

pub(super) fn symlink(at: &str, target: &str) -> Node {
    node(at, 0o777, What::Symlink { target: target.as_bytes().to_vec() })
}

pub(super) fn link(at: &str, to: &str) -> Node {
    node(at, 0o640, What::HardLink { to: path(to) })
}

pub(super) struct Tree {
    pub(super) memory: Memory,
    pub(super) id: Digest,
    pub(super) fixture: Fixture,
    pub(super) big: Vec<u8>,
}

/// One of each kind, with content that is inline, raw, framed, and long enough for all workers.
pub(super) fn tree(page: usize) -> Tree {
    let mut fixture = Fixture::new();
    let big = noise(1, 9 << 20);
    let (first, second) = big.split_at(6 << 20);
    let (first, second) = (fixture.raw(first, 300_000), fixture.raw(second, 1 << 20));
    let framed = fixture.framed(&[b"one in a frame", b"two in a frame"]);
    let whole = file("big", 0o4755, false, vec![first.clone(), second.clone()]);
    let What::File { bytes, digest, sparse, .. } = whole.what else { panic!("a file") };
    let data = noise(2, 5000);
    let holes = vec![
        Extent::Zeros { count: 3, chunk_bytes: 1 << 20 },
        fixture.raw(&[vec![0; 8192], data, vec![0; 8192]].concat(), 1 << 20),
        Extent::Zeros { count: 1, chunk_bytes: 77 },
    ];
    let mut nodes = vec![
        node("", 0o2550, What::Folder),
        node("big", 0o4755, What::File { bytes, digest, sparse, extents: vec![first] }),
        node("big", 0o4755, What::More { extents: vec![second] }),
        folder("d"),
        node("d/closed", 0, What::Folder),
        file("d/closed/one", 0, false, vec![framed[0].clone()]),
        folder("d/empty"),
        file("d/two", 0o600, false, vec![framed[1].clone()]),
        node("f", 0o622, What::Fifo),
        file("h", 0o644, true, holes),
        inline("i", b"inline"),
        symlink("j", "../../outside"),
        link("k", "d/closed/one"),
        link("l", "big"),
        file("m", 0o444, false, vec![]),
        symlink("n", "/etc"),
    ];
    let mut odd = inline("z", b"no text");
    odd.path = ArtifactPath::new(b"z\xff\xfe".to_vec()).unwrap();
    nodes.push(odd);
    let id = fixture.manifest(Shape::Tree, &nodes, page);
    Tree { memory: fixture.memory.clone(), id, fixture, big }
}

#[test]
fn restores_every_kind_of_node() {
    for page in [0, 1, 2, 5, 100] {
        let tree = tree(page);
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("a/b");
        let restored = run(&tree.memory, &tree.id, "", &target).unwrap();
        assert_eq!((restored.files, restored.folders, restored.others), (7, 4, 5), "page {page}");
        assert_only(&place.path().join("a"), &["b"]);
        let stat = |at: &str| fs::symlink_metadata(target.join(at)).unwrap();
        let mode = |at: &str| stat(at).mode() & 0o7777;

        assert_eq!(fs::read(target.join("big")).unwrap(), tree.big);
        assert_eq!((mode(""), mode("big"), mode("d"), mode("f")), (0o2550, 0o4755, 0o755, 0o622));
        assert_eq!((mode("d/closed"), stat("d/closed").mtime_nsec()), (0, 123_456_789));
        assert_eq!((stat("l").ino(), stat("l").nlink()), (stat("big").ino(), 2));
        assert_eq!(mode("k"), 0);
        unlock(&target.join("d/closed"));
        fs::set_permissions(target.join("k"), fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(fs::read(target.join("d/closed/one")).unwrap(), b"one in a frame");
        assert_eq!(fs::read(target.join("d/two")).unwrap(), b"two in a frame");
        assert_eq!(fs::read_dir(target.join("d/empty")).unwrap().count(), 0);
        assert!(stat("f").file_type().is_fifo());
        assert_eq!(fs::read_link(target.join("j")).unwrap().to_str(), Some("../../outside"));
        assert_eq!(fs::read_link(target.join("n")).unwrap().to_str(), Some("/etc"));
        assert_eq!(fs::read(target.join("i")).unwrap(), b"inline");
        assert_eq!((stat("m").len(), mode("m")), (0, 0o444));
        for at in ["", "big", "d", "d/empty", "f", "h", "i", "j", "m", "n"] {
            assert_eq!((stat(at).mtime(), stat(at).mtime_nsec()), (1_700_000_000, 123_456_789), "{at}");
        }
        let odd = std::ffi::OsStr::from_bytes(b"z\xff\xfe");
        assert_eq!(fs::read(target.join(odd)).unwrap(), b"no text");

        let holes = fs::read(target.join("h")).unwrap();
        let expected = [vec![0; (3 << 20) + 8192], noise(2, 5000), vec![0; 8192 + 77]].concat();
        assert!(holes == expected);
        assert!(stat("h").blocks() * 512 <= 16384, "{} blocks", stat("h").blocks());
        unlock(&target);
    }
}

#[test]
fn restores_a_part() {
    let tree = tree(3);
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    run(&tree.memory, &tree.id, "d", &at("folder")).unwrap();
    assert_eq!(fs::read(at("folder/two")).unwrap(), b"two in a frame");
    let restored = run(&tree.memory, &tree.id, "big", &at("file")).unwrap();
    assert_eq!((restored.files, restored.raw_bytes), (1, 9 << 20));
    assert_eq!(fs::read(at("file")).unwrap(), tree.big);
    run(&tree.memory, &tree.id, "n", &at("link")).unwrap();
    assert_eq!(fs::read_link(at("link")).unwrap().to_str(), Some("/etc"));
    run(&tree.memory, &tree.id, "f", &at("fifo")).unwrap();
    assert!(fs::symlink_metadata(at("fifo")).unwrap().file_type().is_fifo());
    // A hard link whose file lies outside is a file of its own, also one that is long.
    run(&tree.memory, &tree.id, "l", &at("copy")).unwrap();
    assert_eq!(fs::read(at("copy")).unwrap(), tree.big);
    unlock(&at("folder/closed"));
    let missing = run(&tree.memory, &tree.id, "d/three", &at("none"));
    assert!(matches!(missing, Err(MarshalError::NoSuchPath { .. })));
    assert_only(place.path(), &["copy", "fifo", "file", "folder", "link"]);
}

#[test]
fn what_stands_at_the_target_is_left_alone() {
    let tree = tree(0);
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    fs::write(at("file"), "mine").unwrap();
    fs::create_dir(at("full")).unwrap();
    fs::write(at("full/file"), "mine").unwrap();
    fs::create_dir(at("empty")).unwrap();
    std::os::unix::fs::symlink(at("empty"), at("link")).unwrap();
    for name in ["file", "full", "link"] {
        let refused = run(&tree.memory, &tree.id, "d", &at(name));
        assert!(matches!(refused, Err(MarshalError::Occupied { .. })), "{name}");
    }
    assert!(matches!(run(&tree.memory, &tree.id, "big", &at("empty")), Err(MarshalError::Occupied { .. })));
    assert_eq!(fs::read(at("full/file")).unwrap(), b"mine");
    run(&tree.memory, &tree.id, "d", &at("empty")).unwrap();
    assert_eq!(fs::read(at("empty/two")).unwrap(), b"two in a frame");
    unlock(&at("empty/closed"));
    assert_only(place.path(), &["empty", "file", "full", "link"]);
}

#[test]
fn damage_is_named_and_nothing_is_left() {
    type Place = fn(&Tree) -> Key;
    type Change = fn(&mut Vec<u8>);
    let damages: [(&str, Place, Change, &str); 6] = [
        ("raw", |t| layout::pack(&t.fixture.packs[0]), |b| b[2 << 20] ^= 1, "'big' is damaged"),
        ("cut", |t| layout::pack(&t.fixture.packs[0]), |b| b.truncate(5 << 20), "ends at byte"),
        ("gone", |t| layout::pack(&t.fixture.packs[0]), Vec::clear, "has no packs/01/"),
        ("root", |t| layout::manifest(&t.id), |b| b[70] ^= 1, "the manifest"),
        ("short root", |t| layout::manifest(&t.id), |b| b.truncate(b.len() - 1), "the manifest"),
        ("no root", |t| layout::manifest(&t.id), Vec::clear, "has no manifests/"),
    ];
    for (name, key, change, message) in damages {
        let tree = tree(2);
        tree.memory.tamper(&key(&tree), change);
        let place = tempfile::tempdir().unwrap();
        let error = run(&tree.memory, &tree.id, "", &place.path().join("t")).unwrap_err().to_string();
        assert!(error.contains(message), "{name}: {error}");
        assert_only(place.path(), &[]);
    }
}

#[test]
fn damage_in_frames_and_pages_is_named() {
    let mut fixture = Fixture::new();
    let framed = fixture.framed(&[&noise(1, 3000), &noise(2, 3000)]);
    fixture.next_pack();
    let nodes = [
        folder(""),
        file("one", 0o644, false, vec![framed[0].clone()]),
        file("two", 0o644, false, vec![framed[1].clone()]),
    ];
    let id = fixture.manifest(Shape::Tree, &nodes, 1);
    let Extent::Framed { frame, .. } = framed[1] else { panic!("a frame") };
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("t");
    let flip = |pack: usize, at: u64| {
        fixture.memory.tamper(&layout::pack(&fixture.packs[pack]), |bytes| bytes[at as usize] ^= 1);
    };
    // Incompressible content lies in the frame as it is: only its second file is damaged.
    let at = frame.offset + u64::from(frame.stored_bytes) - 100;
    flip(0, at);
    let error = run(&fixture.memory, &id, "", &target).unwrap_err().to_string();
    let place_of = format!("pack {} at byte {}", fixture.packs[0], frame.offset);
    assert!(error.contains("'two' is damaged") && error.contains(&place_of), "{error}");
    assert!(run(&fixture.memory, &id, "one", &place.path().join("whole")).is_ok());
    flip(0, at);
    // The frame's own header.
    flip(0, frame.offset);
    let error = run(&fixture.memory, &id, "", &target).unwrap_err().to_string();
    assert!(error.contains("is damaged: chunk") && error.contains(&place_of), "{error}");
    flip(0, frame.offset);
    // The first page, behind the head of the second pack.
    flip(1, 64 + 20);
    let reader = ManifestReader::open(&fixture.memory, &id).unwrap();
    let page = reader.manifest().pages[0].frame;
    flip(1, 64 + 20);
    flip(1, page.offset + u64::from(page.stored_bytes) / 2);
    let error = run(&fixture.memory, &id, "", &target).unwrap_err();
    assert!(matches!(error, MarshalError::Damaged { .. }));
    assert!(error.to_string().contains("page 0 of the manifest"), "{error}");
    assert_only(place.path(), &["whole"]);
}

#[test]
fn a_frame_of_another_length_is_damage() {
    let mut fixture = Fixture::new();
    let mut extent = fixture.framed(&[b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]).remove(0);
    if let Extent::Framed { frame, .. } = &mut extent {
        frame.raw_bytes += 1;
    }
    let id = fixture.manifest(Shape::File, &[file("", 0o644, false, vec![extent])], 0);
    let place = tempfile::tempdir().unwrap();
    let error = run(&fixture.memory, &id, "", &place.path().join("t")).unwrap_err();
    assert!(matches!(error, MarshalError::Damaged { .. }), "{error}");
    assert_only(place.path(), &[]);
}

#[test]
fn malicious_manifests_are_refused() {
    let outside = tempfile::tempdir().unwrap();
    let out = outside.path().to_str().unwrap();
    let bad: Vec<(&str, Vec<Node>)> = vec![
        ("below a link", vec![folder(""), symlink("a", out), inline("a/x", b"x")]),
        (
            "below a link, in a page",
            vec![folder(""), folder("0"), symlink("a", out), folder("a/d"), inline("a/d/x", b"x")],
        ),
        ("below a file", vec![folder(""), inline("a", b"a"), inline("a/x", b"x")]),
        ("no parent", vec![folder(""), inline("a/x", b"x")]),
        ("twice", vec![folder(""), folder("0"), symlink("a", out), inline("a", b"x")]),
        ("out of order", vec![folder(""), inline("b", b"b"), inline("a", b"a")]),
        ("no root", vec![folder("a"), inline("a/x", b"x")]),
        ("root is no folder", vec![inline("", b"x")]),
        ("link to a link", vec![folder(""), symlink("a", out), link("b", "a")]),
        ("link to a folder", vec![folder(""), folder("a"), link("b", "a")]),
        ("link to a later", vec![folder(""), link("a", "b"), inline("b", b"b")]),
        ("link to nothing", vec![folder(""), inline("a", b"a"), link("b", "0")]),
        ("link to a hard link", vec![folder(""), inline("a", b"a"), link("b", "a"), link("c", "b")]),
        ("more of nothing", vec![folder(""), node("a", 0, What::More { extents: vec![] })]),
        ("no more of a file", vec![folder(""), inline("a", b"a"), node("a", 0, What::More { extents: vec![] })]),
        ("too many zeros", vec![folder(""), endless("a")]),
        ("more of a folder", vec![folder(""), node("", 0, What::More { extents: vec![] })]),
    ];
    for (name, nodes) in bad {
        for page in [0, 1, 2] {
            let mut fixture = Fixture::new();
            let id = fixture.manifest(Shape::Tree, &nodes, page);
            let place = tempfile::tempdir().unwrap();
            let error = run(&fixture.memory, &id, "", &place.path().join("t")).expect_err(name);
            assert_eq!(error.code(), kale_protocol::exit::Code::Damaged, "{name}, pages of {page}: {error}");
            assert_only(place.path(), &[]);
            assert_only(outside.path(), &[]);
        }
    }
}

#[test]
fn sums_that_do_not_match_are_refused() {
    type Change = fn(&mut Manifest);
    let changes: [(&str, Change); 5] = [
        ("a file's kind", |m| m.shape = Shape::File),
        ("totals", |m| m.totals.files += 1),
        ("digest", |m| m.digest = Digest::of(b"other")),
        ("file's length", |m| match &mut m.nodes[1].what {
            What::File { bytes, .. } => *bytes += 1,
            _ => unreachable!(),
        }),
        ("file's digest", |m| match &mut m.nodes[1].what {
            What::File { digest, .. } => *digest = Digest::of(b"other"),
            _ => unreachable!(),
        }),
    ];
    for (name, change) in changes {
        let mut fixture = Fixture::new();
        let id = fixture.manifest_of(Shape::Tree, &[folder(""), inline("a", b"a")], 0, change);
        let place = tempfile::tempdir().unwrap();
        let error = run(&fixture.memory, &id, "", &place.path().join("t")).expect_err(name);
        assert!(matches!(error, MarshalError::Manifest { .. }), "{name}: {error}");
        assert_only(place.path(), &[]);
    }
}
