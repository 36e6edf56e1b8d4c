//! The terminal, where there is one: only its foreground group may read from it, so the command must be that.

use super::signals::send;
use nix::unistd::{Pid, getpgid, getpgrp, getppid, getsid, tcgetpgrp, tcsetpgrp};
use std::io::{self, IsTerminal};

/// A terminal on stdin whose foreground group is ours.
#[derive(Debug)]
pub(super) struct Terminal {
    own_group: Pid,
}

impl Terminal {
    /// The terminal, if stdin is one and it is ours to give away.
    pub(super) fn ours() -> Option<Self> {
        let own_group = getpgrp();
        let stdin = io::stdin();
        (stdin.is_terminal() && tcgetpgrp(&stdin) == Ok(own_group)).then_some(Self { own_group })
    }

    /// Makes a group the foreground one. SIGTTOU must be blocked. A failure costs the command its keyboard and
    /// nothing else, so it stops nothing.
    pub(super) fn give_to(group: Pid) {
        // Also runs between fork and exec: `ours` has made stdin's buffer, so this neither allocates nor locks.
        let stdin = io::stdin();
        // ENOTTY or EPERM: the terminal has gone away meanwhile, or is another session's.
        let _ = tcsetpgrp(&stdin, group);
    }

    /// Lets the command have the terminal, if it is ours to give.
    pub(super) fn offer(&self, command: i32) {
        if tcgetpgrp(io::stdin()) == Ok(self.own_group) {
            Self::give_to(Pid::from_raw(command));
        }
    }

    /// Goes through what a shell expects of a job that was stopped: the command has stopped, so the whole job does, and
    /// whoever continues us continues the command.
    ///
    /// Where no shell could continue us, the command goes on at once: without the agent it would have been in a group
    /// that the kernel does not let stop from the terminal.
    pub(super) fn suspend(&self, command: i32) {
        if tcgetpgrp(io::stdin()) == Ok(Pid::from_raw(command)) {
            self.take_back();
        }
        if has_shell() {
            // The others of the job, such as a pager that reads from us, have to stop for the shell to see it stopped.
            // SIGSTOP cannot be blocked: this returns when the job is continued.
            let _ = send(0, libc::SIGSTOP);
        }
        self.offer(command);
        let _ = send(-command, libc::SIGCONT);
    }

    /// Takes the terminal back once the command has ended.
    pub(super) fn take_back(&self) {
        Self::give_to(self.own_group);
    }
}

/// Whether our parent is of our session and another group, so that it may be a shell that has us as a job; PID 1 of a
/// container has no parent.
pub(super) fn has_shell() -> bool {
    let parent = getppid();
    parent.as_raw() > 0 && getsid(Some(parent)) == getsid(None) && getpgid(Some(parent)) != Ok(getpgrp())
}
