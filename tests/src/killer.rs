//! Kills a process at its n-th operation on a store, for real: by tracing its system calls.
//!
//! `SIGKILL` is sent while the call is stopped at its entry (it never happens) or at its exit (it happened, and the process
//! never learns it). All threads count together; processes that it starts are not traced.

use nix::{
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use std::{
    collections::HashSet,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

/// When within a call the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the kernel does it.
    Before,
    /// After the kernel has done it.
    After,
}

/// How a traced process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was killed at this call.
    Killed(&'static str),
    /// It came to its end by itself, with this status, before its n-th operation.
    Exited(i32),
}

/// Runs a command and kills it at its `nth` operation, from 1, that changes something below `store`.
pub fn run(command: &mut Command, store: &Path, nth: usize, moment: Moment) -> End {
    // SAFETY: traceme is one system call and touches no memory of the process that was forked from.
    unsafe {
        command.pre_exec(|| ptrace::traceme().map_err(Into::into));
    }
    #[expect(clippy::zombie_processes, reason = "waited for by waitpid below, as a tracee has to be")]
    let child = command.spawn().expect("the traced command starts");
    let root = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    waitpid(root, Some(flags)).expect("the stop at its exec");
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(root, options).expect("options of a stopped tracee");
    ptrace::syscall(root, None).expect("a stopped tracee goes on");
    let mut tracer = Tracer { store: store.to_owned(), inside: HashSet::new(), count: 0, nth, moment };
    loop {
        match waitpid(Pid::from_raw(-1), Some(flags)).expect("a tracee to wait for") {
            WaitStatus::PtraceSyscall(thread) => {
                if let Some(name) = tracer.stopped(thread) {
                    kill(root, Signal::SIGKILL).expect("our own child");
                    reap(root, flags);
                    return End::Killed(name);
                }
                // A thread that is gone meanwhile is no error: its end is reported too.
                let _ = ptrace::syscall(thread, None);
            }
            WaitStatus::Exited(pid, status) if pid == root => return End::Exited(status),
            WaitStatus::Signaled(pid, signal, _) if pid == root => return End::Exited(128 + signal as i32),
            WaitStatus::Stopped(thread, signal) => {
                let own = matches!(signal, Signal::SIGSTOP | Signal::SIGTRAP);
                let _ = ptrace::syscall(thread, if own { None } else { Some(signal) });
            }
            WaitStatus::PtraceEvent(thread, ..) => {
                let _ = ptrace::syscall(thread, None);
            }
            _ => {}
        }
    }
}

fn reap(root: Pid, flags: WaitPidFlag) {
    loop {
        match waitpid(Pid::from_raw(-1), Some(flags)) {
            Ok(WaitStatus::Signaled(pid, ..) | WaitStatus::Exited(pid, _)) if pid == root => return,
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

struct Tracer {
    store: PathBuf,
    /// Threads that are stopped inside a call, so that the next stop is its exit; with the call if it counts.
    inside: HashSet<(Pid, Option<&'static str>)>,
    count: usize,
    nth: usize,
    moment: Moment,
}

impl Tracer {
    /// A thread stopped at the entry or exit of a call: the call's name if this is the moment to kill.
    fn stopped(&mut self, thread: Pid) -> Option<&'static str> {
        let entered = self.inside.iter().find(|(inside, _)| *inside == thread).copied();
        if let Some(call) = entered {
            self.inside.remove(&call);
            let counted = call.1.filter(|_| self.count == self.nth && self.moment == Moment::After);
            return counted;
        }
        let call = self.changing_call(thread);
        self.inside.insert((thread, call));
        if call.is_some() {
            self.count += 1;
            if self.count == self.nth && self.moment == Moment::Before {
                return call;
            }
        }
        None
    }

    /// The name of the call that a thread is entering, if it changes something below the store.
    fn changing_call(&self, thread: Pid) -> Option<&'static str> {
        let registers = ptrace::getregs(thread).ok()?;
        let (first, second) = (registers.rdi, registers.rsi);
        let creates = |flags: u64| flags & (libc::O_CREAT as u64 | libc::O_TRUNC as u64) != 0;
        let at = |name, directory: u64, path: u64| (self.is_below(thread, directory, path)).then_some(name);
        let descriptor = |name, number: u64| self.is_file_of_store(thread, number).then_some(name);
        const HERE: u64 = libc::AT_FDCWD as u32 as u64;
        match i64::try_from(registers.orig_rax).ok()? {
            libc::SYS_write => descriptor("write", first),
            libc::SYS_pwrite64 => descriptor("pwrite64", first),
            libc::SYS_writev => descriptor("writev", first),
            libc::SYS_fsync => descriptor("fsync", first),
            libc::SYS_fdatasync => descriptor("fdatasync", first),
            libc::SYS_ftruncate => descriptor("ftruncate", first),
            libc::SYS_openat if creates(registers.rdx) => at("openat", first, second),
            libc::SYS_open if creates(second) => at("open", HERE, first),
            libc::SYS_mkdirat => at("mkdirat", first, second),
            libc::SYS_mkdir => at("mkdir", HERE, first),
            libc::SYS_unlinkat => at("unlinkat", first, second),
            libc::SYS_unlink => at("unlink", HERE, first),
            libc::SYS_rmdir => at("rmdir", HERE, first),
            libc::SYS_linkat => at("linkat", first, second),
            libc::SYS_link => at("link", HERE, first),
            libc::SYS_rename => at("rename", HERE, first),
            libc::SYS_renameat => at("renameat", first, second),
            libc::SYS_renameat2 => at("renameat2", first, second),
            _ => None,
        }
    }

    fn is_below(&self, thread: Pid, directory: u64, path: u64) -> bool {
        let path = PathBuf::from(read_text(thread, path));
        if path.is_absolute() {
            return path.starts_with(&self.store);
        }
        let folder = match directory as i32 {
            libc::AT_FDCWD => std::fs::read_link(format!("/proc/{thread}/cwd")),
            number => std::fs::read_link(format!("/proc/{thread}/fd/{number}")),
        };
        folder.is_ok_and(|folder| folder.join(path).starts_with(&self.store))
    }

    fn is_file_of_store(&self, thread: Pid, number: u64) -> bool {
        std::fs::read_link(format!("/proc/{thread}/fd/{number}")).is_ok_and(|path| path.starts_with(&self.store))
    }
}

/// Reads a NUL-terminated text from a stopped thread, at most 4 KiB.
fn read_text(thread: Pid, address: u64) -> String {
    let mut bytes = Vec::new();
    for word in 0..512 {
        let Ok(value) = ptrace::read(thread, (address + word * 8) as ptrace::AddressType) else { break };
        for byte in value.to_ne_bytes() {
            if byte == 0 {
                return String::from_utf8_lossy(&bytes).into_owned();
            }
            bytes.push(byte);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
