//! Outputs that the store takes as they are, through the real binary.

use kale_tests::sandbox::Sandbox;
use std::{fs, os::unix::fs::MetadataExt};

/// The step's noise is not compressed, and long enough to be taken.
const MAKE: &str = "head -c 20000000 /dev/urandom > $KALE_OUT_BIG; stat -c %i $KALE_OUT_BIG; sha256sum < $KALE_OUT_BIG";

fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).collect()
}

fn inodes(place: &Sandbox) -> Vec<u64> {
    place
        .stored()
        .iter()
        .map(|(path, _)| fs::metadata(place.store().join(path)).expect("a file of the store").ino())
        .collect()
}

#[test]
fn an_output_on_the_stores_file_system_becomes_a_pack() {
    let place = Sandbox::new();
    let told = place.step("make", ["--dir", "own", "--out", "big"], MAKE);
    let told = lines(&told.stdout);
    assert!(inodes(&place).contains(&told[0].parse().unwrap()), "{told:?}");
    assert!(place.packed_bytes() < 20_010_000);
    let back = place.step("use", ["--in", "make:big"], "sha256sum < $KALE_IN_BIG");
    assert_eq!(lines(&back.stdout)[0], told[1]);
    place.ok(["verify", "p/r/make"]);
}

#[test]
fn text_becomes_a_pack_where_the_medium_is_known_to_be_fast() {
    let place = Sandbox::new();
    let step = |run, start: u32| {
        let make = format!("seq {start} {} > $KALE_OUT_BIG; stat -c %i $KALE_OUT_BIG", start + 4_400_000);
        let inode = place.step("make", ["--run", run, "--threads", "1", "--dir", "own", "--out", "big"], &make).stdout;
        inodes(&place).contains(&inode.trim().parse().unwrap())
    };
    assert!(!step("one", 10_000_000), "nothing is known of the medium: it is compressed");
    let shown = place.json(["show", "p/one/make"]);
    let rate = shown["medium"]["seen_bytes_per_second"].as_u64();
    assert_eq!(step("two", 20_000_000), rate.is_some_and(|rate| rate >= 200_000_000), "{shown}");
    place.ok(["verify", "p/two/make"]);
}

#[test]
fn an_output_at_a_path_of_its_own_stays_there() {
    let place = Sandbox::new();
    let told = place.step("make", ["--out", "big=kept.bin"], MAKE);
    let inode: u64 = lines(&told.stdout)[0].parse().unwrap();
    assert_eq!(fs::metadata(place.path("kept.bin")).unwrap().ino(), inode);
    assert!(!inodes(&place).contains(&inode));
}

#[test]
fn what_was_taken_cannot_be_changed_through_the_next_step() {
    let place = Sandbox::new();
    let told = place.step("make", ["--dir", "own", "--out", "big"], MAKE);
    let sum = lines(&told.stdout)[1].to_owned();
    place.step(
        "spoil",
        ["--in", "make:big"],
        "chmod u+w $KALE_IN_BIG; printf spoiled | dd of=$KALE_IN_BIG conv=notrunc",
    );
    let back = place.step("use", ["--in", "make:big"], "sha256sum < $KALE_IN_BIG");
    assert_eq!(lines(&back.stdout)[0], sum);
}
