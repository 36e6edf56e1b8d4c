//! The agent's copy of itself: whole, executable, and harmless to whoever runs the old one.

use kale_tests::{
    binary::kale_agent,
    sandbox::{Sandbox, Told},
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    process::{Command, Stdio},
};

fn is_ours(place: &Sandbox, path: &str) {
    let path = place.path(path);
    assert!(fs::read(&path).expect("what was installed") == fs::read(kale_agent()).expect("the agent"));
    assert_eq!(fs::metadata(&path).expect("what was installed").mode() & 0o7777, 0o555);
    let told = Told::of(&Command::new(&path).args(["run", "--", "echo", "hello"]).output().expect("it starts"));
    assert_eq!((told.status, told.stdout.as_str()), (0, "hello\n"), "{told}");
}

/// Nothing but this is in the folder.
fn only(place: &Sandbox, folder: &str, name: &str) {
    let left: Vec<_> =
        fs::read_dir(place.path(folder)).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, [name], "{folder}");
}

#[test]
fn to_a_file_and_into_a_folder() {
    let place = Sandbox::without_store();
    fs::create_dir_all(place.path("bin")).unwrap();
    fs::create_dir_all(place.path("file")).unwrap();
    place.ok(["install", "bin"]);
    is_ours(&place, "bin/kale-agent");
    only(&place, "bin", "kale-agent");
    place.ok(["install", "file/agent"]);
    is_ours(&place, "file/agent");
    let said = place.json(["install", "bin/"]);
    assert_eq!(said["installed"], false);
    assert_eq!(said["bytes"].as_u64(), Some(fs::metadata(kale_agent()).unwrap().len()));
}

#[test]
fn the_same_again_does_nothing_and_another_is_replaced() {
    let place = Sandbox::without_store();
    place.ok(["install", "agent"]);
    let first = fs::metadata(place.path("agent")).unwrap();
    place.ok(["install", "agent"]);
    let second = fs::metadata(place.path("agent")).unwrap();
    assert_eq!((first.ino(), first.mtime_nsec()), (second.ino(), second.mtime_nsec()));
    // As long, but for one byte; then with another mode; then a link to something.
    fs::set_permissions(place.path("agent"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut bytes = fs::read(place.path("agent")).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(place.path("agent"), bytes).unwrap();
    place.ok(["install", "agent"]);
    is_ours(&place, "agent");
    fs::set_permissions(place.path("agent"), fs::Permissions::from_mode(0o500)).unwrap();
    place.ok(["install", "agent"]);
    is_ours(&place, "agent");
    place.write("target", "mine");
    fs::remove_file(place.path("agent")).unwrap();
    symlink("target", place.path("agent")).unwrap();
    place.ok(["install", "agent"]);
    is_ours(&place, "agent");
    assert_eq!(place.read("target"), "mine");
}

#[test]
fn a_binary_that_runs_is_replaced_under_it() {
    let place = Sandbox::without_store();
    let path = place.path("agent");
    // Another binary, that runs: writing to it would fail with ETXTBSY.
    // Copied by another process: what this one has open for writing, what other tests start just then has open, too.
    assert!(Command::new("cp").arg("/bin/sleep").arg(&path).status().unwrap().success());
    let mut running = Command::new(&path).arg("60").stdin(Stdio::null()).spawn().unwrap();
    place.ok(["install", "agent"]);
    is_ours(&place, "agent");
    assert!(running.try_wait().unwrap().is_none(), "what ran has ended");
    running.kill().unwrap();
    running.wait().unwrap();
    // And the agent over itself, while it runs.
    let told = Told::of(&Command::new(&path).args(["install"]).arg(&path).output().unwrap());
    assert_eq!(told.status, 0, "{told}");
}

#[test]
fn many_at_once_leave_one() {
    let place = Sandbox::without_store();
    fs::create_dir(place.path("bin")).unwrap();
    let all: Vec<_> =
        (0..8).map(|_| place.agent().args(["install", "bin"]).stdout(Stdio::null()).spawn().unwrap()).collect();
    for mut one in all {
        assert!(one.wait().unwrap().success());
    }
    is_ours(&place, "bin/kale-agent");
    only(&place, "bin", "kale-agent");
}

#[test]
fn the_umask_does_not_matter() {
    let place = Sandbox::without_store();
    let command = format!("umask 077; exec {} install agent", kale_agent().display());
    let told = Told::of(&Command::new("sh").args(["-c", &command]).current_dir(place.path("")).output().unwrap());
    assert_eq!(told.status, 0, "{told}");
    is_ours(&place, "agent");
}

#[test]
fn places_that_do_not_do() {
    let place = Sandbox::without_store();
    place.write("file", "x");
    fs::create_dir_all(place.path("bin/kale-agent")).unwrap();
    for (target, says) in [("nowhere/agent", "nowhere"), ("file/agent", "file"), ("bin", "bin/kale-agent")] {
        let stderr = place.fails(195, ["install", target]);
        assert!(stderr.contains(says), "{stderr}");
    }
    place.fails(190, ["install"]);
    only(&place, "bin", "kale-agent");
    let stderr = place.fails(195, ["install", "/dev/full/x"]);
    assert!(stderr.contains("/dev/full"), "{stderr}");
}
