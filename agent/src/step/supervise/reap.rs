//! The one reaper: whatever ends below us is waited for here, and the command's status is remembered.

use super::signals::reap_any;
use kale_protocol::record::{Exit, Usage};
use nix::{
    sys::{
        resource::{UsageWho, getrusage},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};
use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

/// Waits for everything, and knows which one is the command.
#[derive(Debug)]
pub(super) struct Reaper {
    main: i32,
    exit: Option<Exit>,
}

impl Reaper {
    pub(super) fn new(main: i32) -> Self {
        Self { main, exit: None }
    }

    /// Takes the statuses of all that have ended. One SIGCHLD may stand for any number of them.
    pub(super) fn reap(&mut self) {
        while let Some((pid, status)) = reap_any() {
            // After the command has ended its number may come back as that of an orphan.
            if pid == self.main && self.exit.is_none() {
                self.exit = Some(exit_of(status));
            }
        }
    }

    /// Whether the command was stopped since this was last asked; that it has ended is left to be reaped.
    pub(super) fn is_stopped(&self) -> bool {
        let look = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG;
        matches!(waitid(Id::Pid(Pid::from_raw(self.main)), look), Ok(WaitStatus::Stopped(..)))
    }

    /// How the command ended, once it has.
    pub(super) fn exit(&self) -> Option<Exit> {
        self.exit
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    // A status is 8 bits and a signal's number 7, so neither cast loses anything.
    match status.code() {
        Some(code) => Exit::Code(code as u8),
        None => Exit::Signal { signal: status.signal().unwrap_or_default() as u8, core: status.core_dumped() },
    }
}

/// What all that was waited for has used, in this process's whole life.
pub(super) fn usage() -> Usage {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return Usage::default() };
    let microseconds = |time: nix::sys::time::TimeVal| {
        let whole = u64::try_from(time.tv_sec()).unwrap_or_default().saturating_mul(1_000_000);
        whole.saturating_add(u64::try_from(time.tv_usec()).unwrap_or_default())
    };
    Usage {
        user_us: microseconds(usage.user_time()),
        system_us: microseconds(usage.system_time()),
        // Linux counts it in KiB.
        peak_rss_bytes: u64::try_from(usage.max_rss()).unwrap_or_default().saturating_mul(1024),
    }
}
