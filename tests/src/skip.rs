//! Skipping aloud: a test that cannot run here says so and is counted, never passed over.

use std::{env, fs::OpenOptions, io::Write, process::Command};

/// Says that a test was skipped and why, on stderr and in the file that `KALE_TEST_SKIPS` names.
pub fn skip(test: &str, reason: &str) {
    let line = format!("SKIPPED {test}: {reason}\n");
    eprint!("{line}");
    if let Some(path) = env::var_os("KALE_TEST_SKIPS") {
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("KALE_TEST_SKIPS can be written");
        file.write_all(line.as_bytes()).expect("KALE_TEST_SKIPS can be written");
    }
}

/// The words in front of a command that make it PID 1 of its own namespace; `None`, said aloud, where that is refused.
pub fn as_pid_1(test: &str) -> Option<Vec<&'static str>> {
    let words = vec!["unshare", "-Urpf", "--mount-proc"];
    match Command::new(words[0]).args(&words[1..]).arg("true").output() {
        Ok(tried) if tried.status.success() => Some(words),
        Ok(tried) => {
            skip(test, &format!("no namespaces here: {}", String::from_utf8_lossy(&tried.stderr).trim()));
            None
        }
        Err(error) => {
            skip(test, &format!("no unshare here: {error}"));
            None
        }
    }
}
