//! The agent as init: the command cannot tell that it is there, and nothing outlives it.

use kale_tests::{
    binary::kale_agent,
    running::{PATIENCE, Running, exists},
    skip::as_pid_1,
    supervision::{self, agent, report},
};
use std::{
    ffi::{OsStr, OsString},
    fs,
    io::Write,
    os::unix::ffi::OsStrExt,
    process::{Command, Stdio},
    time::Instant,
};

/// The program of these tests that shows what the supervision reports.
fn supervise(settings: &[&str], command: &[&str]) -> (Command, tempfile::NamedTempFile) {
    supervision::supervise(env!("CARGO_BIN_EXE_supervise"), settings, command)
}

/// Runs it to its end; status and output.
fn finish(command: &mut Command) -> (i32, Vec<String>) {
    let mut running = Running::start(command);
    running.close_stdin();
    let lines = running.rest();
    (running.status(), lines)
}

#[test]
fn a_command_that_cannot_start_gives_126_or_127() {
    assert_eq!(finish(&mut agent(&["no-such-command-anywhere"])).0, 127);
    assert_eq!(finish(&mut agent(&["/no/such/command"])).0, 127);
    assert_eq!(finish(&mut agent(&["/etc/passwd"])).0, 126);
    assert_eq!(finish(&mut agent(&["/"])).0, 126);
    assert_eq!(finish(&mut supervise(&["--capture", "1000"], &["/no/such/command"]).0).0, 127);
    assert_eq!(finish(&mut supervise(&["--workdir", "/no/such/folder"], &["true"]).0).0, 190);
}

/// Signals that can be caught: all but KILL, STOP, the two that the C library keeps to itself, and CHLD, which is ours.
fn catchable() -> impl Iterator<Item = i32> {
    (1..=64).filter(|signal| ![9, 17, 19, 32, 33].contains(signal))
}

#[test]
fn every_signal_is_forwarded_once() {
    let script = "
import signal
heard = [n for n in range(1, 65) if n not in (9, 17, 19, 32, 33)]
signal.pthread_sigmask(signal.SIG_BLOCK, heard)
print('ready', flush=True)
while (n := signal.sigwait(heard)) != 64:
    print(int(n), flush=True)
print('left', sorted(map(int, signal.sigpending())))
";
    let mut running = Running::start(&mut agent(&["python3", "-c", script]));
    assert_eq!(running.line(), "ready");
    for signal in catchable().filter(|signal| *signal != 64) {
        running.signal(signal);
        assert_eq!(running.line(), signal.to_string());
    }
    running.signal(64);
    assert_eq!(running.rest(), ["left []"]);
    assert_eq!(running.status(), 0);
}

#[test]
fn death_by_signal_gives_128_and_the_signal() {
    // CONT, URG and WINCH are ignored by default; TSTP, TTIN and TTOU stop.
    for signal in catchable().filter(|signal| ![18, 20, 21, 22, 23, 28].contains(signal)) {
        let mut running = Running::start(&mut agent(&["python3", "-c", MORTAL]));
        assert_eq!(running.line(), "ready", "signal {signal}");
        running.signal(signal);
        assert_eq!(running.status(), 128 + signal);
    }
}

/// Dies of any signal. A shell that says `ready` and becomes `sleep` does not: it catches SIGINT up to then, and loses it.
const MORTAL: &str = "
import resource, signal
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_DFL)
print('ready', flush=True)
while True:
    signal.pause()
";

#[test]
fn a_stop_signal_stops_and_continues_the_command() {
    let mut running = Running::start(&mut agent(&["sh", "-c", "echo $$; read line"]));
    let command: i32 = running.line().parse().unwrap();
    for (signal, state) in [(20, 'T'), (18, 'S')] {
        running.signal(signal);
        let begin = Instant::now();
        while !fs::read_to_string(format!("/proc/{command}/stat")).unwrap().contains(&format!(") {state} ")) {
            assert!(begin.elapsed() < PATIENCE, "not {state} in time");
            std::thread::yield_now();
        }
    }
    running.close_stdin();
    assert_eq!(running.status(), 1);
}

#[test]
fn as_pid_1_it_can_be_terminated() {
    let Some(words) = as_pid_1("as_pid_1_it_can_be_terminated") else { return };
    // Only PID 1 of the namespace is told; unshare forwards nothing, so the command tells it.
    let mut unshare = Command::new(words[0]);
    unshare.args(&words[1..]).arg(kale_agent()).args(["run", "--", "sh", "-c", "kill -TERM 1; sleep 60"]);
    assert_eq!(finish(&mut unshare).0, 143);
}

/// Runs a command with and without the agent and compares all that it says.
fn same(prefix: &[&str], command: &[&OsStr]) -> Vec<u8> {
    let run = |agent: &[&OsStr]| {
        let words: Vec<&OsStr> =
            prefix.iter().map(OsStr::new).chain(agent.iter().copied()).chain(command.iter().copied()).collect();
        let output = Command::new(words[0])
            .args(&words[1..])
            .env("ODD", OsStr::from_bytes(b"\xff=\n"))
            .current_dir("/usr")
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    let binary = kale_agent();
    let with = run(&[binary.as_os_str(), OsStr::new("run"), OsStr::new("--")]);
    assert_eq!(String::from_utf8_lossy(&with), String::from_utf8_lossy(&run(&[])));
    with
}

#[test]
fn mask_and_dispositions_are_those_the_agent_was_started_with() {
    let started = [
        "",
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL)",
        "signal.signal(signal.SIGPIPE, signal.SIG_IGN)",
        "[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15, 17, 20, 21, 22, 40)]",
        "signal.pthread_sigmask(signal.SIG_BLOCK, [2, 10, 13, 15, 17, 22, 41])",
    ];
    let mut seen = Vec::new();
    for start in started {
        let script = format!("import os, signal, sys\n{start}\nos.execvp(sys.argv[1], sys.argv[1:])");
        let grep = ["grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status"].map(OsStr::new);
        seen.push(same(&["python3", "-c", &script], &grep));
    }
    assert_ne!(seen[1], seen[2], "the cases differ");
    assert_ne!(seen[0], seen[4], "the cases differ");
}

#[test]
fn arguments_environment_and_folder_are_untouched() {
    let script = OsString::from(
        "import os, sys; print(sys.argv, os.getcwd(), list(os.environb.items()), sorted(os.listdir('/proc/self/fd')))",
    );
    let odd = OsStr::from_bytes(b"\xff\n 'x'");
    let said =
        same(&["env"], &[OsStr::new("python3"), OsStr::new("-c"), &script, OsStr::new(""), odd, OsStr::new("--")]);
    assert!(String::from_utf8(said).unwrap().contains("/usr"));
}

#[test]
fn stdin_is_the_commands() {
    let mut child = agent(&["cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a\0b").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"a\0b");
}

#[test]
fn the_command_leads_its_own_group() {
    let script = "import os; print(os.getpgrp() == os.getpid(), os.getpgid(os.getppid()) != os.getpid())";
    assert_eq!(finish(&mut agent(&["python3", "-c", script])), (0, vec!["True True".into()]));
}

#[test]
fn killing_the_agent_leaves_nothing_running() {
    let mut running = Running::start(&mut agent(&["sh", "-c", "echo $$; exec sleep 60"]));
    running.line();
    running.signal(9);
    assert_eq!(running.status(), 137);
    assert!(running.rest().is_empty(), "its output is closed: it has ended");
}

#[test]
fn after_the_grace_it_is_killed() {
    let (mut command, file) =
        supervise(&["--grace-ms", "200"], &["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 60; done"]);
    let mut running = Running::start(&mut command);
    running.line();
    running.signal(15);
    assert_eq!(running.status(), 137);
    assert!(report(&file).contains("stopped by Some(Signal(15))"));
}

#[test]
fn before_the_command_a_stop_request_ends_the_agent_at_once() {
    for signal in [1, 2, 3, 15] {
        let mut running = Running::start(&mut supervise(&[], &[]).0);
        assert_eq!(running.line(), "ready");
        for ignored in [10, 17, 20, 40] {
            running.signal(ignored);
        }
        running.signal(signal);
        assert_eq!(running.status(), 128 + signal);
    }
}

#[test]
fn a_second_term_kills_at_once() {
    let script = "
import signal
signal.signal(signal.SIGTERM, lambda *_: print('term', flush=True))
print('ready', flush=True)
while True: signal.pause()
";
    let mut running = Running::start(&mut agent(&["python3", "-c", script]));
    assert_eq!(running.line(), "ready");
    running.signal(15);
    assert_eq!(running.line(), "term");
    running.signal(15);
    assert_eq!(running.status(), 137);
}

#[test]
fn a_timeout_terminates_and_then_kills() {
    let (mut gentle, file) = supervise(&["--timeout-ms", "100"], &["sleep", "60"]);
    assert_eq!(finish(&mut gentle).0, 143);
    assert!(report(&file).contains("stopped by Some(Timeout)"));
    // The trap is inherited, so that it is set before the timeout can strike.
    let (hard, file) = supervise(&["--timeout-ms", "100", "--grace-ms", "100"], &["sleep", "60"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' TERM; exec \"$@\"", "sh"]).arg(hard.get_program()).args(hard.get_args());
    assert_eq!(finish(&mut shell).0, 137);
    assert!(report(&file).contains("stopped by Some(Timeout)"));
}

#[test]
fn the_agent_itself_may_ask_for_an_end() {
    let (mut command, file) = supervise(&["--stop", "an input is damaged"], &["sleep", "60"]);
    assert_eq!(finish(&mut command).0, 143);
    assert!(report(&file).contains("Requested(\"an input is damaged\")"));
}

#[test]
fn what_outlives_the_command_is_ended_and_named() {
    for output in [&[][..], &["--capture", "100000"]] {
        let begin = Instant::now();
        let (mut command, file) =
            supervise(output, &["sh", "-c", "sleep 60 & echo $!; setsid sleep 60 & echo $!; exit 3"]);
        let (status, pids) = finish(&mut command);
        assert_eq!(status, 3);
        assert!(begin.elapsed() < PATIENCE);
        assert!(pids.iter().all(|pid| !exists(pid.parse().unwrap())), "{pids:?}");
        let said = report(&file);
        assert_eq!(said.matches("outlived the command and was told to end").count(), 2, "{said}");
    }
    let stubborn = "import os, signal\nr, w = os.pipe()\nif os.fork() == 0:\n signal.signal(15, signal.SIG_IGN); os.setsid(); os.write(w, b'x')\n while True: signal.pause()\nos.read(r, 1)";
    let (mut command, file) = supervise(&["--grace-ms", "200", "--capture", "100000"], &["python3", "-c", stubborn]);
    assert_eq!(finish(&mut command).0, 0);
    assert!(
        report(&file).contains("outside the command's group outlived the command and had to be killed"),
        "{}",
        report(&file)
    );
}

#[test]
fn a_term_while_the_rest_is_ended_is_not_lost() {
    let script = "
import os, signal
r, w = os.pipe()
if os.fork() == 0:
    signal.signal(15, lambda *_: print('told', flush=True))
    os.write(w, b'x')
    while True: signal.pause()
os.read(r, 1)
";
    let (mut command, file) = supervise(&[], &["python3", "-c", script]);
    let mut running = Running::start(&mut command);
    assert_eq!(running.line(), "told");
    let begin = Instant::now();
    running.signal(15);
    assert_eq!(running.status(), 0);
    assert!(begin.elapsed().as_secs() < 8, "it did not wait for the grace to end");
    assert!(report(&file).contains("stopped by Some(Signal(15))"), "{}", report(&file));
}
