//! Memory has a ceiling, whatever the size or number of files.
//!
//! Sizes are those of the promise (10 GiB, 200,000 files) with `KALE_TEST_FULL=1`, and smaller ones else, so that a run
//! of all tests stays short: the ceiling is the same.

use kale_tests::{group::Group, measure, sandbox::Sandbox, tree};
use std::{fs, io::Write, process::Stdio};

const CEILING: u64 = 256 << 20;

fn full() -> bool {
    std::env::var_os("KALE_TEST_FULL").is_some()
}

fn within(place: &Sandbox, arguments: &[&str]) {
    let used = measure::run(place.agent().args(arguments).arg("-q").stdout(Stdio::null()));
    assert!(used.status.success(), "{arguments:?}: {used:?}");
    assert!(used.peak_rss_bytes <= CEILING, "{arguments:?}: {} MiB", used.peak_rss_bytes >> 20);
    println!("{arguments:?}: {} MiB, {:.1} CPU s", used.peak_rss_bytes >> 20, used.cpu_seconds);
}

#[test]
fn one_large_file() {
    let place = Sandbox::new();
    let blocks = if full() { 10 << 10 } else { 768 };
    let mut file = fs::File::create(place.path("large")).unwrap();
    for block in 0..blocks {
        // Every third block is text, so that raw and compressed content are both there.
        let bytes = if block % 3 == 2 {
            format!("{block:07} line\n").repeat(80_660).into_bytes()
        } else {
            tree::noise(block, 1 << 20)
        };
        file.write_all(&bytes).unwrap();
    }
    drop(file);
    within(&place, &["save", "x", "large"]);
    within(&place, &["load", "x", "back"]);
    within(&place, &["verify"]);
    let same = std::process::Command::new("cmp").args([place.path("large"), place.path("back")]).status().unwrap();
    assert!(same.success());
}

#[test]
fn very_many_small_files() {
    let place = Sandbox::new();
    let folders = if full() { 200 } else { 25 };
    for folder in 0..folders {
        let path = place.path(&format!("many/folder-{folder:03}/deeper"));
        fs::create_dir_all(&path).unwrap();
        for file in 0..1000 {
            fs::write(
                path.join(format!("file-{file:04}.json")),
                format!("{{\"folder\": {folder}, \"file\": {file}}}\n"),
            )
            .unwrap();
        }
    }
    within(&place, &["save", "x", "many"]);
    within(&place, &["load", "x", "back"]);
    within(&place, &["verify"]);
    within(&place, &["save", "x", "back", "--run", "again"]);
    let same =
        std::process::Command::new("diff").arg("-rq").args([place.path("many"), place.path("back")]).output().unwrap();
    assert!(same.status.success() && same.stdout.is_empty(), "{same:?}");
}

/// In a container whose limit is far below what is moved, and below what this machine's cores would like to have.
#[test]
fn in_a_small_control_group() {
    let Some(group) = Group::limited("in_a_small_control_group", 64 << 20) else { return };
    let place = Sandbox::new();
    fs::create_dir(place.path("tree")).unwrap();
    for file in 0..4000 {
        let bytes =
            if file % 2 == 0 { tree::noise(file, 9000) } else { format!("{file} line\n").repeat(700).into_bytes() };
        fs::write(place.path(&format!("tree/{file}")), bytes).unwrap();
    }
    let noise: Vec<u8> = (0..192).flat_map(|block| tree::noise(block, 1 << 20)).collect();
    fs::write(place.path("tree/large"), noise).unwrap();
    fs::write(place.path("tree/text"), "1,2,3,some text,4.5\n".repeat(8 << 20 >> 2)).unwrap();
    for arguments in
        [&["save", "x", "tree"][..], &["load", "x", "back"], &["verify"], &["save", "x", "back", "--run", "again"]]
    {
        let mut command = place.agent();
        command.args(arguments).arg("-q").stdout(Stdio::null());
        let used = measure::run(group.enter(&mut command));
        assert!(used.status.success(), "{arguments:?}: {used:?}, {} killed", group.times_killed());
        println!("{arguments:?}: {} MiB, {:.1} CPU s", used.peak_rss_bytes >> 20, used.cpu_seconds);
    }
    let same =
        std::process::Command::new("diff").arg("-rq").args([place.path("tree"), place.path("back")]).output().unwrap();
    assert!(same.status.success() && same.stdout.is_empty(), "{same:?}");
}
