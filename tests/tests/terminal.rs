//! A terminal on stdin stops and continues the job. That it is the command's while it runs is a case of `conformance`.

use kale_tests::binary::kale_agent;
use std::process::Command;

/// What is written to a terminal at what it shows; `shell` is what runs there, with the agent's path as its argument.
fn on_a_terminal(shell: &str, typed: &[(&str, &str)]) -> String {
    let script = "
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execvp('python3', ['python3', '-c', *sys.argv[1:3]])
shown = b''
for after, keys in [pair.split('=') for pair in sys.argv[3:]]:
    while after.encode() not in shown:
        shown += os.read(fd, 1000)
    os.write(fd, keys.encode().decode('unicode_escape').encode())
try:
    while part := os.read(fd, 1000):
        shown += part
except OSError:
    pass
print(shown.decode())
";
    let typed = typed.iter().map(|(after, keys)| format!("{after}={keys}"));
    let ended = Command::new("python3")
        .args(["-c", script, shell])
        .arg(kale_agent())
        .args(typed)
        .output()
        .expect("python3 runs");
    assert!(ended.status.success(), "{ended:?}");
    String::from_utf8(ended.stdout).expect("a terminal shows UTF-8")
}

#[test]
fn a_job_that_is_stopped_from_its_terminal_stops_and_goes_on() {
    let shell = "
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
agent = os.fork()
if agent == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.argv[1], [sys.argv[1], 'run', '--', 'sh', '-c', 'echo ready; read line; echo got $line'])
_, status = os.waitpid(agent, os.WUNTRACED)
back = os.tcgetpgrp(0) == agent
os.tcsetpgrp(0, os.getpgrp())
print('stopped', os.WIFSTOPPED(status), back, flush=True)
os.tcsetpgrp(0, agent)
os.killpg(agent, signal.SIGCONT)
_, status = os.waitpid(agent, 0)
print('ended', status)
";
    let shown = on_a_terminal(shell, &[("ready", "\\x1a"), ("True True", "hello\\n")]);
    for line in ["stopped True True", "got hello", "ended 0"] {
        assert!(shown.contains(line), "{shown}");
    }
}

#[test]
fn where_no_shell_could_continue_it_a_job_is_not_stopped() {
    let alone = "import os, sys; os.execv(sys.argv[1], [sys.argv[1], 'run', '--', 'sh', '-c', 'echo ready; read line; echo got $line'])";
    let shown = on_a_terminal(alone, &[("ready", "\\x1a"), ("^Z", "hello\\n")]);
    assert!(shown.contains("got hello"), "{shown}");
}
