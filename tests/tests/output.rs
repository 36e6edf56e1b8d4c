//! The command's output passes through the agent unchanged and at once, whoever reads it.

use kale_tests::{
    running::Running,
    supervision::{self, agent, report},
};
use std::{
    fs::OpenOptions,
    io::Read,
    process::{Command, Stdio},
};

/// The program of these tests that shows what the supervision reports.
fn supervise(settings: &[&str], command: &[&str]) -> (Command, tempfile::NamedTempFile) {
    supervision::supervise(env!("CARGO_BIN_EXE_supervise"), settings, command)
}

#[test]
fn output_held_open_by_a_stranger_does_not_hang() {
    let (mut command, file) = supervise(&["--capture", "100000"], &["sh", "-c", "echo $$; read line; echo end"]);
    let mut running = Running::start(&mut command);
    let held = OpenOptions::new().write(true).open(format!("/proc/{}/fd/1", running.line())).unwrap();
    running.close_stdin();
    assert_eq!(running.rest(), ["end"]);
    assert_eq!(running.status(), 0);
    assert!(report(&file).contains("stdout was held open"), "{}", report(&file));
    drop(held);
}

#[test]
fn output_comes_at_once() {
    for mut command in [
        agent(&["sh", "-c", "printf x; read line"]),
        supervise(&["--capture", "9999"], &["sh", "-c", "printf x; read line"]).0,
    ] {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut byte = [0];
        // The command goes on only when its stdin is closed, which is after this.
        child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"x");
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

#[test]
fn much_output_is_passed_on_unchanged() {
    let script =
        "import random, sys; sys.stdout.buffer.write(random.Random(7).randbytes(50_000_000)); sys.stderr.write('done')";
    let (mut command, file) = supervise(&["--capture", "1000000"], &["python3", "-c", script]);
    let with = command.output().unwrap();
    let without = Command::new("python3").args(["-c", script]).output().unwrap();
    assert!(with.stdout == without.stdout && with.stdout.len() == 50_000_000);
    assert_eq!(with.stderr, b"done");
    let said = report(&file);
    assert!(said.contains("of 50000004 bytes") && said.contains("bytes of output are not kept here"), "{said}");
    assert!(said.contains("piece Err \"done\""), "{said}");
}

#[test]
fn a_reader_that_goes_away_ends_the_command_by_sigpipe() {
    for mut command in [agent(&["yes"]), supervise(&["--capture", "9999"], &["yes"]).0] {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut [0; 10]).unwrap();
        drop(stdout);
        assert_eq!(child.wait().unwrap().code(), Some(128 + 13));
    }
}
