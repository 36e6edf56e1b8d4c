//! Processes that outlive the command: told to end, then killed, and named.
//!
//! Those of the command's group are reached as a group. Those that left it become our children when their parents
//! end, because we are the reaper; only direct children are signalled, so that a number cannot belong to somebody
//! else by then. When such a child ends, its own children become ours, and their turn comes.

use super::signals::send;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

/// The kernel's list may leave out children while others of them end; then it is read again.
const RETRIES: usize = 5;

/// Our direct children, by number; `None` where the kernel or the container does not show them.
pub(super) fn children() -> Option<BTreeSet<i32>> {
    let mut found = BTreeSet::new();
    for task in fs::read_dir("/proc/self/task").ok()? {
        let listed = match fs::read_to_string(task.ok()?.path().join("children")) {
            Ok(listed) => listed,
            // A thread that has ended since; every kernel that shows the file shows it for the main thread.
            Err(_) if !found.is_empty() => continue,
            Err(_) => return None,
        };
        found.extend(listed.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    Some(found)
}

/// What is left of a command.
#[derive(Debug)]
pub(super) struct Leftovers {
    group: i32,
    /// Children that we had before the command was started, of whoever became us by exec: none of our business.
    before: BTreeSet<i32>,
    told: BTreeMap<i32, String>,
    group_told: bool,
    group_gone: bool,
    killed: bool,
}

impl Leftovers {
    pub(super) fn new(group: i32, before: BTreeSet<i32>) -> Self {
        Self { group, before, told: BTreeMap::new(), group_told: false, group_gone: false, killed: false }
    }

    /// Tells whatever is newly found to end, and returns whether anything is left. To be called after reaping.
    pub(super) fn sweep(&mut self) -> bool {
        let mut listed = children();
        for _ in 0..RETRIES {
            if listed.as_ref().is_none_or(|listed| !listed.is_empty()) || !have_children() {
                break;
            }
            listed = children();
        }
        let children: Vec<i32> = listed.unwrap_or_default().difference(&self.before).copied().collect();
        // Once the group is empty its number may be given to another.
        self.group_gone = self.group_gone || send(-self.group, 0) == Err(nix::Error::ESRCH);
        let signal = if self.killed { libc::SIGKILL } else { libc::SIGTERM };
        for &pid in &children {
            let in_group = !self.group_gone && group_of(pid) == Some(self.group);
            let new = !self.told.contains_key(&pid);
            if new {
                let place = if in_group { "in the command's group" } else { "outside the command's group" };
                self.told.insert(pid, format!("process {pid} ({}) {place}", name_of(pid)));
            }
            if !in_group && (new || self.killed) {
                // ESRCH and EPERM: it has ended, or it is somebody else's now. The wait is bounded either way.
                let _ = send(pid, signal);
            }
        }
        if !self.group_gone && (!self.group_told || self.killed) {
            self.group_told = true;
            let _ = send(-self.group, signal);
        }
        !self.group_gone || !children.is_empty()
    }

    /// From now on sweeping kills.
    pub(super) fn kill(&mut self) {
        self.killed = true;
    }

    /// What was found, as sentences for people.
    pub(super) fn notes(self, remaining: bool) -> Vec<String> {
        let how = match (remaining, self.killed) {
            (true, _) => "could not be ended",
            (false, true) => "had to be killed",
            (false, false) => "was told to end",
        };
        let mut notes: Vec<String> =
            self.told.into_values().map(|who| format!("{who} outlived the command and {how}")).collect();
        if notes.is_empty() && self.group_told {
            notes.push(format!("processes of the command's group {} outlived it: {how}", self.group));
        }
        notes
    }
}

fn have_children() -> bool {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::All, look) != Err(nix::Error::ECHILD)
}

fn group_of(pid: i32) -> Option<i32> {
    nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(pid))).ok().map(nix::unistd::Pid::as_raw)
}

fn name_of(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).map_or_else(|_| "unknown".into(), |name| name.trim_end().into())
}
