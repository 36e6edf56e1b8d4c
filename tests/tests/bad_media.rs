//! Media that fail or fill up, and files that do not keep still: a clear error soon, and nothing half-written.

use kale_tests::{sandbox::Sandbox, tree, volume};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// What is refused is refused soon.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_medium_that_fails_in_the_middle_of_a_file() {
    for (kind, content) in [("noise", tree::noise(1, 30 << 20)), ("text", b"1,2,3,some text\n".repeat(30 << 16))] {
        let place = Sandbox::new();
        let mounted = volume::failing("a_medium_that_fails_in_the_middle_of_a_file", &place.path("failing"));
        let Some(mounted) = mounted else { return };
        let large = place.write("failing/tree/large", &content);
        place.write("failing/tree/after", "short");
        let read = mounted.fail(&large);
        assert!((1 << 20..content.len() as u64).contains(&read), "{kind}: {read} bytes can be read");
        let begun = Instant::now();
        for path in ["failing/tree", "failing/tree/large"] {
            let says = ["failing/tree/large", "Input/output error", "nothing was committed"];
            refused(&place, 195, &["save", "x", path], &says);
        }
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    }
}

/// A call that fails may have begun a run: no pack, no manifest and no commit is left.
fn refused(place: &Sandbox, status: i32, arguments: &[&str], says: &[&str]) {
    let stderr = place.fails(status, arguments);
    for text in says {
        assert!(stderr.contains(text), "'{text}' is not said: {stderr}");
    }
    let is_left = |path: &String| ["packs/", "manifests/", "commit"].iter().any(|part| path.contains(part));
    let left: Vec<String> = place.stored().into_iter().map(|(path, _)| path).filter(is_left).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_file_that_gets_longer_or_shorter_while_it_is_saved() {
    for grows in [true, false] {
        let place = Sandbox::new();
        let bytes = 64 << 20;
        fs::write(place.path("moving"), b"a line of the log, or of the table\n".repeat(bytes / 35)).unwrap();
        let file = fs::OpenOptions::new().write(true).open(place.path("moving")).unwrap();
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut length = file.metadata().unwrap().len();
                while !ended.load(Ordering::Relaxed) {
                    if grows {
                        file.write_all_at(b"one more", length).unwrap();
                        length += 8;
                    } else {
                        length -= 8;
                        file.set_len(length).unwrap();
                    }
                    thread::yield_now();
                }
            });
            let begun = Instant::now();
            let told = place.call(["save", "x", "moving"]);
            ended.store(true, Ordering::Relaxed);
            assert_eq!(told.status, 194, "{told}");
            assert!(
                told.stderr.contains("moving changed while it was saved") && told.stderr.contains("save it again"),
                "{told}"
            );
            assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        });
        refused(&place, 192, &["load", "x", "back"], &[]);
    }
}

#[test]
fn forty_gigabytes_of_nothing() {
    let place = Sandbox::new();
    let file = File::create(place.path("sparse")).unwrap();
    file.set_len(40 << 30).unwrap();
    file.write_all_at(b"in the middle", (20 << 30) + 77).unwrap();
    let begun = Instant::now();
    let saved = place.json(["save", "x", "sparse"]);
    assert_eq!(saved["raw_bytes"], 40u64 << 30, "{saved}");
    assert!(saved["stored_bytes"].as_u64().unwrap() < 2 << 20, "{saved}");
    place.ok(["load", "x", "back"]);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    let back = File::open(place.path("back")).unwrap();
    let mut middle = [0; 13];
    back.read_exact_at(&mut middle, (20 << 30) + 77).unwrap();
    assert_eq!((back.metadata().unwrap().len(), &middle), (40 << 30, b"in the middle"));
}

/// The volume is full at another moment each time: in the content, at the end of a pack, at the manifest, at the commit.
#[test]
fn a_volume_that_fills_up_at_any_moment() {
    let place = Sandbox::new();
    let Some(mounted) = volume::small(&place.path("small"), 8) else { return };
    let store = mounted.path().join("store").display().to_string();
    place.ok(["init", &store]);
    place.ok(["save", "--store", &store, "--step", "first", "x", "/etc/hostname"]);
    fs::create_dir(place.path("tree")).unwrap();
    for file in 0..200 {
        fs::write(place.path(&format!("tree/{file}")), tree::noise(2 * file, 10_000)).unwrap();
    }
    let filler = File::create(mounted.path().join("filler")).unwrap();
    let free = |bytes: u64| {
        filler.set_len(0).unwrap();
        let statistics = nix::sys::statvfs::statvfs(mounted.path()).unwrap();
        let all = statistics.blocks_available() * statistics.fragment_size();
        let filled = vec![1; all.saturating_sub(bytes) as usize];
        filler.write_all_at(&filled, 0).unwrap();
    };
    let (mut full, mut saved) = (0, 0);
    // What is saved takes about 2,030,000 bytes, in pages of 4096.
    for bytes in (0..10).map(|part| part * 200_000).chain((480..512).map(|page| page * 4096)) {
        free(bytes);
        let step = format!("s{bytes}");
        let told = place.call(["save", "--store", &store, "--step", &step, "x", "tree"]);
        match told.status {
            195 => {
                full += 1;
                assert!(told.stderr.contains("No space left"), "{told}");
            }
            0 => {
                saved += 1;
                free(u64::MAX);
                place.ok(["load", "--store", &store, &format!("p/r/{step}:x"), "back"]);
                fs::remove_dir_all(place.path("back")).unwrap();
            }
            _ => panic!("{bytes} bytes free: {told}"),
        }
        free(u64::MAX);
        let verified = place.call(["verify", "--store", &store]);
        assert_eq!(verified.status, 0, "{bytes} bytes free: {verified}");
        if saved > 0 {
            break;
        }
    }
    assert!(full > 10 && saved == 1, "{full} times full, {saved} times saved");
}

#[test]
fn a_full_volume_is_an_error_of_its_own_and_loses_nothing() {
    let place = Sandbox::new();
    place.step("prep", ["--out", "t"], "echo 1 > $KALE_OUT_T");
    let Some(mounted) = volume::small(&place.path("small"), 8) else { return };
    let store = mounted.path().join("store").display().to_string();
    place.ok(["init", &store]);
    let ok = place.call(["save", "--store", &store, "small", "/etc/hostname"]);
    assert_eq!(ok.status, 0, "{ok}");
    let told =
        place.try_step("s", ["--store", &store, "--out", "big"], "head -c 20000000 /dev/urandom > $KALE_OUT_BIG");
    assert_eq!(told.status, 195, "{told}");
    assert!(told.stderr.contains("No space left"), "{told}");
    assert_eq!(place.call(["verify", "--store", &store]).status, 0);
    let again =
        place.try_step("s", ["--store", &store, "--out", "big"], "head -c 2000000 /dev/urandom > $KALE_OUT_BIG");
    assert_eq!(again.status, 0, "what the failed attempt wrote is gone: {again}");
}

#[test]
fn a_read_only_volume_is_an_error_of_its_own() {
    let place = Sandbox::new();
    let Some(mounted) = volume::small(&place.path("small"), 8) else { return };
    let store = mounted.path().join("store").display().to_string();
    place.ok(["init", &store]);
    place.ok(["save", "--store", &store, "x", "/etc/hostname"]);
    mounted.remount_read_only();
    let told = place.try_step("s", ["--store", &store, "--out", "y"], "echo > $KALE_OUT_Y");
    assert_eq!(told.status, 195, "{told}");
    assert!(told.stderr.contains("Read-only"), "{told}");
    assert_eq!(place.call(["cat", "--store", &store, "x:x"]).status, 0, "reading goes on");
}
