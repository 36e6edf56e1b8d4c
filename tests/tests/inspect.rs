//! Everything a step made can be looked at, by people and by machines.

use kale_tests::{
    running::{Running, until},
    sandbox::Sandbox,
};

fn pipeline() -> Sandbox {
    let place = Sandbox::new();
    place.step("prep", ["--out", "table=t.csv", "--out", "tree"], "printf 'a,b\\n1,x\\n2,y\\n' > t.csv; mkdir -p $KALE_OUT_TREE/sub; echo hi > $KALE_OUT_TREE/sub/f; ln -s sub/f $KALE_OUT_TREE/link");
    for index in 0..3 {
        place.step(
            "train",
            ["--shard", &format!("{index}/3"), "--in", "prep:table", "--out", "score"],
            "echo \"{\\\"auc\\\": 0.$KALE_SHARD}\" | tr -d / > $KALE_OUT_SCORE; echo training",
        );
    }
    place
}

#[test]
fn runs_and_ls_show_what_there_is() {
    let place = pipeline();
    let runs = place.ok(["runs"]);
    assert!(runs.contains("PIPELINE") && runs.contains("4/4"), "{runs}");
    let json = place.json(["runs"]);
    assert_eq!(
        (json[0]["pipeline"].as_str(), json[0]["steps"].as_u64(), json[0]["shards"].as_u64()),
        (Some("p"), Some(2), Some(4))
    );
    let table = place.ok(["ls", "p/r"]);
    for text in ["STEP", "prep", "train[2]", "score", "committed"] {
        assert!(table.contains(text), "{text}: {table}");
    }
    assert_eq!(place.json(["ls", "p/r/train[1]"]).as_array().unwrap().len(), 1);
    let nodes = place.ok(["ls", "prep:tree"]);
    assert!(nodes.contains("sub/f") && nodes.contains("link -> sub/f") && nodes.contains("drwx"), "{nodes}");
    assert_eq!(place.json(["ls", "prep:tree/sub/f"])["kind"], "file");
}

#[test]
fn runs_count_shards_that_have_not_started() {
    let place = Sandbox::new();
    place.step("split", ["--fan-out", "train=5"], "true");
    let told = || place.json(["runs"])[0].clone();
    assert_eq!((told()["steps"].as_u64(), told()["shards"].as_u64()), (Some(2), Some(6)));
    place.step("train", ["--shard", "3/5"], "true");
    assert_eq!((told()["shards"].as_u64(), told()["shards_committed"].as_u64()), (Some(6), Some(2)));
}

#[test]
fn a_step_that_runs_is_there_as_started() {
    let place = Sandbox::new();
    let mut running = Running::start(place.agent().args(["run", "--step", "s", "--", "sh", "-c", "echo begun; cat"]));
    assert_eq!(running.line(), "begun");
    // The sign is left beside the command.
    until("step", || place.json(["ls", "p/r"]).as_array().is_some_and(|rows| !rows.is_empty()).then_some(()));
    let row = &place.json(["ls", "p/r"])[0];
    assert_eq!((&row["step"], &row["state"]), (&"s".into(), &"started".into()), "{row}");
    running.close_stdin();
    assert_eq!(running.status(), 0);
    assert_eq!(place.json(["ls", "p/r"])[0]["state"], "committed");
}

#[test]
fn cat_and_head_look_inside() {
    let place = pipeline();
    assert_eq!(place.ok(["cat", "prep:table"]), "a,b\n1,x\n2,y\n");
    assert_eq!(place.ok(["cat", "p/latest/prep:tree/sub/f"]), "hi\n");
    let head = place.ok(["head", "prep:table", "-n", "1"]);
    assert!(head.contains("csv") && head.contains('1') && !head.contains('y'), "{head}");
    let json = place.json(["head", "prep:table"]);
    assert_eq!(json["format"], "csv");
}

#[test]
fn show_tells_everything_about_steps_and_artifacts() {
    let place = pipeline();
    let text = place.ok(["show", "p/r/train[1]"]);
    for word in ["train[1] (shard 1/3)", "committed", "command", "prep[0]:table", "score", "user"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let json = place.json(["show", "p/r/train[1]"]);
    assert_eq!(json["exit"]["code"], 0);
    assert_eq!(json["outputs"][0]["name"], "score");
    let artifact = place.json(["show", "prep:tree"]);
    assert_eq!(artifact["totals"]["files"], 1);
    assert_eq!(artifact["digest"].as_str().unwrap().len(), 64);
    assert_eq!(place.ok(["log", "p/r/train[0]"]), "training\n");
    let stamped = place.ok(["log", "p/r/train[0]", "-t"]);
    assert!(stamped.contains("Z stdout training"), "{stamped}");
}

#[test]
fn diff_finds_what_differs_and_exits_with_one() {
    let place = pipeline();
    place.step("prep", ["--run", "two", "--out", "table=t.csv", "--out", "tree"], "printf 'a,b\\n1,x\\n3,y\\n' > t.csv; mkdir -p $KALE_OUT_TREE/sub; echo ho > $KALE_OUT_TREE/sub/f; echo > $KALE_OUT_TREE/new");
    let told = place.call(["diff", "p/r/prep:tree", "p/two/prep:tree"]);
    assert_eq!(told.status, 1, "{told}");
    for line in ["sub/f", "link", "new"] {
        assert!(told.stdout.contains(line), "{line}: {told}");
    }
    assert_eq!(place.call(["diff", "p/r", "p/two"]).status, 1);
    assert_eq!(place.call(["diff", "p/r", "p/r"]).status, 0);
}

#[test]
fn verify_reads_everything() {
    let place = pipeline();
    let text = place.ok(["verify"]);
    assert!(text.contains("4 commits") && text.contains("all is well"), "{text}");
    assert_eq!(place.json(["verify", "prep:table"])["artifacts"], 1);
}

#[test]
fn failures_are_json_for_machines_too() {
    let place = pipeline();
    let told = place.call(["cat", "nope:x", "--json"]);
    assert_eq!(told.status, 192, "{told}");
    let json: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!((json["error"]["code"].as_u64(), json["error"]["kind"].as_str()), (Some(192), Some("missing")));
    assert!(told.stderr.contains("no such step"), "{told}");
}
