//! Bad input, and what it gets: a clear error, a documented code, nothing written or lost.

use kale_protocol::digest::Digest;
use kale_tests::sandbox::Sandbox;
use std::{fs, os::unix::net::UnixListener};

/// Nothing in the store may change over a call that is refused.
fn refused(place: &Sandbox, status: i32, arguments: &[&str], says: &[&str]) {
    let before = place.stored();
    let stderr = place.fails(status, arguments);
    for text in says {
        assert!(stderr.contains(text), "'{text}' is not said: {stderr}");
    }
    assert_eq!(place.stored(), before, "a refused call wrote to the store");
}

fn run<'a>(step: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["run", "--step", step], more, &["--", "sh", "-c", "touch ran"]].concat()
}

#[test]
fn stores_that_are_none() {
    let place = Sandbox::new();
    place.write("plain/file", "x");
    let location = |path: &str| place.path(path).display().to_string();
    refused(&place, 191, &["ls", "--store", &location("nowhere")], &["nowhere", "does not exist"]);
    refused(&place, 191, &["ls", "--store", &location("plain")], &["is not a kale store"]);
    refused(&place, 191, &["ls", "--store", "s3://bucket/prefix"], &["no credentials for s3://bucket/prefix"]);
    refused(&place, 190, &["ls", "--store", "ftp://x"], &["ftp://x"]);
    refused(&place, 191, &run("s", &["--store", &location("plain")]), &["is not a kale store"]);
    assert!(!place.path("ran").exists());
}

#[test]
fn a_store_of_a_newer_format() {
    let place = Sandbox::new();
    let marker = place.store().join("kale-store");
    let mut bytes = fs::read(&marker).unwrap();
    bytes[10] = 9;
    // A whole object of version 9, not a damaged one of version 1.
    let digest = Digest::of(&[&bytes[..32], &bytes[64..]].concat());
    bytes[32..64].copy_from_slice(&digest.0);
    fs::remove_file(&marker).unwrap();
    fs::write(&marker, bytes).unwrap();
    refused(&place, 191, &["ls"], &["newer kale-agent", "version 9"]);
    refused(&place, 191, &run("s", &[]), &["newer kale-agent"]);
}

#[test]
fn another_store_than_the_runs() {
    let place = Sandbox::new();
    let other = "0123456789abcdef0123456789abcdef";
    let own = place.json(["show"])["id"].as_str().unwrap().to_owned();
    refused(&place, 191, &run("s", &["--store-id", other]), &[other, &own]);
    place.step("s", Vec::<String>::new(), "true");
    // A run folder that was copied from another store says so.
    let elsewhere = Sandbox::new();
    fs::create_dir_all(elsewhere.store().join("runs/p/r")).unwrap();
    fs::copy(place.store().join("runs/p/r/.run"), elsewhere.store().join("runs/p/r/.run")).unwrap();
    let told = elsewhere.try_step("t", Vec::<String>::new(), "true");
    assert_eq!(told.status, 191, "{told}");
    assert!(told.stderr.contains(&own), "{told}");
}

#[test]
fn missing_inputs_say_where_was_looked_and_what_is_there() {
    let place = Sandbox::new();
    place.step("prep", ["--out", "table"], "echo 1 > $KALE_OUT_TABLE");
    let store = place.store().display().to_string();
    refused(&place, 192, &run("s", &["--in", "prep:tabel"]), &["p/r", &store, "no artifact tabel", "it has table"]);
    refused(&place, 192, &run("s", &["--in", "perp:table"]), &["no such step", "prep"]);
    refused(&place, 192, &run("s", &["--in", "p/monday/prep:table"]), &["nothing is in run p/monday", "r"]);
    refused(&place, 192, &run("s", &["--in", "q/r/prep:table"]), &["no pipeline q", "it has p"]);
    refused(&place, 192, &run("s", &["--in", "a:b", "--in", "c:d"]), &["a:b", "c:d"]);
    refused(&place, 192, &["ls", "p/monday"], &["p/monday", "the pipeline's runs are r"]);
    refused(&place, 192, &["ls", "p/r/perp"], &["no such step", "prep"]);
    refused(&place, 190, &run("s", &["--in", "s:x"]), &["refers to this step itself"]);
    assert!(!place.path("ran").exists());
}

#[test]
fn paths_that_clash() {
    let place = Sandbox::new();
    place.step("prep", ["--out", "a", "--out", "b"], "echo 1 > $KALE_OUT_A; echo 2 > $KALE_OUT_B");
    refused(&place, 190, &run("s", &["--in", "prep:a=x", "--in", "prep:b=x"]), &["input a", "input b", "same path"]);
    refused(&place, 190, &run("s", &["--in", "prep:a=x", "--out", "o=x/y"]), &["lie inside each other"]);
    refused(&place, 190, &run("s", &["--in", "prep:a", "--in", "prep:a"]), &["two inputs are called a"]);
    refused(&place, 190, &run("s", &["--out", "o=x", "--out", "p=./x"]), &["same path"]);
    place.write("there", "mine");
    let told = place.try_step("s", ["--in", "prep:a=there"], "true");
    assert_eq!(told.status, 190, "{told}");
    assert!(told.stderr.contains("never overwrites"), "{told}");
    assert_eq!(place.read("there"), "mine");
}

#[test]
fn names_that_could_be_paths() {
    let place = Sandbox::new();
    for bad in ["a/b", "..", ".hidden", "a\nb", "a\u{1b}[31m", "", " a", "a:b", "a[0]", "a=b"] {
        for flag in ["--pipeline", "--run", "--step"] {
            let own: &[&str] = if flag == "--step" { &[] } else { &["--step", "s"] };
            let told = place.call([&["run", flag, bad], own, &["--", "true"]].concat());
            assert_eq!(told.status, 190, "{flag} {bad:?}: {told}");
        }
        assert_eq!(place.call(["save", bad, "/etc/hostname"]).status, 190, "{bad:?}");
    }
    refused(&place, 190, &["run", "--run", "latest", "--step", "s", "--", "true"], &["latest"]);
}

#[test]
fn settings_that_are_missing() {
    let place = Sandbox::new();
    refused(&place, 190, &["run", "--out", "x", "--", "true"], &["--step (KALE_STEP)"]);
    refused(&place, 190, &["run", "--step", "s"], &["no command"]);
    refused(&place, 190, &["run", "--step", "s", "--wait", "soon", "--", "true"], &["soon"]);
    refused(&place, 190, &["frobnicate"], &["frobnicate"]);
}

#[test]
fn a_command_that_does_not_exist() {
    let place = Sandbox::new();
    let told = place.call(["run", "--step", "s", "--out", "x", "--", "no-such-command"]);
    assert_eq!(told.status, 127, "{told}");
    assert!(told.stderr.contains("no-such-command"), "{told}");
    place.write("not-executable", "x");
    assert_eq!(place.call(["run", "--step", "s", "--", "./not-executable"]).status, 126);
    assert!(place.json(["show", "p/r/s"])["failure"]["code"].is_number());
}

#[test]
fn a_socket_that_is_stale() {
    let place = Sandbox::new();
    let socket = place.path("old.sock");
    drop(UnixListener::bind(&socket).unwrap());
    for arguments in [&["save", "x", "/etc/hostname"][..], &["load", "x"], &["fan-out", "train", "3"]] {
        let output = place.agent().args(arguments).env("KALE_SOCKET", &socket).output().unwrap();
        let told = kale_tests::sandbox::Told::of(&output);
        assert_eq!(told.status, 195, "{told}");
        assert!(told.stderr.contains("old.sock") && told.stderr.contains("unset it"), "{told}");
    }
}

#[test]
fn sockets_and_devices_are_refused_by_name() {
    let place = Sandbox::new();
    let told = place.try_step("s", ["--out", "d"], "mkdir $KALE_OUT_D; python3 -c \"import socket,os; socket.socket(socket.AF_UNIX).bind(os.environ['KALE_OUT_D']+'/talk')\"");
    assert_eq!(told.status, 194, "{told}");
    assert!(told.stderr.contains("talk is a socket"), "{told}");
    let told = place.call(["save", "null", "/dev/null"]);
    assert_eq!(told.status, 194, "{told}");
    assert!(told.stderr.contains("character device"), "{told}");
}

/// One committed artifact of each kind of storage: inline, framed, raw.
fn three_artifacts() -> Sandbox {
    let place = Sandbox::new();
    place.step(
        "s",
        ["--out", "inline", "--out", "text", "--out", "raw"],
        "echo 1 > $KALE_OUT_INLINE; seq 1 100000 > $KALE_OUT_TEXT; head -c 3000000 /dev/urandom > raw; cp raw $KALE_OUT_RAW",
    );
    place
}

fn packs(place: &Sandbox) -> Vec<std::path::PathBuf> {
    let stored = place.stored();
    let mut packs: Vec<_> = stored.iter().filter(|(path, _)| path.starts_with("packs/")).collect();
    packs.sort_by_key(|(_, bytes)| bytes.len());
    packs.iter().map(|(path, _)| place.store().join(path)).collect()
}

fn rewrite(path: &std::path::Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("a stored file");
    change(&mut bytes);
    fs::remove_file(path).expect("a stored file");
    fs::write(path, bytes).expect("a stored file");
}

#[test]
fn damaged_packs_are_named_and_never_returned_as_good() {
    let place = three_artifacts();
    let pack = packs(&place).pop().unwrap();
    let name = pack.file_name().unwrap().to_str().unwrap().to_owned();
    rewrite(&pack, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let told = place.call(["cat", "s:raw"]);
    assert_eq!(told.status, 193, "{told}");
    assert!(told.stderr.contains(&name), "{told}");
    let told = place.try_step("use", ["--in", "s:raw"], "touch ran");
    assert_eq!(told.status, 193, "{told}");
    assert!(told.stderr.contains("raw") && !place.path("ran").exists(), "{told}");
    // Storing the same content again would refer to what is damaged; told not to, it is whole.
    let raw = fs::read(place.path("raw")).unwrap();
    assert_eq!(raw.len(), 3_000_000);
    place.step("s", ["--run", "again", "--dedup", "never", "--out", "raw=raw"], "true");
    place.ok(["verify", "p/again/s:raw"]);
    let told = place.call(["verify"]);
    assert_eq!(told.status, 193, "{told}");
    assert!(told.stdout.contains("s[0]:raw") && told.stdout.contains(&name), "{told}");
    assert!(!told.stdout.contains("s[0]:inline"), "{told}");
    assert_eq!(place.ok(["cat", "s:inline"]), "1\n");
}

#[test]
fn cut_and_missing_packs() {
    let place = three_artifacts();
    let pack = packs(&place).pop().unwrap();
    rewrite(&pack, |bytes| bytes.truncate(bytes.len() / 2));
    assert_eq!(place.call(["cat", "s:raw"]).status, 193);
    assert_eq!(place.call(["verify"]).status, 193);
    fs::remove_file(&pack).unwrap();
    let told = place.call(["load", "s:raw", "back"]);
    assert!([192, 193].contains(&told.status), "{told}");
    assert!(!place.path("back").exists());
    assert_eq!(place.call(["verify"]).status, 193);
}

#[test]
fn cut_manifests_commits_and_records() {
    for (what, status) in [("manifests/", 193), ("/commit", 193)] {
        let place = three_artifacts();
        for (path, _) in place.stored() {
            if path.starts_with(what) || path.ends_with(what) {
                rewrite(&place.store().join(path), |bytes| bytes.truncate(bytes.len() - 3));
            }
        }
        let told = place.call(["cat", "s:text"]);
        assert_eq!(told.status, status, "{what}: {told}");
        assert!(told.stderr.contains("cut short") || told.stderr.contains("damaged"), "{told}");
        assert_eq!(place.call(["verify"]).status, 193, "{what}");
    }
}

#[test]
fn a_store_is_not_made_in_a_folder_that_is_called_like_a_bucket() {
    let place = Sandbox::without_store();
    for (status, url) in [(191, "s3://bucket/prefix"), (191, "gs://bucket"), (190, "ftp://host/x")] {
        assert!(place.fails(status, ["init", url]).contains(url));
    }
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 0);
    place.ok(["init", &format!("file://{}", place.path("made").display())]);
    assert!(place.path("made/kale-store").exists());
}
