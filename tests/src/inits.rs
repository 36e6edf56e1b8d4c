//! Inits to compare with: the same command, below each of them.

use crate::{binary::kale_agent, skip::skip};
use std::{ffi::OsString, process::Command};

/// A program that runs a command as its init.
#[derive(Clone, Debug)]
pub struct Init {
    /// What people call it.
    pub name: &'static str,
    words: Vec<OsString>,
}

impl Init {
    /// The words that start it, up to those of its command.
    pub fn words(&self) -> &[OsString] {
        &self.words
    }

    /// A command below it.
    pub fn command(&self, command: &[&str]) -> Command {
        self.command_below(&[], command)
    }

    /// A command below it, and it below what these words start.
    pub fn command_below(&self, before: &[&str], command: &[&str]) -> Command {
        let mut words = before.iter().map(OsString::from).chain(self.words.clone());
        let mut made = Command::new(words.next().expect("an init has a program"));
        made.args(words).args(command);
        made
    }

    /// It below itself, so many times, and the command below the last one.
    pub fn chain(&self, length: usize, command: &[&str]) -> Command {
        let mut words = (0..length).flat_map(|_| self.words.clone());
        let mut made = Command::new(words.next().expect("a chain has a program"));
        made.args(words).args(command);
        made
    }
}

/// The agent.
pub fn agent() -> Init {
    Init { name: "kale-agent", words: vec![kale_agent().into(), "run".into(), "--".into()] }
}

/// The agent, and of the others those that are installed; each that is not is counted as skipped.
pub fn all(test: &str) -> Vec<Init> {
    let others: [(&str, &[&str]); 3] = [
        ("tini", &["tini", "-s", "--"]),
        ("tini -g", &["tini", "-s", "-g", "--"]),
        ("dumb-init", &["dumb-init", "--"]),
    ];
    let mut inits = vec![agent()];
    for (name, words) in others {
        match Command::new(words[0]).arg("--version").output() {
            Ok(_) => inits.push(Init { name, words: words.iter().map(OsString::from).collect() }),
            Err(error) => skip(&format!("{test}[{name}]"), &format!("it cannot be started here: {error}")),
        }
    }
    inits
}
