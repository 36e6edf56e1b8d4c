//! Fan-in: complete, or an error that names what is missing.

use kale_tests::sandbox::Sandbox;
use std::{fs, os::unix::fs::PermissionsExt};

fn shards(place: &Sandbox, indexes: impl IntoIterator<Item = u32>, count: u32) {
    for index in indexes {
        place.step(
            "train",
            ["--shard", &format!("{index}/{count}"), "--out", "m"],
            "echo ${KALE_SHARD%/*} > $KALE_OUT_M",
        );
    }
}

#[test]
fn all_producers_arrive_in_order_with_an_index() {
    let place = Sandbox::new();
    place.step("split", ["--fan-out", "train=12"], "true");
    shards(&place, (0..12).rev(), 12);
    let told = place.step(
        "join",
        ["--in", "models=train[*]:m"],
        "ls $KALE_IN_MODELS | sort -n | tr '\\n' ' '; cat $KALE_IN_MODELS/10; cat $KALE_IN_MODELS/index.json",
    );
    let (listing, index) = told.stdout.split_once('\n').unwrap();
    assert_eq!(listing, "0 index.json 1 2 3 4 5 6 7 8 9 10 11 10");
    let index: serde_json::Value = serde_json::from_str(index).unwrap();
    let order: Vec<_> = index.as_array().unwrap().iter().map(|entry| entry["shard"].as_u64().unwrap()).collect();
    assert_eq!(order, (0..12).collect::<Vec<_>>());
    let record = place.json(["show", "p/r/join"]);
    assert_eq!(record["inputs"][0]["expected"], 12);
}

#[test]
fn many_short_artifacts_are_collected_whole_or_not_at_all() {
    let place = Sandbox::new();
    // One thread for each of them, two at once.
    let flags = ["--in", "models=train[*]:m", "--threads", "2"];
    for index in 0..9 {
        let script =
            "head -c $((700000 + ${KALE_SHARD%/*} * 300000)) /dev/urandom | tee $KALE_OUT_M > m${KALE_SHARD%/*}";
        place.step("train", ["--shard", &format!("{index}/9"), "--out", "m"], script);
    }
    let compare =
        "for n in 0 1 2 3 4 5 6 7 8; do cmp m$n $KALE_IN_MODELS/$n || exit 1; done; ls $KALE_IN_MODELS | wc -l";
    assert_eq!(place.step("join", flags, compare).stdout.trim(), "10");
    let packs = place.stored_names().into_iter().filter(|name| name.starts_with("packs/"));
    let pack = packs.map(|name| place.store().join(name)).max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    bytes[1_000_000] ^= 1;
    fs::set_permissions(&pack, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&pack, bytes).unwrap();
    let told = place.try_step("again", flags, "echo it ran");
    assert_eq!((told.status, told.stdout.as_str()), (193, ""), "{}", told.stderr);
    assert!(told.stderr.contains("chunk"), "{}", told.stderr);
}

#[test]
fn missing_and_failed_producers_are_named() {
    let place = Sandbox::new();
    place.step("split", ["--fan-out", "train=4"], "true");
    shards(&place, [0, 2], 4);
    assert_eq!(place.try_step("train", ["--shard", "3/4", "--out", "m"], "exit 5").status, 5);
    let told = place.try_step("join", ["--in", "train[*]:m"], "true");
    assert_eq!(told.status, 197, "{told}");
    for text in [
        "2 of 4 producers",
        "as committed by split",
        "train[1]: ",
        "train[3]: not committed; 1 attempt failed",
        "kale-agent log p/r/train[3]",
    ] {
        assert!(told.stderr.contains(text), "{text}: {told}");
    }
    assert!(!told.stderr.contains("train[0]: "), "{told}");
}

#[test]
fn an_unknown_number_of_producers_is_never_guessed() {
    let place = Sandbox::new();
    let told = place.try_step("join", ["--in", "train[*]:m"], "true");
    assert_eq!(told.status, 197, "{told}");
    assert!(told.stderr.contains("not known yet") && told.stderr.contains("--expect"), "{told}");
    shards(&place, 0..2, 3);
    assert!(place.try_step("join", ["--in", "train[*]:m"], "true").stderr.contains("2 of 3"));
    let told = place.try_step("join", ["--in", "train[*]:m", "--expect", "2"], "true");
    assert_eq!(told.status, 0, "{told}");
}

#[test]
fn a_wrong_shard_is_refused() {
    let place = Sandbox::new();
    for bad in ["12/12", "-1/2", "1", "a/b"] {
        assert_eq!(place.try_step("train", [&format!("--shard={bad}")], "true").status, 190, "{bad}");
    }
    place.step("split", ["--fan-out", "train=3"], "true");
    shards(&place, 0..4, 4);
    let told = place.try_step("join", ["--in", "train[*]:m"], "true");
    assert!(told.stderr.contains("3 producers as committed by split, and 4 as"), "{told}");
    let told = place.try_step("join", ["--in", "train:m"], "true");
    assert!(told.stderr.contains("train has 4 shards"), "{told}");
}

#[test]
fn steps_started_at_once_are_ordered_by_their_data() {
    let place = Sandbox::new();
    let start = |arguments: &[&str], shell: &str| {
        let mut command = place.agent();
        command.args(["run", "--wait", "60s"]).args(arguments).args(["--", "sh", "-c", shell]);
        command.spawn().unwrap()
    };
    let mut children = vec![start(
        &["--step", "join", "--in", "train[*]:m", "--out", "sum"],
        "cat $KALE_IN_M/[0-9]* | wc -l > $KALE_OUT_SUM",
    )];
    for index in 0..3 {
        let shard = format!("{index}/3");
        children.push(start(
            &["--step", "train", "--shard", &shard, "--in", "split:n", "--out", "m"],
            "cat $KALE_IN_N > $KALE_OUT_M",
        ));
    }
    children.push(start(
        &["--step", "split", "--fan-out", "train", "--out", "n"],
        "echo 1 > $KALE_OUT_N; kale-agent fan-out train 3",
    ));
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(place.ok(["cat", "join:sum"]).trim(), "3");
}

#[test]
fn waiting_ends_with_its_own_code() {
    let place = Sandbox::new();
    let told = place.try_step("s", ["--in", "prep:x", "--wait", "100ms"], "true");
    assert_eq!(told.status, 198, "{told}");
    place.step("prep", ["--out", "y"], "echo > $KALE_OUT_Y");
    let told = place.try_step("s", ["--in", "prep:x", "--wait", "1h"], "true");
    assert_eq!(told.status, 192, "what will never come is not waited for: {told}");
    assert!(told.stderr.contains("it has y"), "{told}");
}
