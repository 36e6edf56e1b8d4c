//! Snapshots: memory of another process as it was at one moment, read without being copied first.
//!
//! A process that has something to be stored forks a child that does nothing but sleep. The kernel lets both have the same
//! pages, and copies one only where the process goes on to write to it. So the child's memory is what the process had, and
//! nobody changes it.

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::uio::{RemoteIoVec, process_vm_readv},
    unistd::Pid,
};
use std::{
    fs::{self, File},
    io::{self, IoSliceMut},
    ops::Range,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
        unix::fs::FileExt,
    },
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

/// A child that sleeps, kept for its memory; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pid: Pid,
    process: OwnedFd,
    /// Its memory as a file, which takes two copies where the call takes one.
    memory: File,
    /// Whether the call is forbidden, as containers of Docker 20.10 do that allow the file.
    by_file: AtomicBool,
}

impl Snapshot {
    /// Takes over a child of `parent`.
    ///
    /// An error where it is none, or where the system does not let us see it: `pidfd_open` is from Linux 5.3, and reading the
    /// memory of others takes the same rights as debugging them (ptrace(2)).
    pub(crate) fn open(pid: i32, parent: i32) -> io::Result<Self> {
        let process = open_process(pid)?;
        // From here on the number can mean nobody else, as long as it lives.
        let is_child = parent_of(pid)? == parent;
        let is_alive = is_alive(&process)?;
        if !is_child || !is_alive {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("process {parent} has no child {pid}")));
        }
        let memory = File::open(format!("/proc/{pid}/mem"))?;
        Ok(Self { pid: Pid::from_raw(pid), process, memory, by_file: AtomicBool::new(false) })
    }

    /// How much memory of its own the process has: so much more its parent may come to need while this is here.
    pub(crate) fn own_bytes(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let kib =
            status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")?.parse().ok());
        kib.map(|kib: u64| kib << 10).ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// Whether all of these ranges are memory that nobody else can change: of the process alone, and of no file.
    pub(crate) fn has(&self, mut ranges: impl Iterator<Item = Range<u64>>) -> io::Result<bool> {
        let listed = fs::read_to_string(format!("/proc/{}/maps", self.pid))?;
        let own: Vec<Range<u64>> = listed.lines().filter_map(own).collect();
        Ok(ranges.all(|range| {
            let mut at = range.start;
            let first = own.partition_point(|map| map.end <= at);
            for map in &own[first..] {
                if at >= range.end || map.start > at {
                    break;
                }
                at = map.end;
            }
            at >= range.end
        }))
    }

    /// Fills `buffer` with what is at an address.
    pub(crate) fn read_exact_at(&self, mut buffer: &mut [u8], mut address: u64) -> io::Result<()> {
        while !buffer.is_empty() && !self.by_file.load(Relaxed) {
            let remote = [RemoteIoVec { base: address as usize, len: buffer.len() }];
            match process_vm_readv(self.pid, &mut [IoSliceMut::new(buffer)], &remote) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => (buffer, address) = (&mut buffer[read..], address + read as u64),
                Err(Errno::EINTR) => {}
                Err(Errno::EPERM | Errno::ENOSYS) => self.by_file.store(true, Relaxed),
                Err(error) => return Err(error.into()),
            }
        }
        self.memory.read_exact_at(buffer, address)
    }

    /// An error if it has ended: from some moment on, what was read by its number may have been another's.
    pub(crate) fn check_alive(&self) -> io::Result<()> {
        if is_alive(&self.process)? { Ok(()) } else { Err(Errno::ESRCH.into()) }
    }

    /// Ends it at once; whoever still reads gets an error.
    #[expect(unsafe_code, reason = "the system call has no wrapper")]
    pub(crate) fn end(&self) {
        let none = std::ptr::null::<libc::siginfo_t>();
        // One that has ended cannot be killed.
        // SAFETY: the descriptor is ours and open; no memory is passed.
        let _ = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.process.as_raw_fd(), libc::SIGKILL, none, 0) };
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.end();
    }
}

#[expect(unsafe_code, reason = "the system call has no wrapper")]
fn open_process(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let opened = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel has just made this descriptor for us, and it is as large as they are.
    Ok(unsafe { OwnedFd::from_raw_fd(opened as i32) })
}

fn is_alive(process: &OwnedFd) -> io::Result<bool> {
    // It can be read from when the process has ended.
    Ok(poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO)? == 0)
}

fn parent_of(pid: i32) -> io::Result<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name before it may hold anything, parentheses and blanks, too.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let parent = fields.split_ascii_whitespace().nth(1).and_then(|parent| parent.parse().ok());
    parent.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The range of a line of `/proc/PID/maps`, if it is readable private memory without a file (proc_pid_maps(5)).
fn own(line: &str) -> Option<Range<u64>> {
    let mut fields = line.split_ascii_whitespace();
    let (range, rights) = (fields.next()?, fields.next()?);
    let is_own = rights.starts_with('r') && rights.ends_with('p') && fields.nth(2)? == "0";
    let (start, end) = range.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    is_own.then_some(number(start)?..number(end)?)
}

#[cfg(test)]
mod tests;
