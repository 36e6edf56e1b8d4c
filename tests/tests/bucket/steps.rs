//! Steps whose store lies in a bucket, on a real S3 server.

use kale_agent::store::{
    Entry, Transport,
    bucket::{Bucket, Place},
};
use kale_protocol::layout;
use kale_tests::{
    running::Running,
    sandbox::{Sandbox, Told},
    server::{BUCKET, S3Server},
};
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A server, and a folder whose store lies in its bucket.
fn place(test: &str) -> Option<(S3Server, Sandbox)> {
    let server = S3Server::start(test)?;
    let place = Sandbox::with_store_at(&format!("s3://{BUCKET}/team/store"), server.variables());
    Some((server, place))
}

#[test]
fn a_pipeline_from_its_first_step_to_its_last() {
    let Some((_server, place)) = place("a_pipeline_from_its_first_step_to_its_last") else { return };
    let store = format!("s3://{BUCKET}/team/store");
    assert!(place.ok(["init", &store]).contains("already"));
    place.step("split", ["--fan-out", "train=2", "--out", "big"], "seq 1 3000000 > $KALE_OUT_BIG");
    for shard in ["0/2", "1/2"] {
        let arguments = ["--shard", shard, "--in", "split:big", "--out", "m"];
        place.step("train", arguments, "wc -l < $KALE_IN_BIG > $KALE_OUT_M");
    }
    let join = || {
        let shell = "cat $KALE_IN_MODELS/[01] | tee $KALE_OUT_ALL";
        place.step("join", ["--in", "models=train[*]:m", "--out", "all"], shell).stdout
    };
    let joined = join();
    assert_eq!(joined, "3000000\n3000000\n");
    let runs = place.ok(["runs"]);
    assert!(runs.contains("PIPELINE") && runs.contains("4/4"), "{runs}");
    let listed = place.ok(["ls", "p/r"]);
    assert!(["split", "train[0]", "train[1]", "join"].iter().all(|step| listed.contains(step)), "{listed}");
    assert!(place.ok(["show", "p/r/join"]).contains("committed"));
    assert_eq!(place.ok(["cat", "join:all"]), joined);
    assert!(place.ok(["head", "-n", "2", "split:big"]).contains('2'));
    assert_eq!(place.ok(["log", "p/r/join"]), joined);
    place.write("tree/a", vec![7; 3 << 20]);
    place.write("tree/deep/b", "b");
    place.ok(["save", "tree", "tree"]);
    place.ok(["load", "tree", "copy"]);
    assert_eq!(place.read("copy/deep/b"), "b");
    assert_eq!(place.read("copy/a").len(), 3 << 20);
    place.ok(["diff", "train[0]:m", "train[1]:m"]);
    let told = place.ok(["verify"]);
    assert!(told.contains("all is well"), "{told}");
    assert_eq!(join(), "", "what is committed is not run again");
}

#[test]
fn a_failed_step_commits_nothing_and_keeps_its_log() {
    let Some((_server, place)) = place("a_failed_step_commits_nothing_and_keeps_its_log") else { return };
    let told = place.try_step("s", ["--out", "x"], "echo half > $KALE_OUT_X; echo why; exit 7");
    assert_eq!(told.status, 7, "{told}");
    assert_eq!(place.ok(["log", "p/r/s"]), "why\n");
    place.fails(192, ["cat", "s:x"]);
    place.step("s", ["--out", "x"], "echo whole > $KALE_OUT_X");
    assert_eq!(place.ok(["cat", "s:x"]), "whole\n");
}

/// What KFP's launcher does to it: TERM, and KILL before the command has answered.
#[test]
fn killed_after_a_term_it_is_seen_and_what_it_stored_is_used_again() {
    let Some((_server, place)) = place("killed_after_a_term_it_is_seen_and_what_it_stored_is_used_again") else {
        return;
    };
    place.write(
        "model",
        (0..3_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect::<Vec<u8>>(),
    );
    let script = "kale-agent save -q model model; test -e again && exit; trap '' TERM; echo ready; exec sleep 60";
    let arguments = ["run", "--step", "s", "--", "sh", "-c", script];
    let mut running = Running::start(place.agent().args(arguments));
    assert_eq!(running.line(), "ready");
    running.signal(15);
    // It is all the time that there is.
    std::thread::sleep(std::time::Duration::from_millis(500));
    running.signal(9);
    assert_eq!(running.status(), 137);
    let record = place.json(["show", "p/r/s"]);
    let message = record["failure"]["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("told to end by signal 15 (SIGTERM); nothing more"), "{record}");
    let first = record["outputs"][0]["stored_bytes"].as_u64().unwrap_or_default();
    assert!(first > 5_000_000, "{record}");
    assert_eq!(place.ok(["log", "p/r/s"]), "ready\n");
    place.write("again", "");
    let told = place.call(arguments);
    assert_eq!(told.status, 0, "{told}");
    let again = place.json(["show", "p/r/s"])["outputs"][0]["stored_bytes"].as_u64().unwrap_or(u64::MAX);
    assert!(again < first / 100, "{again} new bytes after {first}");
}

#[test]
fn of_eight_racing_attempts_exactly_one_commits_in_each_of_five_rounds() {
    let Some((_server, place)) = place("of_eight_racing_attempts_exactly_one_commits_in_each_of_five_rounds") else {
        return;
    };
    for round in 0..5 {
        let run = format!("round{round}");
        let begin = |_| -> Child {
            let shell = ["--out", "x", "--", "sh", "-c", "echo $$ $KALE_ATTEMPT > $KALE_OUT_X"];
            let mut agent = place.agent();
            agent.args(["run", "--run", &run, "--step", "s"]).args(shell);
            agent.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the agent starts")
        };
        let children: Vec<Child> = (0..8).map(begin).collect();
        let told = children.into_iter().map(|child| Told::of(&child.wait_with_output().expect("it ends")));
        let told: Vec<Told> = told.collect();
        assert!(told.iter().all(|attempt| attempt.status == 0), "{told:#?}");
        assert_eq!(told.iter().filter(|attempt| attempt.stderr.is_empty()).count(), 1, "round {round}: {told:#?}");
        let winner = place.json(["show", &format!("p/{run}/s")])["attempt"].as_str().expect("an attempt").to_owned();
        assert!(place.ok(["cat", &format!("{run}/s:x")]).contains(&winner));
    }
    let told = place.ok(["verify"]);
    assert!(told.contains("all is well"), "{told}");
}

#[test]
fn a_step_waits_for_what_it_reads() {
    let Some((_server, place)) = place("a_step_waits_for_what_it_reads") else { return };
    let mut agent = place.agent();
    agent.args(["run", "--step", "late", "--wait", "30s", "--in", "prep:x", "--", "sh", "-c", "cat $KALE_IN_X"]);
    let mut waiting = Running::start(&mut agent);
    place.step("prep", ["--out", "x"], "echo here > $KALE_OUT_X");
    assert_eq!(waiting.line(), "here");
    assert_eq!(waiting.status(), 0);
}

#[test]
fn an_identical_rerun_stores_no_pack() {
    let Some((server, place)) = place("an_identical_rerun_stores_no_pack") else { return };
    let noise = place.write("noise", kale_tests::tree::noise(1, 12 << 20));
    let packs = || {
        let at: Place = format!("s3://{BUCKET}/team/store").parse().expect("a constant place");
        let bucket = Bucket::open(at, &server.variables()).expect("a bucket");
        let folders = bucket.list(&layout::packs()).expect("a listing");
        let in_folder = |entry: &Entry| layout::packs().child(entry.segment()).expect("a plain segment");
        folders.iter().map(|entry| bucket.list(&in_folder(entry)).expect("a listing").len()).sum::<usize>()
    };
    let shell = format!("cp {} $KALE_OUT_X", noise.display());
    place.step("s", ["--run", "one", "--out", "x"], &shell);
    let before = packs();
    assert!(before > 0);
    place.step("s", ["--run", "two", "--out", "x"], &shell);
    assert_eq!(packs(), before);
    assert_eq!(place.json(["diff", "p/one/s:x", "p/two/s:x"]), serde_json::json!([]));
}

/// Saves and loads by the client for Python, in a step and outside of one.
#[test]
fn python_saves_and_loads() {
    let Some((_server, place)) = place("python_saves_and_loads") else { return };
    let make = "
import kale_agent
big = bytearray(range(256)) * 40000
kale_agent.save('thing', {'text': 'a', 'numbers': [1, 2.5], 'big': big})
try:
    import numpy as np
except ImportError:
    pass
else:
    kale_agent.save('array', np.arange(2_000_000.0))
";
    let look = "
import kale_agent
thing = kale_agent.load('make:thing')
assert thing['text'] == 'a' and thing['numbers'] == [1, 2.5]
assert thing['big'] == bytearray(range(256)) * 40000
try:
    import numpy as np
except ImportError:
    pass
else:
    array = kale_agent.load('make:array')
    array += 1
    assert array[0] == 1 and array[-1] == 2_000_000, array
print('same')
";
    let python = python();
    let python = python.to_str().expect("a plain path");
    place.ok(["run", "--step", "make", "--", python, "-c", make]);
    assert_eq!(place.ok(["run", "--step", "look", "--", python, "-c", look]), "same\n");
    // Outside of a step the client calls the agent's program by itself.
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/src/python");
    let agent = place.agent();
    let variables = agent.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut outside = Command::new(python);
    outside.env_clear().envs(variables).env("PYTHONPATH", package).env("PYTHONDONTWRITEBYTECODE", "1");
    outside.env("KALE_AGENT", kale_tests::binary::kale_agent()).args(["-c", look]).current_dir(place.path("."));
    let told = Told::of(&outside.output().expect("python starts"));
    assert_eq!((told.status, told.stdout.as_str()), (0, "same\n"), "{told}");
}

/// What `make test` installed, with NumPy, or the system's.
fn python() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/venv/bin/python");
    if installed.is_file() { installed } else { PathBuf::from("python3") }
}
