//! Saves of trees: what is kept of each entry, and in which order.

use super::{Artifact, noise, options, save, save_path, text};
use crate::{
    marshal::{Known, MarshalError, SaveOptions, Source},
    report::Silent,
    store::{Memory, Transport},
};
use kale_protocol::{
    layout,
    manifest::{Shape, What},
    path::ArtifactPath,
};
use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
};

#[test]
fn a_tree_of_everything_is_saved_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("tree");
    fs::create_dir_all(root.join("a/empty")).unwrap();
    fs::write(root.join("a/small"), b"small").unwrap();
    fs::write(root.join("a-b"), text(3000)).unwrap();
    fs::write(root.join("large"), noise("large", 3 << 20)).unwrap();
    fs::write(root.join("nothing"), b"").unwrap();
    fs::write(root.join("text"), text(200_000)).unwrap();
    fs::hard_link(root.join("large"), root.join("link")).unwrap();
    symlink("../nowhere", root.join("points")).unwrap();
    nix::unistd::mkfifo(&root.join("queue"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    fs::set_permissions(root.join("a-b"), fs::Permissions::from_mode(0o4750)).unwrap();
    let memory = Memory::new();
    let saved = save_path(&memory, &root, &Known::default());
    let artifact = Artifact::read(&memory, &saved);
    let paths: Vec<String> = artifact.nodes.iter().map(|node| node.path.to_string()).collect();
    assert_eq!(paths, ["", "a", "a/empty", "a/small", "a-b", "large", "link", "nothing", "points", "queue", "text"]);
    assert_eq!(saved.shape, Shape::Tree);
    assert_eq!((saved.totals.files, saved.totals.folders, saved.totals.others), (5, 3, 3));
    for file in ["a/small", "a-b", "large", "nothing", "text"] {
        assert_eq!(artifact.content(file), fs::read(root.join(file)).unwrap(), "{file}");
        let meta = fs::metadata(root.join(file)).unwrap();
        assert_eq!(artifact.node(file).modified_ns, meta.mtime() * 1_000_000_000 + meta.mtime_nsec());
    }
    assert_eq!(artifact.node("a-b").mode, 0o4750);
    let to = ArtifactPath::new(b"large".to_vec()).unwrap();
    assert_eq!(artifact.node("link").what, What::HardLink { to });
    assert_eq!(artifact.node("points").what, What::Symlink { target: b"../nowhere".to_vec() });
    assert_eq!(artifact.node("queue").what, What::Fifo);
    assert!(saved.stored_bytes < saved.totals.raw_bytes);
}

#[test]
fn saving_again_stores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("tree");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("noise"), noise("again", 5 << 20)).unwrap();
    fs::write(root.join("text"), text(300_000)).unwrap();
    for i in 0..1000 {
        fs::write(root.join(format!("{i}")), format!("{i}").repeat(i % 50)).unwrap();
    }
    let memory = Memory::new();
    let first = save_path(&memory, &root, &Known::default());
    let objects = memory.keys();
    let artifact = Artifact::read(&memory, &first);
    let mut known = Known::default();
    artifact.add_to(&mut known, &first);
    let again = save_path(&memory, &root, &known);
    assert_eq!((again.stored_bytes, again.packs.len(), again.manifest_new), (0, 0, false));
    assert_eq!((again.manifest, again.digest, memory.keys()), (first.manifest, first.digest, objects));
    // One small file more: its content, and nothing that was there before.
    fs::write(root.join("more"), noise("more", 100)).unwrap();
    let more = save_path(&memory, &root, &known);
    assert!(more.manifest_new && more.stored_bytes < 4 << 10, "{}", more.stored_bytes);
    assert_eq!(Artifact::read(&memory, &more).content("noise"), noise("again", 5 << 20));
}

#[test]
fn trees_have_one_digest_whatever_the_order_of_creation() {
    let memory = Memory::new();
    let digest = |names: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("tree");
        fs::create_dir(&root).unwrap();
        for name in names {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), name.repeat(2000)).unwrap();
        }
        save_path(&memory, &root, &Known::default()).digest
    };
    assert_eq!(digest(&["a/b", "a-b", "c", "a.b/d"]), digest(&["c", "a.b/d", "a-b", "a/b"]));
}

#[test]
fn nodes_that_do_not_fit_the_root_go_to_pages() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("tree");
    fs::create_dir(&root).unwrap();
    let name = |i: usize| format!("{i:06}-{}", "x".repeat(200));
    for i in 0..6000 {
        fs::write(root.join(name(i)), format!("{i}")).unwrap();
    }
    let memory = Memory::new();
    let saved = save_path(&memory, &root, &Known::default());
    let artifact = Artifact::read(&memory, &saved);
    assert!(artifact.manifest.pages.len() >= 2, "{}", artifact.manifest.pages.len());
    let root_bytes = memory.read(&layout::manifest(&saved.manifest), u64::MAX).unwrap().len();
    assert!(root_bytes < 300 << 10, "{root_bytes}");
    for i in [0, 4000, 5999] {
        assert_eq!(artifact.content(&name(i)), format!("{i}").as_bytes());
    }
}

#[test]
fn a_root_that_is_a_link_is_followed_and_names_may_be_any_bytes() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("tree");
    fs::create_dir(&root).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"\xff\xfe")), b"content").unwrap();
    symlink(&root, folder.path().join("link")).unwrap();
    let memory = Memory::new();
    let saved = save_path(&memory, &folder.path().join("link"), &Known::default());
    assert_eq!(saved.shape, Shape::Tree);
    assert_eq!(Artifact::read(&memory, &saved).nodes[1].path.as_bytes(), b"\xff\xfe");
}

#[test]
fn parts_make_a_tree_and_may_not_overlap() {
    let part = |path: &str, content: &[u8]| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        (ArtifactPath::new(path.as_bytes().to_vec()).unwrap(), file)
    };
    let memory = Memory::new();
    let parts = Source::Parts(vec![part("b/c/data", b"data"), part("a", b"a")]);
    let value = SaveOptions { shape: Some(Shape::Value), format: Some("pickle".to_owned()), ..options(2) };
    let saved = save(parts, &memory, &Known::default(), &value, &Silent).unwrap();
    let artifact = Artifact::read(&memory, &saved);
    assert_eq!((saved.shape, saved.format.as_deref()), (Shape::Value, Some("pickle")));
    let paths: Vec<_> = artifact.nodes.iter().map(|node| node.path.to_string()).collect();
    assert_eq!(paths, ["", "a", "b", "b/c", "b/c/data"]);
    assert_eq!(artifact.content("b/c/data"), b"data");
    for clash in [["a", "a"], ["a", "a/b"], ["a/b", "a"], ["", "a"]] {
        let parts = Source::Parts(clash.iter().map(|path| part(path, b"x")).collect());
        let error = save(parts, &memory, &Known::default(), &options(2), &Silent).unwrap_err();
        assert!(matches!(error, MarshalError::Refused { .. }), "{clash:?}");
    }
}

#[test]
fn folders_may_nest_a_thousand_deep() {
    let folder = tempfile::tempdir().unwrap();
    let deep = vec!["d"; 1000].join("/");
    fs::create_dir_all(folder.path().join(&deep)).unwrap();
    fs::write(folder.path().join(&deep).join("file"), b"deep").unwrap();
    fs::write(folder.path().join("e"), b"after").unwrap();
    let memory = Memory::new();
    let saved = save_path(&memory, folder.path(), &Known::default());
    let artifact = Artifact::read(&memory, &saved);
    assert_eq!(saved.totals.folders, 1001);
    assert_eq!(artifact.content(&format!("{deep}/file")), b"deep");
    assert_eq!(artifact.nodes.last().unwrap().path.as_bytes(), b"e");
}
