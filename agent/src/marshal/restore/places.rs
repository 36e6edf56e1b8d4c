//! Restoring to difficult places, and from difficult trees.

use super::{
    tests::{assert_only, inline, link, run, tree, unlock},
    *,
};
use crate::marshal::fixture::{Fixture, folder, node};
use kale_protocol::manifest::Shape;
use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

#[test]
fn a_deep_tree_needs_few_open_folders() {
    let mut nodes = vec![folder("")];
    let mut deep = String::new();
    for level in 0..300 {
        deep.push_str(if level == 0 { "d" } else { "/d" });
        nodes.push(node(&deep, 0o500, What::Folder));
    }
    nodes.push(inline(&format!("{deep}/last"), b"last"));
    nodes.push(link(&format!("{deep}/linked"), &format!("{deep}/last")));
    // A file beside each folder, met on the way up: folders that were closed are opened again.
    for level in (1..300).rev() {
        nodes.push(inline(&format!("{}/e", &deep[..level * 2 - 1]), b"beside"));
    }
    let mut fixture = Fixture::new();
    let id = fixture.manifest(Shape::Tree, &nodes, 50);
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("t");
    let restored = run(&fixture.memory, &id, "", &target).unwrap();
    assert_eq!((restored.files, restored.folders), (300, 301));
    assert_eq!(fs::read(target.join(&deep).join("linked")).unwrap(), b"last");
    assert_eq!(fs::read(target.join("d/d/e")).unwrap(), b"beside");
    assert_eq!(fs::symlink_metadata(target.join(&deep)).unwrap().mode() & 0o7777, 0o500);
    for level in 1..=300 {
        unlock(&target.join(&deep[..level * 2 - 1]));
    }
}

#[test]
fn an_unwritable_place_is_named() {
    let tree = tree(0);
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("file"), "").unwrap();
    let error = run(&tree.memory, &tree.id, "", &place.path().join("file/t")).unwrap_err();
    assert!(matches!(&error, MarshalError::Io { source, .. } if source.kind() == io::ErrorKind::NotADirectory));
}

#[test]
fn the_umask_does_not_matter() {
    for umask in ["0000", "0077"] {
        let status = std::process::Command::new("sh")
            .args(["-c", r#"umask "$0"; exec "$@""#, umask])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "marshal::restore::tests::restores_every_kind_of_node"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&status.stdout);
        assert!(status.status.success() && said.contains("1 passed"), "umask {umask}: {said}");
    }
}

#[test]
fn what_is_left_is_removed_though_it_is_closed() {
    let place = tempfile::tempdir().unwrap();
    let staging = Staging::create(&place.path().join("t"), true).unwrap();
    let top = place.path().join(staging.name());
    fs::create_dir_all(top.join("a/b")).unwrap();
    fs::write(top.join("a/b/file"), "x").unwrap();
    std::os::unix::fs::symlink("/", top.join("a/link")).unwrap();
    for folder in ["a/b", "a", ""] {
        fs::set_permissions(top.join(folder), fs::Permissions::from_mode(0o000)).unwrap();
    }
    drop(staging);
    assert_only(place.path(), &[]);
}

#[test]
fn a_target_that_appears_meanwhile_is_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("t");
    for first_empty in [false, true] {
        let staging = Staging::create(&target, true).unwrap();
        fs::create_dir(place.path().join(staging.name())).unwrap();
        if !first_empty {
            fs::create_dir(&target).unwrap();
        } else {
            fs::write(target.join("mine"), "mine").unwrap();
        }
        assert!(matches!(staging.publish(), Err(MarshalError::Occupied { .. })));
        assert_only(place.path(), &["t"]);
    }
    assert_eq!(fs::read(target.join("mine")).unwrap(), b"mine");
}
