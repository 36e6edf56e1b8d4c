//! Random trees, through the fixture's writer and back.

use super::tests::{run, unlock};
use crate::marshal::fixture::{Fixture, file, folder, noise};
use kale_protocol::{
    chunk::Extent,
    manifest::{Node, Shape, What},
    path::ArtifactPath,
};
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
    },
    path::Path,
};

/// What a random node is, and the seed of its content.
#[derive(Clone, Debug)]
enum Sprout {
    Folder,
    Inline(u64),
    Raw(u64, usize),
    Framed(u64),
    Holes(u64),
    Symlink,
    HardLink(usize),
    Fifo,
}

fn sprouts() -> impl Strategy<Value = Vec<(Vec<u8>, Sprout, u16)>> {
    let name = prop::collection::vec(prop::sample::select(b"ab-.\xff/".to_vec()), 1..12);
    let sprout = prop_oneof![
        3 => Just(Sprout::Folder),
        2 => any::<u64>().prop_map(Sprout::Inline),
        2 => (any::<u64>(), 1..200_000_usize).prop_map(|(seed, bytes)| Sprout::Raw(seed, bytes)),
        2 => any::<u64>().prop_map(Sprout::Framed),
        1 => any::<u64>().prop_map(Sprout::Holes),
        1 => Just(Sprout::Symlink),
        1 => any::<usize>().prop_map(Sprout::HardLink),
        1 => Just(Sprout::Fifo),
    ];
    prop::collection::vec((name, sprout, 0..0o10000_u16), 0..40)
}

/// Grows a tree: a node whose parent is none becomes a folder's child where its parents can be folders.
fn grow(fixture: &mut Fixture, sprouts: Vec<(Vec<u8>, Sprout, u16)>) -> (Vec<Node>, BTreeMap<ArtifactPath, Vec<u8>>) {
    let mut nodes = BTreeMap::from([(ArtifactPath::root(), folder(""))]);
    let mut contents: BTreeMap<ArtifactPath, Vec<u8>> = BTreeMap::new();
    for (name, sprout, mode) in sprouts {
        let Ok(at) = ArtifactPath::new(name) else { continue };
        let above: Vec<_> = std::iter::successors(at.parent(), ArtifactPath::parent).collect();
        let blocked = |at: &ArtifactPath| nodes.get(at).is_some_and(|node| !matches!(node.what, What::Folder));
        if nodes.contains_key(&at) || above.iter().any(blocked) {
            continue;
        }
        let (extents, content) = match sprout {
            Sprout::Inline(seed) => {
                let content = noise(seed, 1 + (seed % 500) as usize);
                (vec![Extent::Inline { content: content.clone() }], content)
            }
            Sprout::Raw(seed, bytes) => {
                let content = noise(seed, bytes);
                (vec![fixture.raw(&content, 1 + (seed % 70_000) as usize)], content)
            }
            Sprout::Framed(seed) => {
                let content = noise(seed, 1 + (seed % 9000) as usize);
                (vec![fixture.framed(&[b"another's", &content]).remove(1)], content)
            }
            Sprout::Holes(seed) => {
                let middle = [vec![0; 6000], noise(seed, 100), vec![0; 9000]].concat();
                let hole = Extent::Zeros { count: seed % 5 + 1, chunk_bytes: 999 };
                let bytes = hole.raw_bytes() as usize;
                (vec![fixture.raw(&middle, 1 << 20), hole], [middle, vec![0; bytes]].concat())
            }
            _ => (Vec::new(), Vec::new()),
        };
        let what = match sprout {
            Sprout::Folder => What::Folder,
            Sprout::Symlink => What::Symlink { target: b"/etc".to_vec() },
            Sprout::Fifo => What::Fifo,
            Sprout::HardLink(pick) => {
                let files: Vec<_> = contents.keys().filter(|file| **file < at).collect();
                let Some(to) = files.get(pick % files.len().max(1)) else { continue };
                What::HardLink { to: (*to).clone() }
            }
            Sprout::Holes(_) => file("", 0, true, extents).what,
            _ => file("", 0, false, extents).what,
        };
        for parent in above {
            let new = Node { path: parent.clone(), ..folder("") };
            nodes.entry(parent).or_insert(new);
        }
        if matches!(what, What::File { .. }) {
            contents.insert(at.clone(), content);
        }
        nodes.insert(at.clone(), Node { path: at, mode, modified_ns: i64::from(mode) * 1_000_000_007 - 5, what });
    }
    (nodes.into_values().collect(), contents)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn random_trees_come_back(sprouts in sprouts(), page in 0..6_usize) {
        let mut fixture = Fixture::new();
        let (nodes, contents) = grow(&mut fixture, sprouts);
        let id = fixture.manifest(Shape::Tree, &nodes, page);
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("t");
        let restored = run(&fixture.memory, &id, "", &target).unwrap();
        prop_assert_eq!(restored.raw_bytes, contents.values().map(|content| content.len() as u64).sum::<u64>());
        let local = |at: &ArtifactPath| match at.is_root() {
            true => target.clone(),
            false => target.join(OsStr::from_bytes(at.as_bytes())),
        };
        for node in &nodes {
            let (at, found) = (local(&node.path), fs::symlink_metadata(local(&node.path)).unwrap());
            if !matches!(node.what, What::Symlink { .. } | What::HardLink { .. }) {
                prop_assert_eq!(found.mode() & 0o7777, u32::from(node.mode), "{:?}", at);
            }
            if !matches!(node.what, What::HardLink { .. }) {
                let time = found.mtime() * 1_000_000_000 + found.mtime_nsec();
                prop_assert_eq!(time, node.modified_ns, "{:?}", at);
            }
            match &node.what {
                What::Folder => {
                    prop_assert!(found.is_dir());
                    unlock(&at);
                }
                What::File { .. } => {
                    fs::set_permissions(&at, fs::Permissions::from_mode(0o600)).unwrap();
                    prop_assert!(fs::read(&at).unwrap() == contents[&node.path], "{:?}", at);
                }
                What::Symlink { .. } => prop_assert!(found.is_symlink()),
                What::Fifo => prop_assert!(found.file_type().is_fifo()),
                What::HardLink { to } => prop_assert_eq!(found.ino(), fs::symlink_metadata(local(to)).unwrap().ino()),
                What::More { .. } => {}
            }
        }
        let count = walk(&target);
        prop_assert_eq!(count, nodes.len());
    }
}

/// How many entries there are from here down, this one counted.
fn walk(at: &Path) -> usize {
    if !fs::symlink_metadata(at).unwrap().is_dir() {
        return 1;
    }
    1 + fs::read_dir(at).unwrap().map(|entry| walk(&entry.unwrap().path())).sum::<usize>()
}
