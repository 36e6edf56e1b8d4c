//! What the medium of a store is seen to take, and what is decided by it.

use kale_tests::sandbox::Sandbox;
use serde_json::Value;

/// Text of 40 MB, another one for each start: more than it takes to time the medium, and it compresses well. Where somebody
/// asked for it by path: what is adopted is not written, and nothing is seen.
fn text(start: u32) -> String {
    format!("seq {start} {} > out.txt", start + 4_400_000)
}

fn shown(place: &Sandbox, run: &str) -> Value {
    place.json(["show", &format!("p/{run}/s")])
}

/// Bytes a second and a core from which on text is not compressed: docs/decisions/0005-compression-and-deduplication.md.
const RAW_FROM: u64 = 200_000_000;

#[test]
fn the_next_attempt_decides_by_what_the_last_one_saw() {
    let place = Sandbox::new();
    place.step("s", ["--run", "one", "--compress", "never", "--out", "x=out.txt"], &text(10_000_000));
    let first = shown(&place, "one");
    assert_eq!((&first["medium"]["kept"], &first["medium"]["known_bytes_per_second"]), (&"raw".into(), &Value::Null));
    let mut rate = first["medium"]["seen_bytes_per_second"].as_u64().expect("more than enough was written");
    for (run, start, threads) in [("two", 20_000_000, "1"), ("three", 30_000_000, "24")] {
        place.step("s", ["--run", run, "--threads", threads, "--out", "x=out.txt"], &text(start));
        let shown = shown(&place, run);
        let medium = &shown["medium"];
        assert_eq!(medium["known_bytes_per_second"], rate, "{shown}");
        let is_raw = rate / threads.parse::<u64>().unwrap() >= RAW_FROM;
        assert_eq!(medium["kept"], if is_raw { "raw" } else { "by-content" }, "{shown}");
        let (stored, raw) =
            (shown["outputs"][0]["stored_bytes"].as_u64(), shown["outputs"][0]["totals"]["raw_bytes"].as_u64());
        assert_eq!(stored.unwrap() > raw.unwrap() / 2, is_raw, "{shown}");
        // What was compressed may have been too little to time the medium again.
        rate = medium["seen_bytes_per_second"].as_u64().unwrap_or(rate);
    }
    let told = place.ok(["show", "p/three/s"]);
    assert!(told.contains("stored as") && told.contains("/s before"), "{told}");
}

#[test]
fn what_was_compressed_before_is_not_stored_again() {
    let place = Sandbox::new();
    for run in ["one", "two"] {
        place.step("s", ["--run", run, "--threads", "1", "--out", "x=out.txt"], &text(10_000_000));
    }
    let stored = |run| shown(&place, run)["outputs"][0]["stored_bytes"].as_u64().unwrap();
    assert!(stored("one") < 20_000_000);
    assert_eq!(stored("two"), 0, "{}", shown(&place, "two"));
    // Where some of it is new, that alone is stored.
    place.step(
        "s",
        ["--run", "three", "--threads", "1", "--out", "x=out.txt"],
        &format!("{}; date >> out.txt", text(10_000_000)),
    );
    assert!(stored("three") < 5_000_000, "{}", shown(&place, "three"));
}

#[test]
fn a_first_attempt_stops_compressing_where_the_medium_turns_out_fast() {
    let place = Sandbox::new();
    // 153 MB in files of 0.9 MB, each another one, and one of 40 MB, of which compression leaves three quarters.
    let made = "mkdir tree; for n in $(seq 170); do head -c 675000 /dev/urandom | base64 -w 0 > tree/$n; done
        head -c 30000000 /dev/urandom | base64 -w 0 > tree/long";
    for (run, threads) in [("one", "1"), ("two", "64")] {
        let made = format!("rm -rf tree; {made}");
        place.step(run, ["--run", run, "--threads", threads, "--out", "x=tree"], &made);
        let shown = place.json(["show", &format!("p/{run}/{run}")]);
        let medium = &shown["medium"];
        assert_eq!((&medium["kept"], &medium["known_bytes_per_second"]), (&"by-content".into(), &Value::Null));
        let rate = medium["seen_bytes_per_second"].as_u64().expect("more than enough was written");
        let output = &shown["outputs"][0];
        let (stored, raw) = (output["stored_bytes"].as_u64().unwrap(), output["totals"]["raw_bytes"].as_u64().unwrap());
        let is_fast = rate / threads.parse::<u64>().unwrap() >= RAW_FROM;
        assert_eq!(stored > raw / 10 * 8, is_fast, "{shown}");
        // What is long is compressed, whenever it comes.
        assert!(stored < raw - (9 << 20), "{shown}");
    }
}

#[test]
fn a_first_attempt_with_much_to_compress_tries_the_medium_out() {
    let place = Sandbox::new();
    // 80 MB of text in a folder, behind a short one.
    let made = "rm -rf tree; mkdir tree; seq 1000 > tree/a; seq 10000000 20000000 > tree/b";
    for (run, threads) in [("one", "1"), ("two", "64")] {
        place.step(run, ["--run", run, "--threads", threads, "--out", "x=tree"], made);
        let shown = place.json(["show", &format!("p/{run}/{run}")]);
        let medium = &shown["medium"];
        let rate = medium["known_bytes_per_second"].as_u64().expect("it was tried out");
        let is_raw = rate / threads.parse::<u64>().unwrap() >= RAW_FROM;
        assert_eq!(medium["kept"], if is_raw { "raw" } else { "by-content" }, "{shown}");
        assert_eq!(shown["outputs"][0]["stored_bytes"].as_u64() > Some(60_000_000), is_raw, "{shown}");
    }
    let left: Vec<_> = place.stored_names().into_iter().filter(|name| name.contains(".kale-tmp-")).collect();
    assert!(left.is_empty(), "{left:?}");
    // Whoever decides by hand waits for no trial.
    place.step("by-hand", ["--run", "three", "--compress", "zstd:1", "--out", "x=tree"], made);
    let shown = place.json(["show", "p/three/by-hand"]);
    assert_eq!(shown["medium"]["known_bytes_per_second"], Value::Null);
}

#[test]
fn a_medium_that_nobody_waits_for_is_fast() {
    let place = Sandbox::new();
    place.step("s", ["--run", "one", "--sync", "never", "--out", "x=out.txt"], &text(10_000_000));
    let shown = shown(&place, "one");
    assert_eq!((&shown["medium"]["kept"], &shown["medium"]["seen_bytes_per_second"]), (&"raw".into(), &Value::Null));
    assert_eq!(shown["medium"]["known_bytes_per_second"], Value::Null);
    let output = &shown["outputs"][0];
    assert!(output["stored_bytes"].as_u64() >= output["totals"]["raw_bytes"].as_u64(), "{shown}");
}

#[test]
fn what_somebody_decided_stays() {
    let place = Sandbox::new();
    place.step("s", ["--run", "one", "--compress", "never", "--out", "x=out.txt"], &text(10_000_000));
    place.step(
        "s",
        ["--run", "two", "--compress", "zstd:1", "--threads", "1", "--out", "x=out.txt"],
        &text(20_000_000),
    );
    let shown = shown(&place, "two");
    assert_eq!(shown["medium"]["kept"], "compressed", "{shown}");
    assert!(shown["outputs"][0]["stored_bytes"].as_u64() < Some(20_000_000), "{shown}");
}
