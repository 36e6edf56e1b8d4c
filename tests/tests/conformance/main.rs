//! Conformance: what the agent does as an init, beside what tini and dumb-init do. `docs/supervision.md` has the table.
//!
//! What the others do is compared, too: a table that nobody checks would not stay true. What is expected of the agent is
//! what an init has to do, and no less than either of them.

use kale_tests::{
    inits::{self, Init},
    skip::as_pid_1,
};
use std::process::{Command, Stdio};

/// What an init and its command are seen to do by one of the programs beside this file.
fn seen(init: &Init, probe: &str) -> String {
    told(undisturbed("python3").args(["-c", probe]).args(init.words()))
}

/// A program that ignores no signal, also where what started the tests had some ignored, as `nohup` and `&` do.
fn undisturbed(program: &str) -> Command {
    let mut env = Command::new("env");
    env.args(["--default-signal", program]);
    env
}

fn told(command: &mut Command) -> String {
    let ended = command.stdin(Stdio::null()).output().expect("it starts");
    assert!(ended.status.success(), "{ended:?}");
    String::from_utf8(ended.stdout).expect("words").trim().to_owned()
}

/// Compares what each init is seen to do with what is known of it: the agent, tini, tini -g, dumb-init.
fn each(test: &str, expected: [&str; 4], see: impl Fn(&Init) -> String) {
    for init in inits::all(test) {
        let at = ["kale-agent", "tini", "tini -g", "dumb-init"].iter().position(|name| *name == init.name);
        assert_eq!(see(&init), expected[at.expect("a column of the table")], "{}", init.name);
    }
}

/// Runs one shell that runs a command below the init again and again; says which status was not as it should be.
fn wrong(init: &Init, script: &str) -> String {
    told(undisturbed("sh").args(["-c", script, "sh"]).args(init.words()))
}

#[test]
fn every_exit_code_is_passed_on() {
    let script = "for c in $(seq 0 255); do \"$@\" sh -c \"exit $c\"; [ $? = $c ] || echo $c; done";
    each("every_exit_code_is_passed_on", [""; 4], |init| wrong(init, script));
}

#[test]
fn death_by_any_signal_is_128_and_its_number() {
    // Those that neither stop nor do nothing.
    let script = "ulimit -c 0; for s in $(seq 1 16) $(seq 24 27) 29 30 31 $(seq 34 64); do
        \"$@\" sh -c \"kill -$s \\$\\$\"; [ $? = $((128 + s)) ] || echo $s; done";
    each("death_by_any_signal_is_128_and_its_number", [""; 4], |init| wrong(init, script));
}

#[test]
fn a_command_that_cannot_start() {
    let script = "for c in /no/such no-such-command-anywhere /etc/passwd /; do \"$@\" $c 2> /dev/null; echo $?; done";
    let codes = |init: &Init| wrong(init, script).replace('\n', " ");
    let usual = "127 127 126 126";
    each("a_command_that_cannot_start", [usual, usual, usual, "2 2 2 2"], codes);
}

#[test]
fn signals_are_passed_on_once() {
    let tini = "49 of 56 dies of 4 5 6 7 8 11 31";
    let expected = ["56 of 56", tini, tini, "56 of 56"];
    each("signals_are_passed_on_once", expected, |init| seen(init, include_str!("signals.py")));
}

#[test]
fn who_is_told_of_a_signal() {
    let expected = ["command group", "command", "command group", "command group"];
    each("who_is_told_of_a_signal", expected, |init| seen(init, include_str!("told.py")));
}

#[test]
fn stopping_and_continuing() {
    let expected = ["TT TT TT", "ST SS SS", "ST SS SS", "TT TT TT"];
    each("stopping_and_continuing", expected, |init| seen(init, include_str!("stops.py")));
}

#[test]
fn signals_that_were_blocked_or_ignored_are_so_in_the_command() {
    let all = "PIPE as Python has it, PIPE default, ignored, CHLD ignored, blocked";
    let expected = ["none", "CHLD ignored: hangs", "CHLD ignored: hangs", all];
    each("signals_that_were_blocked_or_ignored_are_so_in_the_command", expected, |init| {
        seen(init, include_str!("started.py"))
    });
}

#[test]
fn group_and_session() {
    let ask = "import os; print(os.getpgrp() == os.getpid(), os.getsid(0) == os.getpid())";
    let expected = ["True False", "True False", "True False", "True True"];
    each("group_and_session", expected, |init| told(&mut init.command(&["python3", "-c", ask])));
}

#[test]
fn a_terminal_before_and_after() {
    let expected = ["True, True", "True, False", "True, False", "no terminal, True"];
    each("a_terminal_before_and_after", expected, |init| seen(init, include_str!("terminal.py")));
}

#[test]
fn what_lives_on() {
    let expected = ["none", "command group session", "command group session", "command session"];
    each("what_lives_on", expected, |init| seen(init, include_str!("outlive.py")));
}

#[test]
fn orphans_below_another_init() {
    let expected = ["300 adopted, 300 reaped"; 3];
    let [agent, tini, group] = expected;
    each("orphans_below_another_init", [agent, tini, group, "0 adopted, 0 reaped"], |init| {
        told(&mut init.command(&["python3", "-c", include_str!("orphans.py")]))
    });
}

#[test]
fn the_same_as_pid_1() {
    let Some(words) = as_pid_1("the_same_as_pid_1") else { return };
    let run = |init: &Init, command: &[&str]| init.command_below(&words, command).stdin(Stdio::null()).output();
    each("the_same_as_pid_1", ["300 adopted, 300 reaped; 0 3 255 143 137 143"; 4], |init| {
        let orphans = run(init, &["python3", "-c", include_str!("orphans.py")]).expect("unshare starts");
        let status = |script: &str| {
            let ended = run(init, &["sh", "-c", script]).expect("unshare starts");
            ended.status.code().map_or_else(|| format!("{ended:?}"), |code| code.to_string())
        };
        // Its own death by TERM and KILL; and TERM to the init, from within, where the kernel lets through what is handled.
        let scripts = ["exit 0", "exit 3", "exit 255", "kill $$", "kill -9 $$", "kill 1; sleep 60"];
        let statuses: Vec<String> = scripts.into_iter().map(status).collect();
        format!("{}; {}", String::from_utf8_lossy(&orphans.stdout).trim(), statuses.join(" "))
    });
}

/// Each is the init of the next one, a hundred deep: nothing is lost on the way. How long it takes is measured by `make bench`.
#[test]
fn a_chain_of_a_hundred() {
    each("a_chain_of_a_hundred", ["in 7"; 4], |init| {
        let mut chain = init.chain(100, &["sh", "-c", "cat; exit 7"]);
        let mut running = chain.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        std::io::Write::write_all(&mut running.stdin.take().expect("a pipe"), b"in").expect("the command reads");
        let ended = running.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        format!("{said} {}", ended.status.code().expect("a status"))
    });
}

/// A signal passes through all of them, and so does what comes back.
#[test]
fn a_signal_through_a_chain_of_a_hundred() {
    each("a_signal_through_a_chain_of_a_hundred", ["told 9"; 4], |init| {
        let script = "trap 'echo told; exit 9' USR1; echo ready; while :; do sleep 0.01; done";
        let mut running = kale_tests::running::Running::start(&mut init.chain(100, &["sh", "-c", script]));
        assert_eq!(running.line(), "ready");
        running.signal(10);
        let said = running.rest().join(" ");
        format!("{said} {}", running.status())
    });
}
