//! Any tree that `tar` can carry comes back identical, and has one digest however it is saved.

use kale_tests::{sandbox::Sandbox, tree};
use proptest::prelude::*;
use std::{fs, process::Command};

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back_identical(made in tree::carried_by_tar()) {
        let place = Sandbox::new();
        tree::make(&place.path("before"), &made);
        let one = place.json(["save", "t", "before", "--threads", "1", "--run", "one"]);
        place.ok(["load", "p/one/t:t", "after"]);
        let (before, mut after) = (tree::read(&place.path("before")), tree::read(&place.path("after")));
        for (path, entry) in &mut after {
            // Holes are kept; what was zeros on the medium may come back as a hole, which reads the same.
            prop_assert!(entry.holes || !before.get(path).is_some_and(|entry| entry.holes), "{path:?} lost its holes");
            entry.holes = before.get(path).is_some_and(|entry| entry.holes);
        }
        prop_assert_eq!(after, before);
        // What was restored is the same artifact, with other threads and another order in its folders.
        let two = place.json(["save", "t", "after", "--threads", "3", "--run", "two"]);
        prop_assert_eq!(&two["digest"], &one["digest"]);
        let never = place.json(["save", "t", "before", "--compress", "never", "--run", "three"]);
        prop_assert_eq!(&never["digest"], &one["digest"]);
        // Folders without permissions cannot be removed by everyone.
        let _ = Command::new("chmod").args(["-R", "u+rwx"]).arg(place.path("before")).arg(place.path("after")).status();
    }
}

#[test]
fn a_stream_and_a_file_of_the_same_bytes_are_the_same_artifact() {
    let place = Sandbox::new();
    for (number, bytes) in [0, 1, 70_000, 5_000_000].into_iter().enumerate() {
        let path = place.write("f", tree::noise(7, bytes));
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let run = format!("r{number}");
        let file = place.json(["save", "x", "f", "--run", &run, "--step", "file"]);
        let mut command = place.agent();
        command.args(["save", "x", "-", "--run", &run, "--step", "stream", "--json"]);
        let output = command.stdin(fs::File::open(&path).unwrap()).output().unwrap();
        let stream: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(file["digest"], stream["digest"], "{bytes} bytes");
    }
}

#[test]
fn a_huge_hole_costs_neither_time_nor_room() {
    let place = Sandbox::new();
    let file = fs::File::create(place.path("sparse")).unwrap();
    file.set_len(40 << 30).unwrap();
    let saved = place.json(["save", "x", "sparse"]);
    assert_eq!(saved["raw_bytes"], 40_u64 << 30);
    assert!(saved["stored_bytes"].as_u64().unwrap() < 1 << 16, "{saved}");
    place.ok(["load", "x", "back"]);
    let back = fs::metadata(place.path("back")).unwrap();
    assert_eq!((back.len(), std::os::unix::fs::MetadataExt::blocks(&back)), (40 << 30, 0));
}

#[test]
fn a_file_that_grows_while_it_is_saved_is_named() {
    let place = Sandbox::new();
    place.write("d/still", "x");
    let script = "import os,sys\nf=open('d/growing','ab',buffering=0)\nprint('ready',flush=True)\nwhile True: f.write(b'x'*65536) if os.fstat(f.fileno()).st_size < 4<<30 else sys.exit()";
    let mut writer = Command::new("python3")
        .args(["-c", script])
        .current_dir(place.path(""))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(writer.stdout.as_mut().unwrap()), &mut line).unwrap();
    while fs::metadata(place.path("d/growing")).unwrap().len() < 1 << 20 {
        std::thread::yield_now();
    }
    let told = place.call(["save", "x", "d"]);
    writer.kill().unwrap();
    writer.wait().unwrap();
    assert_eq!(told.status, 194, "{told}");
    assert!(told.stderr.contains("growing changed while it was saved"), "{told}");
    assert_eq!(place.call(["cat", "x:x/still"]).status, 192);
}
