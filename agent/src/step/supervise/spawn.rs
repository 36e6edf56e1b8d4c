//! Starting the command so that it cannot tell that the agent is there.

use super::{SuperviseError, Supervision, arguments, signals::Inherited, terminal::Terminal};
use nix::{
    sys::{
        prctl,
        signal::{SigSet, Signal},
    },
    unistd::{Pid, getpid, getppid, gettid},
};
use std::{
    fs,
    io::{self, PipeWriter},
    os::unix::process::CommandExt,
    process::{Child, Command},
};

/// A command that did not start.
#[derive(Debug)]
pub(super) struct NotStarted {
    /// What the system said.
    pub errno: i32,
    /// What exactly it means, where more is known than that.
    pub why: Option<String>,
}

/// Starts the command in a group of its own, which has its number.
///
/// Where its arguments are too many for the limit on its stack, it is tried again with a higher one, as far as the hard
/// limit goes: a program with another limit is better than none.
///
/// The kernel ends the command when the *thread* that started it ends, so that killing the agent outright leaves
/// nothing behind; this is asked for on the main thread only, whose end is the process's. PID 1 needs none of it.
/// The kernel drops the request when a set-user-id program is executed, and grandchildren never have it.
pub(super) fn spawn(
    supervision: &Supervision<'_>,
    inherited: Inherited,
    terminal: Option<&Terminal>,
    outputs: Option<[PipeWriter; 2]>,
) -> Result<Result<i32, NotStarted>, SuperviseError> {
    let (program, arguments) = supervision.command.split_first().ok_or(SuperviseError::Empty)?;
    let mut command = Command::new(program);
    command.args(arguments).process_group(0);
    if let Some(path) = supervision.workdir {
        // Asked beforehand: a missing folder must not look like a missing command.
        let failed = |source| SuperviseError::Workdir { path: path.to_owned(), source };
        if !fs::metadata(path).map_err(failed)?.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        command.current_dir(path);
    }
    for (name, value) in supervision.env {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Some([out, err]) = outputs {
        command.stdout(out).stderr(err);
    }
    let agent = getpid();
    let die_with_agent = agent.as_raw() != 1 && gettid() == agent;
    let take_terminal = terminal.is_some();
    let prepare = move || {
        // std has just emptied the mask; taking the terminal from a background group needs SIGTTOU blocked.
        SigSet::all().thread_set_mask()?;
        if die_with_agent {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            if getppid() != agent {
                return Err(nix::Error::ECHILD.into());
            }
        }
        if take_terminal {
            Terminal::give_to(Pid::this());
        }
        inherited.restore()
    };
    // SAFETY: between fork and exec the closure only makes system calls (sigprocmask, prctl, getppid, tcsetpgrp,
    // getpid, sigaction); it neither allocates nor locks, and what it captured is plain data.
    unsafe { command.pre_exec(prepare) };
    let mut started = command.spawn();
    if let (Some(libc::E2BIG), Some(soft)) = (errno_of(&started), arguments::roomier_stack()) {
        // SAFETY: as above: two system calls, and a number.
        unsafe { command.pre_exec(move || arguments::set_stack(soft)) };
        started = command.spawn();
    }
    let errno = errno_of(&started).unwrap_or(libc::EINVAL);
    Ok(match started {
        // Dropping the handle does not wait: the one reaper does.
        Ok(child) => Ok(child.id() as i32),
        Err(_) => {
            let why = (errno == libc::E2BIG).then(|| arguments::too_long(supervision.command, supervision.env));
            Err(NotStarted { errno, why })
        }
    })
}

fn errno_of(started: &io::Result<Child>) -> Option<i32> {
    started.as_ref().err().and_then(io::Error::raw_os_error)
}
