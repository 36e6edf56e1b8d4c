//! What a step was told to do about a command that fails, through the real binary.

use kale_tests::{
    group::Group,
    running::{PATIENCE, Running},
    sandbox::Sandbox,
};
use std::{
    fs, thread,
    time::{Duration, Instant},
};

const NO_ARGUMENTS: [&str; 0] = [];

/// The attempts at a step, oldest first.
fn attempts(place: &Sandbox, step: &str) -> Vec<String> {
    let shard = place.store().join("runs/p/r").join(step).join("0");
    let entries = fs::read_dir(shard).into_iter().flatten().map(|entry| entry.expect("an entry"));
    let ended = entries.filter(|entry| entry.path().join("record").exists());
    let mut names: Vec<String> = ended.map(|entry| entry.file_name().into_string().expect("names are UTF-8")).collect();
    names.sort();
    names
}

#[test]
fn accepted_codes_commit() {
    let place = Sandbox::new();
    let told = place.step("s", ["--out", "x", "--accept-codes", "3,10-12"], "echo 1 > $KALE_OUT_X; exit 11");
    assert!(told.stderr.contains("11, which counts as success"), "{told}");
    assert_eq!(place.ok(["cat", "s:x"]), "1\n");
    assert_eq!(place.json(["show", "p/r/s"])["exit"]["code"], 11);
    let told = place.try_step("t", ["--out", "x", "--accept-codes", "3"], "echo 1 > $KALE_OUT_X; exit 4");
    assert_eq!(told.status, 4, "{told}");
    assert!(place.fails(192, ["cat", "t:x"]).contains("not committed"));
    // Death by a signal has no code of its own.
    let killed = place.try_step("k", ["--accept-codes", "137"], "kill -9 $$");
    assert_eq!(killed.status, 137, "{killed}");
    place.write("spec.yaml", "accept-codes: 3-4\n");
    let plain = ["run", "--spec", "spec.yaml", "--", "sh", "-c", "exit 4"];
    let mut init = place.agent();
    for variable in ["KALE_STORE", "KALE_PIPELINE", "KALE_RUN"] {
        init.env_remove(variable);
    }
    assert!(init.args(plain).status().unwrap().success());
    for needs_a_step in [["--pause-on-failure", "1h"], ["--on-failure", "keep-outputs"]] {
        let mut init = place.agent();
        let told = init.env_clear().arg("run").args(needs_a_step).args(["--", "/bin/true"]).output().unwrap();
        assert_eq!(told.status.code(), Some(190), "{told:?}");
    }
    for bad in ["x", "300", "4-3"] {
        assert!(place.fails(190, ["run", "--accept-codes", bad, "--", "true"]).contains("exit code"), "{bad}");
    }
}

#[test]
fn each_try_is_an_attempt_that_finds_what_the_first_one_found() {
    let place = Sandbox::new();
    place.step("prep", ["--out", "in"], "echo whole > $KALE_OUT_IN");
    let arguments = "--in prep:in=here/in --out x=there/x --out y --retries 3 --retry-pause 10ms";
    // Each try spoils its input and leaves an output that the next one must not find.
    let script = "
        cat here/in; test -e there/x && echo stale; test -e $KALE_OUT_Y && echo stale
        echo spoilt > here/in; echo spoilt > there/x; echo $KALE_ATTEMPT > $KALE_OUT_Y
        echo >> tries; test $(wc -l < tries) = 3 || exit 7
        echo good > there/x";
    place.write("there/keep", "");
    let told = place.step("s", arguments.split(' '), script);
    assert_eq!(told.stdout, "whole\nwhole\nwhole\n");
    let said = "the command ended with status 7; try";
    assert!(told.stderr.contains(&format!("{said} 2 of 4 in 10ms")), "{told}");
    assert!(told.stderr.contains(&format!("{said} 3 of 4 in 20ms")), "{told}");
    assert_eq!(place.ok(["cat", "s:x"]), "good\n");
    let attempts = attempts(&place, "s");
    assert_eq!(attempts.len(), 3, "{attempts:?}");
    assert_eq!(place.ok(["cat", "s:y"]).trim(), attempts[2]);
    for failed in &attempts[..2] {
        let record = place.json(["show", "p/r/s", "--attempt", failed]);
        assert_eq!((&record["exit"]["code"], &record["failure"]["code"]), (&7.into(), &7.into()));
        assert_eq!(place.ok(["log", "p/r/s", "--attempt", failed]), "whole\n");
    }
}

#[test]
fn what_the_user_had_there_before_is_not_cleared() {
    let place = Sandbox::new();
    place.write("x", "before\n");
    let script = "echo more >> x; test $(wc -l < x) = 3";
    place.step("s", ["--out", "x=x", "--retries", "2", "--retry-pause", "1ms"], script);
    assert_eq!(place.ok(["cat", "s:x"]), "before\nmore\nmore\n");
}

#[test]
fn tries_end() {
    let place = Sandbox::new();
    let retried = ["--retries", "2", "--retry-pause", "1ms"];
    let told = place.try_step("s", retried, "echo; exit 9");
    assert_eq!((told.status, told.stdout.as_str()), (9, "\n\n\n"), "{told}");
    assert_eq!(attempts(&place, "s").len(), 3);
    let told = place.try_step("late", [&retried[..], &["--timeout", "100ms"]].concat(), "echo; sleep 60");
    assert_eq!((told.status, told.stdout.as_str()), (200, "\n\n\n"), "a limit is one for each try: {told}");
    // Nothing gets better by itself where there is no such command, or an output is missing after success.
    let told = place.call(["run", "--step", "no", "--retries", "2", "--", "/no/such/command"]);
    assert_eq!(told.status, 127, "{told}");
    assert_eq!(attempts(&place, "no").len(), 1);
    let told = place.try_step("miss", [&retried[..], &["--out", "x"]].concat(), "echo");
    assert_eq!((told.status, told.stdout.as_str()), (194, "\n"), "{told}");
}

#[test]
fn a_stop_ends_the_pause_and_all_tries() {
    let place = Sandbox::new();
    let mut command = place.agent();
    command.args(["run", "--step", "s", "--retries", "9", "--retry-pause", "1h", "--", "sh", "-c", "exit 1"]);
    let mut running = Running::start(&mut command);
    // Once its record is there, nothing is left to do but to pause.
    let begin = Instant::now();
    while attempts(&place, "s").is_empty() {
        assert!(begin.elapsed() < PATIENCE, "no attempt has ended");
        thread::sleep(Duration::from_millis(5));
    }
    running.signal(15);
    assert_eq!(running.status(), 143);
    assert_eq!(attempts(&place, "s").len(), 1);
}

#[test]
fn a_plain_init_tries_again_too() {
    let place = Sandbox::without_store();
    let mut init = place.agent();
    for variable in ["KALE_STORE", "KALE_PIPELINE", "KALE_RUN"] {
        init.env_remove(variable);
    }
    let script = "echo >> tries; test $(wc -l < tries) = 2";
    let told = init.args(["run", "--retries", "1", "--retry-pause", "1ms", "--", "sh", "-c", script]).output().unwrap();
    assert!(told.status.success(), "{told:?}");
    assert!(String::from_utf8_lossy(&told.stderr).contains("try 2 of 2"), "{told:?}");
}

#[test]
fn outputs_of_a_failure_are_kept_to_look_at_and_never_committed() {
    let place = Sandbox::new();
    let script = "echo half > $KALE_OUT_X; mkdir $KALE_OUT_Y; echo part > $KALE_OUT_Y/p; exit 5";
    let kept = ["--out", "x", "--out", "y", "--out", "z", "--on-failure", "keep-outputs"];
    assert_eq!(place.try_step("s", kept, script).status, 5);
    let attempt = attempts(&place, "s").remove(0);
    assert!(place.fails(192, ["cat", "s:x"]).contains("not committed"));
    assert_eq!(place.ok(["cat", "s:x", "--attempt", &attempt]), "half\n");
    place.ok(["load", "s:y", "got", "--attempt", &attempt]);
    assert_eq!(place.read("got/p"), "part\n");
    let rows = place.json(["ls", "p/r/s", "--attempt", &attempt]);
    let names: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["artifact"].as_str().unwrap()).collect();
    assert_eq!(names, ["x", "y"]);
    assert_eq!(rows[0]["state"], "failed");
    assert_eq!(place.json(["verify", "p/r/s", "--attempt", &attempt])["artifacts"], 2);
    let told = place.fails(192, ["cat", "s:x", "--attempt", "20200101T000000.000Z-00000000"]);
    assert!(told.contains(&attempt), "{told}");

    // Without being asked, and of a step that was stopped, nothing is kept.
    assert_eq!(place.try_step("t", ["--out", "x"], "echo half > $KALE_OUT_X; exit 5").status, 5);
    let attempt = attempts(&place, "t").remove(0);
    assert!(place.fails(192, ["cat", "t:x", "--attempt", &attempt]).contains("no artifact x"));
    let mut command = place.agent();
    let script = "echo half > $KALE_OUT_X; echo ready; sleep 60";
    command.args(["run", "--step", "u", "--out", "x", "--on-failure", "keep-outputs", "--", "sh", "-c", script]);
    let mut running = Running::start(&mut command);
    assert_eq!(running.line(), "ready");
    running.signal(15);
    assert_eq!(running.status(), 143);
    let attempt = attempts(&place, "u").remove(0);
    assert!(place.fails(192, ["cat", "u:x", "--attempt", &attempt]).contains("no artifact x"));
    assert_eq!(place.call(NO_ARGUMENTS).status, 190);
}

/// The kernel says it to nobody in the container: the command is only gone.
#[test]
fn out_of_memory_is_said_and_recorded() {
    let place = Sandbox::new();
    let Some(group) = Group::limited("out_of_memory_is_said_and_recorded", 64 << 20) else { return };
    let greedy = "python3 -c 'x = bytearray(300 << 20)'";
    for (step, script, status, said) in [
        ("killed", format!("exec {greedy}"), 137, "the command was killed: out of memory"),
        ("told", format!("{greedy}; exit 3"), 3, "the command failed: out of memory"),
    ] {
        let mut command = place.agent();
        command.args(["run", "--step", step, "--", "sh", "-c", &script]);
        let ended = group.enter(&mut command).output().unwrap();
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(status), "{stderr}");
        assert!(stderr.contains(said) && stderr.contains("higher memory limit"), "{stderr}");
        let record = place.json(["show", &format!("p/r/{step}")]);
        assert!(record["failure"]["message"].as_str().unwrap().starts_with(said), "{record}");
        assert!(record["notes"].to_string().contains("for lack of memory: 1"), "{record}");
    }
    assert!(group.times_killed() >= 2);
}

/// What a step that is held has said to type.
fn held(running: &Running) -> (String, String) {
    let said = running.line();
    let words: Vec<&str> = said.split(' ').collect();
    let at = words.iter().position(|word| *word == "--socket").unwrap_or_else(|| panic!("{said}"));
    (words[at - 2].to_owned(), words[at + 1].to_owned())
}

fn start_held(place: &Sandbox, step: &str, script: &str) -> Running {
    let mut command = place.agent();
    let run = "exec \"$0\" run --step \"$1\" --out x --pause-on-failure 1h --timeout 2s -- sh -c \"$2\" 2>&1";
    let agent = kale_tests::binary::kale_agent();
    // stderr is read with stdout.
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", run]).arg(agent).args([step, script]).current_dir(place.path("")).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command = shell;
    Running::start(&mut command)
}

#[test]
fn a_failure_is_held_until_somebody_says_how_to_go_on() {
    let place = Sandbox::new();
    for (how, status) in [("continue", 0), ("abort", 6), ("retry", 0)] {
        let script = "echo bad > $KALE_OUT_X; test -e repaired-$KALE_STEP && echo good > $KALE_OUT_X || exit 6";
        let mut running = start_held(&place, how, script);
        let (agent, socket) = held(&running);
        let out = socket.replace("agent.sock", "out/x");
        assert_eq!(fs::read_to_string(&out).unwrap(), "bad\n", "all is there to look at");
        match how {
            "continue" => fs::write(&out, "by hand\n").unwrap(),
            _ => drop(place.write(&format!("repaired-{how}"), "")),
        }
        let resumed = std::process::Command::new(&agent).args(["resume", "--socket", &socket, how]).status().unwrap();
        assert!(resumed.success());
        assert_eq!(running.status(), status, "{how}");
    }
    assert_eq!(place.ok(["cat", "continue:x"]), "by hand\n");
    let record = place.json(["show", "p/r/continue"]);
    assert_eq!(record["exit"]["code"], 6);
    assert!(record["notes"].to_string().contains("status 6, and somebody said that its outputs are good"), "{record}");
    assert!(place.fails(192, ["cat", "abort:x"]).contains("not committed"));
    assert_eq!(place.ok(["cat", "retry:x"]), "good\n");
    assert_eq!(attempts(&place, "retry").len(), 2);
}

#[test]
fn a_stop_ends_the_hold_and_a_step_that_is_not_held_cannot_be_resumed() {
    let place = Sandbox::new();
    let mut running = start_held(&place, "s", "exit 6");
    held(&running);
    running.signal(15);
    assert_eq!(running.status(), 143);
    let told = place.step("t", NO_ARGUMENTS, "kale-agent resume abort; echo $?");
    assert_eq!(told.stdout, "190\n", "{told}");
    assert!(told.stderr.contains("not held"), "{told}");
    assert!(place.fails(190, ["resume", "abort"]).contains("--socket"));
    let attempt = attempts(&place, "s").remove(0);
    assert_eq!(place.json(["show", "p/r/s", "--attempt", &attempt])["exit"]["code"], 6, "what the command did is kept");
}

#[test]
fn a_hold_that_nobody_ends_changes_nothing() {
    let place = Sandbox::new();
    let held = ["--pause-on-failure", "20ms", "--retries", "1", "--retry-pause", "1ms"];
    let kept = [&held[..], &["--out", "x", "--on-failure", "keep-outputs"]].concat();
    let told = place.try_step("u", kept, "echo half > $KALE_OUT_X; exit 6");
    assert_eq!(told.status, 6, "{told}");
    let attempts = attempts(&place, "u");
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    assert_eq!(place.ok(["cat", "u:x", "--attempt", &attempts[0]]), "half\n");
}

#[test]
fn a_command_that_took_too_long_can_be_tried_again_by_hand() {
    let place = Sandbox::new();
    let mut running = start_held(&place, "slow", "test -e repaired && echo good > $KALE_OUT_X || sleep 60");
    let (agent, socket) = held(&running);
    place.write("repaired", "");
    let resumed = std::process::Command::new(&agent).args(["resume", "--socket", &socket, "retry"]).status().unwrap();
    assert!(resumed.success());
    assert_eq!(running.status(), 0);
    assert_eq!(place.ok(["cat", "slow:x"]), "good\n");
}
