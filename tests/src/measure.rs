//! What a process used, measured by the kernel.

use std::{os::unix::process::ExitStatusExt, process::Command, process::ExitStatus};

/// How a process ended and what it used.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    /// How it ended.
    pub status: ExitStatus,
    /// Its largest resident set, in bytes: its own or that of a child that it waited for, whichever is larger.
    pub peak_rss_bytes: u64,
    /// CPU time, user and system, in seconds.
    pub cpu_seconds: f64,
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Used {
    #[expect(clippy::zombie_processes, reason = "waited for by wait4 below, which also tells what it used")]
    let child = command.spawn().expect("the measured command starts");
    let pid = libc::pid_t::try_from(child.id()).expect("a process id");
    let mut status = 0;
    // SAFETY: an all-zero rusage is a valid one, and wait4 writes to both places before it returns the pid.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::wait4(pid, &raw mut status, 0, &raw mut usage), pid, "our own child");
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Used {
        status: ExitStatus::from_raw(status),
        peak_rss_bytes: u64::try_from(usage.ru_maxrss).expect("a size") * 1024,
        cpu_seconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
    }
}
