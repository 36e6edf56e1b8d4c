//! Told to end, and killed before it could: what an attempt says at once is in the store, and what it stored is used again.

use kale_tests::{
    running::{PATIENCE, Running, exists, until},
    sandbox::Sandbox,
};
use std::{
    fs,
    io::{self, Read},
    path::PathBuf,
    thread,
    time::Duration,
};

/// What KFP's launcher leaves of the grace period that was agreed.
const SOON: Duration = Duration::from_millis(300);

/// A file of bytes that do not compress, and are in no other file.
fn noise(place: &Sandbox, name: &str, bytes: u64) {
    let mut random = fs::File::open("/dev/urandom").expect("random bytes").take(bytes);
    let mut file = fs::File::create(place.path(name)).expect("a file of the sandbox");
    io::copy(&mut random, &mut file).expect("random bytes in it");
}

/// The last word of the only attempt at a step, once it is there.
fn last_word(place: &Sandbox, step: &str) -> PathBuf {
    let shard = place.store().join("runs/p/r").join(step).join("0");
    until("last word", || {
        let attempts = fs::read_dir(&shard).into_iter().flatten().flatten();
        attempts.map(|attempt| attempt.path().join("stopped")).find(|path| path.exists())
    })
}

#[test]
fn killed_soon_after_a_term_an_attempt_is_there_and_what_it_stored_is_used_again() {
    let place = Sandbox::new();
    noise(&place, "model", 20_000_000);
    let script = "kale-agent save -q model model; test -e again && exit; trap '' TERM; echo ready; exec sleep 60";
    let arguments = ["run", "--step", "s", "--out", "late", "--param", "depth=3", "--", "sh", "-c", script];
    let mut running = Running::start(place.agent().args(arguments));
    assert_eq!(running.line(), "ready");
    running.signal(15);
    // It is what happens there, no waiting for anything: the agent has no more time than this.
    thread::sleep(SOON);
    running.signal(9);
    assert_eq!(running.status(), 137);

    let attempt = last_word(&place, "s").parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let row = &place.json(["runs"])[0];
    assert_eq!((&row["shards_committed"], &row["shards"]), (&0.into(), &1.into()), "{row}");
    assert_eq!(place.json(["ls", "p/r"])[0]["state"], "failed");
    let record = place.json(["show", "p/r/s"]);
    assert_eq!((&record["attempt"], &record["failure"]["code"]), (&attempt.as_str().into(), &143.into()), "{record}");
    let message = record["failure"]["message"].as_str().unwrap();
    assert!(message.starts_with("told to end by signal 15 (SIGTERM); nothing more"), "{message}");
    assert_eq!((&record["command"][2], &record["params"]["depth"]), (&script.into(), &"3".into()));
    let times = &record["times"];
    let time = |name: &str| times[name].as_i64().unwrap();
    assert!(time("started_ns") > 0 && time("restored_ns") < time("ran_ns") && time("stored_ns") == 0, "{times}");
    assert_eq!((&record["exit"], &record["log"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    assert_eq!(place.ok(["log", "p/r/s"]), "ready\n");
    place.ok(["load", "s:model", "kept", "--attempt", &attempt]);
    assert!(fs::read(place.path("kept")).unwrap() == fs::read(place.path("model")).unwrap());
    assert!(place.fails(192, ["load", "s:model", "none"]).contains("not committed"));

    let before = place.packed_bytes();
    place.write("again", "");
    let again =
        place.call(["run", "--step", "s", "--out-optional", "late", "--param", "depth=3", "--", "sh", "-c", script]);
    assert_eq!(again.status, 0, "{again}");
    let new = place.packed_bytes() - before;
    assert!(new < 200_000, "{new} new bytes of 20 MB");
    assert_eq!(place.json(["show", "p/r/s"])["outputs"][0]["stored_bytes"].as_u64().unwrap(), new);
    assert!(place.ok(["verify"]).contains("all is well"));
}

#[test]
fn without_a_log_it_is_said_why() {
    let place = Sandbox::new();
    let script = "trap '' TERM; echo ready; exec sleep 60";
    let arguments = ["run", "--step", "s", "--log", "inherit", "--", "sh", "-c", script];
    let mut running = Running::start(place.agent().args(arguments));
    assert_eq!(running.line(), "ready");
    running.signal(15);
    last_word(&place, "s");
    running.signal(9);
    assert_eq!(running.status(), 137);
    let log = place.fails(192, ["log", "p/r/s"]);
    assert!(log.contains("has no log: told to end by signal 15 (SIGTERM)"), "{log}");
}

#[test]
fn the_record_of_the_end_stands_above_what_was_said_at_once() {
    let place = Sandbox::new();
    let script = "trap 'echo saved; exit 4' TERM; echo ready; while :; do sleep 0.01; done";
    let mut running = Running::start(place.agent().args(["run", "--step", "s", "--", "sh", "-c", script]));
    assert_eq!(running.line(), "ready");
    running.signal(15);
    assert_eq!(running.status(), 4);
    last_word(&place, "s");
    let record = place.json(["show", "p/r/s"]);
    assert_eq!(record["failure"]["message"], "the command ended with status 4");
    assert!(record["notes"].to_string().contains("told to end by signal 15 (SIGTERM)"), "{record}");
    assert!(place.ok(["log", "p/r/s"]).contains("saved\n"));
    // Who was not told to end says nothing beforehand.
    assert_eq!(place.try_step("t", [""; 0], "exit 4").status, 4);
    assert!(!place.stored().iter().any(|(path, _)| path.contains("/t/") && path.ends_with("stopped")));
}

#[test]
fn what_a_try_that_failed_has_saved_is_not_stored_again() {
    let place = Sandbox::new();
    noise(&place, "model", 5_000_000);
    let script = "kale-agent save -q model model; test -e second || { touch second; exit 1; }";
    place.step("s", ["--retries", "1", "--retry-pause", "1ms"], script);
    let stored = place.json(["show", "p/r/s"])["outputs"][0]["stored_bytes"].as_u64().unwrap();
    assert!(stored < 100_000, "{stored} of 5 MB");
    assert!(place.packed_bytes() < 5_500_000, "{}", place.packed_bytes());
}

/// An attempt that is told to end while it stores goes on, and may lose all the same. By then another one may refer to what
/// it said it had stored.
#[test]
fn what_was_said_to_be_stored_stays_even_if_another_attempt_commits_first() {
    let place = Sandbox::new();
    noise(&place, "x", 5_000_000);
    noise(&place, "y", 250_000_000);
    let script = "cp x $KALE_OUT_X; cp y $KALE_OUT_Y; echo $$";
    let arguments =
        |x: &'static str, y: &'static str| ["run", "--step", "s", "--out", x, "--out", y, "--", "sh", "-c", script];
    let mut first = Running::start(place.agent().args(arguments("x=first-x", "y=first-y")));
    let command: i32 = first.line().parse().unwrap();
    until("end of the command", || (!exists(command)).then_some(()));
    let packs = || place.stored_names().into_iter().filter(|path| path.starts_with("packs/")).collect::<Vec<_>>();
    until("second output on its way", || {
        packs().iter().any(|path| path.contains(".kale-tmp-") && packs().len() > 1).then_some(())
    });
    first.signal(15);
    let word = last_word(&place, "s");
    first.signal(19);
    let attempt = word.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let said = place.json(["show", "p/r/s", "--attempt", &attempt]);
    assert_eq!((&said["outputs"][0]["name"], &said["exit"]["code"]), (&"x".into(), &0.into()), "{said}");

    place.write("y", "short\n");
    let second = place.call(arguments("x=second-x", "y=second-y"));
    assert_eq!(second.status, 0, "{second}");
    let record = place.json(["show", "p/r/s"]);
    assert!(record["outputs"][0]["stored_bytes"].as_u64().unwrap() < 100_000, "{record}");
    first.signal(18);
    assert_eq!(first.status_within(4 * PATIENCE), 0);
    assert!(place.ok(["verify"]).contains("all is well"));
    place.ok(["load", "s:x", "got"]);
    assert!(fs::read(place.path("got")).unwrap() == fs::read(place.path("x")).unwrap());
    assert_eq!(place.ok(["cat", "s:y"]), "short\n");
}
