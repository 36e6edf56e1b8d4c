//! Signals as data: all are blocked before the first thread starts, and read from a descriptor.
//!
//! A blocked signal is queued even where its disposition is "ignore", and even for PID 1, for which the kernel
//! otherwise drops whatever has no handler. A fault of the agent's own (SIGSEGV and the like) still ends it: the
//! kernel forces those through any mask.

use super::{
    SuperviseError,
    stop::{StopRequests, StopSignal},
};
use nix::sys::{
    prctl,
    signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction},
    signalfd::{SfdFlags, SignalFd},
};
use std::{
    fmt, future, io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd},
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
    ptr,
    sync::atomic::{AtomicBool, Ordering},
};
use tokio::io::{Interest, unix::AsyncFd};

/// Rust's runtime sets SIGPIPE to "ignore" before `main`, so what we were started with is noted before that.
static SIGPIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

// SAFETY: the section holds pointers to functions of this signature, which the loader calls in turn, on the only
// thread; the function calls sigaction and stores into an atomic, neither of which needs Rust's runtime.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_RUNTIME: extern "C" fn() = note_sigpipe;

extern "C" fn note_sigpipe() {
    SIGPIPE_WAS_IGNORED.store(is_ignored(libc::SIGPIPE), Ordering::Relaxed);
}

fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action only asks; the old one is written to memory of its type, and all-zero is valid.
    unsafe {
        libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// What the agent was started with and has changed for itself; the command gets it back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inherited {
    mask: SigSet,
    sigpipe_ignored: bool,
    sigchld_ignored: bool,
}

impl Inherited {
    /// Puts mask and dispositions back; for the child, between fork and exec, as the last thing before exec.
    pub(super) fn restore(&self) -> io::Result<()> {
        set_disposition(Signal::SIGPIPE, self.sigpipe_ignored)?;
        set_disposition(Signal::SIGCHLD, self.sigchld_ignored)?;
        Ok(self.mask.thread_set_mask()?)
    }
}

fn set_disposition(signal: Signal, ignored: bool) -> io::Result<()> {
    let handler = if ignored { SigHandler::SigIgn } else { SigHandler::SigDfl };
    // SAFETY: neither handler is a function, so none can run in a context that it is not safe in.
    unsafe { sigaction(signal, &SigAction::new(handler, SaFlags::empty(), SigSet::empty())) }?;
    Ok(())
}

/// The process's signals, all blocked, with the agent as the reaper of its orphaned descendants.
///
/// Made first in `main`, before any thread: threads inherit the mask, and a thread without it would take signals
/// away. There should be one in a process.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    pub(super) inherited: Inherited,
    requests: StopRequests,
    witness: Option<Witness>,
}

/// Who is told first when the agent is told to end.
struct Witness(Box<dyn Fn(i32)>);

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Witness")
    }
}

impl Signals {
    /// Blocks every signal in the calling thread, makes the process a subreaper, and opens the descriptor.
    ///
    /// SIGCHLD is set to its default: had we been started with it ignored, the kernel would reap the command for us
    /// and its exit status would be lost.
    pub fn block() -> Result<Self, SuperviseError> {
        let setup = |action| move |errno: nix::Error| SuperviseError::Setup { action, source: errno.into() };
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK).map_err(setup("block signals"))?;
        let sigpipe_ignored = SIGPIPE_WAS_IGNORED.load(Ordering::Relaxed);
        let inherited = Inherited { mask, sigpipe_ignored, sigchld_ignored: is_ignored(libc::SIGCHLD) };
        set_disposition(Signal::SIGCHLD, false)
            .map_err(|source| SuperviseError::Setup { action: "listen to SIGCHLD", source })?;
        prctl::set_child_subreaper(true).map_err(setup("become a subreaper"))?;
        let fd = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(setup("open a signal descriptor"))?;
        Ok(Self { fd, inherited, requests: StopRequests::default(), witness: None })
    }

    /// From now on takes this signal, too, for one that asks the agent to end.
    pub fn end_on(&mut self, signal: StopSignal) {
        self.requests = StopRequests(Some(signal));
    }

    /// From now on tells of every signal that asks the agent to end, before anything else is done about it: what is
    /// called must not block. It stands in for whoever was told before.
    pub fn tell(&mut self, witness: impl Fn(i32) + 'static) {
        self.witness = Some(Witness(Box::new(witness)));
    }

    /// Tells nobody any more.
    pub fn tell_nobody(&mut self) {
        self.witness = None;
    }

    /// Completes with the signal's number when the agent is told to end: TERM, INT, QUIT, HUP, or what somebody named.
    ///
    /// For the time when no command runs: other signals are dropped, orphans are reaped. Needs a tokio runtime with
    /// I/O; may be dropped at any time without losing a signal.
    pub async fn terminated(&mut self) -> Result<i32, SuperviseError> {
        let listener = self.listen()?;
        loop {
            match listener.next().await {
                libc::SIGCHLD => while reap_any().is_some() {},
                signal if self.requests.contain(signal) => return Ok(signal),
                _ => {}
            }
        }
    }

    pub(super) fn listen(&self) -> Result<Listener<'_>, SuperviseError> {
        // SAFETY: the descriptor is borrowed from `self.fd`, which neither changes nor closes it while it is lent.
        let ready = unsafe { AsyncFd::register_with_interest(self.fd.as_fd(), Interest::READABLE) };
        ready
            .map(|ready| Listener { ready, signals: self })
            .map_err(|error| SuperviseError::Setup { action: "listen to signals", source: error.into() })
    }
}

/// Signals, one after another.
pub(super) struct Listener<'a> {
    ready: AsyncFd<BorrowedFd<'a>>,
    signals: &'a Signals,
}

impl Listener<'_> {
    /// The signals that ask the agent to end.
    pub(super) fn requests(&self) -> StopRequests {
        self.signals.requests
    }

    /// The next signal; it may be dropped while it waits without losing one.
    pub(super) async fn next(&self) -> i32 {
        loop {
            let Ok(mut ready) = self.ready.readable().await else {
                // The runtime is shutting down, and with it whoever waits for us.
                return future::pending().await;
            };
            match self.signals.fd.read_signal() {
                Ok(Some(info)) => {
                    let signal = info.ssi_signo as i32;
                    if let Some(Witness(tell)) =
                        self.signals.witness.as_ref().filter(|_| self.requests().contain(signal))
                    {
                        tell(signal);
                    }
                    return signal;
                }
                Ok(None) => ready.clear_ready(),
                Err(nix::Error::EINTR) => {}
                // A descriptor that is ours and open has no other error; if it had, waiting is better than spinning.
                Err(_) => ready.clear_ready(),
            }
        }
    }
}

/// Sends a signal to a process, or to a group by its negative number; real-time signals too.
pub(super) fn send(to: i32, signal: i32) -> nix::Result<()> {
    // SAFETY: kill takes two integers and touches none of our memory.
    nix::Error::result(unsafe { libc::kill(to, signal) }).map(drop)
}

/// Takes the status of one child that has ended, if there is one.
///
/// By hand because nix cannot express death by a real-time signal: it would take the status and then lose it.
pub(super) fn reap_any() -> Option<(i32, ExitStatus)> {
    let mut status = 0;
    loop {
        // SAFETY: the status is written to memory that is ours.
        match nix::Error::result(unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) }) {
            Ok(0) => return None,
            Ok(pid) => return Some((pid, ExitStatus::from_raw(status))),
            Err(nix::Error::EINTR) => {}
            Err(_) => return None,
        }
    }
}
