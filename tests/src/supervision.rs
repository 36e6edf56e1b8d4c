//! The agent as init, and the program that shows what its supervision reports.

use crate::binary::kale_agent;
use std::{fs, process::Command};
use tempfile::NamedTempFile;

/// `kale-agent run -- CMD…`.
pub fn agent(command: &[&str]) -> Command {
    let mut agent = Command::new(kale_agent());
    agent.args(["run", "--"]).args(command);
    agent
}

/// The same supervision, with settings, by the `supervise` program at a path; its report lies in the file.
pub fn supervise(program: &str, settings: &[&str], command: &[&str]) -> (Command, NamedTempFile) {
    let report = NamedTempFile::new().expect("a temporary file");
    let mut supervise = Command::new(program);
    supervise.arg("--report").arg(report.path()).args(settings).arg("--").args(command);
    (supervise, report)
}

/// What was reported.
pub fn report(file: &NamedTempFile) -> String {
    fs::read_to_string(file.path()).expect("a report")
}
