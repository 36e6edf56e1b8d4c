//! The terminal, where there is one: only its foreground group may read from it, so the command must be that.

use nix::unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp};
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

    /// Takes the terminal back once the command has ended.
    pub(super) fn take_back(&self) {
        Self::give_to(self.own_group);
    }
}
