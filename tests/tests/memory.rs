//! Memory has a ceiling, whatever the size or number of files.
//!
//! Sizes are those of the promise (10 GiB, 200,000 files) with `KALE_TEST_FULL=1`, and smaller ones else, so that a run
//! of all tests stays short: the ceiling is the same.

use kale_tests::{group::Group, measure, sandbox::Sandbox, tree};
use std::{
    fs,
    io::Write,
    iter,
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
    thread,
};

const CEILING: u64 = 256 << 20;

/// What a save takes at most: a share that is fixed, and one for each core.
fn saving() -> u64 {
    let cores = thread::available_parallelism().map_or(1, usize::from) as u64;
    CEILING.min((64 << 20) + cores * (8 << 20))
}

fn full() -> bool {
    std::env::var_os("KALE_TEST_FULL").is_some()
}

/// Writes a file block by block: what this process takes before it starts the agent counts as the agent's.
fn write(place: &Sandbox, path: &str, blocks: impl Iterator<Item = Vec<u8>>) {
    let mut file = fs::File::create(place.path(path)).expect("a file in the sandbox");
    blocks.for_each(|block| file.write_all(&block).expect("room for a file in the sandbox"));
}

fn within(place: &Sandbox, arguments: &[&str]) {
    let used = measure::run(place.agent().args(arguments).arg("-q").stdout(Stdio::null()));
    assert!(used.status.success(), "{arguments:?}: {used:?}");
    let ceiling = if arguments[0] == "save" { saving() } else { CEILING };
    assert!(used.peak_rss_bytes <= ceiling, "{arguments:?}: {} MiB", used.peak_rss_bytes >> 20);
    println!("{arguments:?}: {} MiB, {:.1} CPU s", used.peak_rss_bytes >> 20, used.cpu_seconds);
}

#[test]
fn one_large_file() {
    let place = Sandbox::new();
    let blocks = if full() { 10 << 10 } else { 768 };
    write(
        &place,
        "large",
        (0..blocks).map(|block| match block % 3 {
            // Every third block is text, so that raw and compressed content are both there.
            2 => format!("{block:07} line\n").repeat(80_660).into_bytes(),
            _ => tree::noise(block, 1 << 20),
        }),
    );
    within(&place, &["save", "x", "large"]);
    within(&place, &["load", "x", "back"]);
    within(&place, &["verify"]);
    let same = Command::new("cmp").args([place.path("large"), place.path("back")]).status().unwrap();
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
    let same = Command::new("diff").arg("-rq").args([place.path("many"), place.path("back")]).output().unwrap();
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
    write(&place, "tree/large", (0..192).map(|block| tree::noise(block, 1 << 20)));
    write(&place, "tree/text", (0..32).map(|_| "1,2,3,some text,4.5\n".repeat(1 << 16).into_bytes()));
    for arguments in
        [&["save", "x", "tree"][..], &["load", "x", "back"], &["verify"], &["save", "x", "back", "--run", "again"]]
    {
        let mut command = place.agent();
        command.args(arguments).arg("-q").stdout(Stdio::null());
        let used = measure::run(group.enter(&mut command));
        assert!(used.status.success(), "{arguments:?}: {used:?}, {} killed", group.times_killed());
        println!("{arguments:?}: {} MiB, {:.1} CPU s", used.peak_rss_bytes >> 20, used.cpu_seconds);
    }
    let same = Command::new("diff").arg("-rq").args([place.path("tree"), place.path("back")]).output().unwrap();
    assert!(same.status.success() && same.stdout.is_empty(), "{same:?}");
}

/// In less than the agent itself needs it may be killed, but what it says it has saved is whole, and nothing else is there.
#[test]
fn in_a_control_group_that_is_far_too_small() {
    let place = Sandbox::new();
    fs::create_dir(place.path("tree")).unwrap();
    for file in 0..2000 {
        fs::write(place.path(&format!("tree/{file}")), format!("{file} line\n").repeat(2000)).unwrap();
    }
    write(&place, "tree/large", (0..32).map(|block| tree::noise(2 * block, 1 << 20)));
    for mib in [4, 8, 16, 24, 32] {
        let Some(group) = Group::limited("in_a_control_group_that_is_far_too_small", mib << 20) else { return };
        let run = format!("run-{mib}");
        let mut command = place.agent();
        command.args(["save", "x", "tree", "--threads", "4", "-q", "--run", &run]).stdout(Stdio::null());
        let used = measure::run(group.enter(&mut command));
        println!("{mib} MiB: {used:?}");
        if used.status.success() {
            place.ok(["load", &format!("p/{run}/x:x"), "back"]);
            let mut diff = Command::new("diff");
            assert!(diff.arg("-rq").args([place.path("tree"), place.path("back")]).status().unwrap().success());
            fs::remove_dir_all(place.path("back")).unwrap();
        } else {
            assert_eq!((used.status.signal(), mib < 24), (Some(9), true), "{mib} MiB: {used:?}");
            assert_eq!(place.call(["load", &format!("p/{run}/x:x"), "back"]).status, 192);
        }
        place.ok(["verify"]);
    }
}

/// Every chunk is known, and most of them are stored again all the same, since the file would lie in too many places.
#[test]
fn an_array_of_what_is_known_in_many_places() {
    let place = Sandbox::new();
    let halves = if full() { 2048 } else { 96 };
    let array = |path: &str, numbers: &mut dyn Iterator<Item = u64>, count: u64| {
        let shape = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({},), }}", count << 20);
        let header = [b"\x93NUMPY\x01\x00\x76\x00", format!("{shape:<117}\n").as_bytes()].concat();
        write(&place, path, iter::once(header).chain(numbers.map(|number| tree::noise(2 * number, 1 << 20))));
    };
    ["one", "two"].iter().for_each(|folder| fs::create_dir(place.path(folder)).unwrap());
    array("one/even.npy", &mut (0..halves).map(|block| 2 * block), halves);
    array("one/odd.npy", &mut (0..halves).map(|block| 2 * block + 1), halves);
    array("two/both.npy", &mut (0..2 * halves), 2 * halves);
    let options = ["--compress", "never", "--threads", "8"];
    within(&place, &[&["save", "x", "one"][..], &options].concat());
    within(&place, &[&["save", "x", "two", "--run", "again"][..], &options].concat());
    place.ok(["load", "p/again/x:x", "back"]);
    let same = Command::new("cmp").args([place.path("two/both.npy"), place.path("back/both.npy")]).status().unwrap();
    assert!(same.success());
}
