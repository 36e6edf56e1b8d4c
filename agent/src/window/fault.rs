//! Faults of maps as answers: a SIGBUS within a guarded stretch puts a page of zeros there, and is told of.
//!
//! The supervisor reads all signals from a descriptor, SIGBUS included, and so blocks it in every thread; a fault
//! while it is blocked would end the process. It is unblocked for the time of a look. One that somebody sent, and that
//! this thread takes from the descriptor thereby, is sent once more, with the signal blocked again.

use nix::{
    sys::signal::{SigSet, SigmaskHow, Signal},
    unistd::{SysconfVar, sysconf},
};
use std::{
    mem::MaybeUninit,
    ops::Range,
    ptr,
    sync::{
        OnceLock,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
            compiler_fence,
        },
    },
};

/// What this thread is looking at.
struct Guard {
    start: AtomicUsize,
    end: AtomicUsize,
    faulted: AtomicBool,
    /// Whether the signal is blocked while nothing is looked at: then somebody reads it from a descriptor.
    is_read: AtomicBool,
}

thread_local! {
    static GUARD: Guard = const {
        Guard {
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            faulted: AtomicBool::new(false),
            is_read: AtomicBool::new(false),
        }
    };
}

/// Length of a page of this system, once faults are caught.
static PAGE: AtomicUsize = AtomicUsize::new(0);

/// What was done about faults before; none where nothing could be set, or faults are ignored, as a child would be, too.
static BEFORE: OnceLock<Option<libc::sigaction>> = OnceLock::new();

/// Whether faults are caught, from the first call on.
pub(super) fn is_caught() -> bool {
    BEFORE.get_or_init(catch).is_some()
}

/// Length of a page, in bytes: 4096, or up to 65,536 on ARM. Known once faults are caught.
pub(super) fn page() -> usize {
    PAGE.load(Relaxed)
}

#[expect(unsafe_code, reason = "a handler of signals that knows the address of a fault has no safe wrapper")]
fn catch() -> Option<libc::sigaction> {
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten()?;
    PAGE.store(usize::try_from(page).ok()?, Relaxed);
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = fault;
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all-zero is a valid action; both are of the type that the call wants. The handler makes system calls and
    // touches atomics alone.
    unsafe {
        if libc::sigaction(libc::SIGBUS, ptr::null(), before.as_mut_ptr()) != 0
            || before.assume_init_ref().sa_sigaction == libc::SIG_IGN
        {
            return None;
        }
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        libc::sigemptyset(&raw mut action.sa_mask);
        (libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) == 0).then(|| before.assume_init())
    }
}

/// Runs `look`, which reads addresses of the stretch; `None` where any of them could not be read.
pub(super) fn guarded<T>(stretch: Range<usize>, look: impl FnOnce() -> T) -> Option<T> {
    let _unblocked = Unblocked::new();
    GUARD.with(|guard| {
        guard.faulted.store(false, Relaxed);
        guard.start.store(stretch.start, Relaxed);
        guard.end.store(stretch.end, Relaxed);
        compiler_fence(SeqCst);
        let found = look();
        compiler_fence(SeqCst);
        (!guard.faulted.load(Relaxed)).then_some(found)
    })
}

/// SIGBUS reaches this thread until this is dropped.
struct Unblocked(Option<SigSet>);

impl Unblocked {
    fn new() -> Self {
        let mut bus = SigSet::empty();
        bus.add(Signal::SIGBUS);
        let before = bus.thread_swap_mask(SigmaskHow::SIG_UNBLOCK).ok();
        let is_read = before.as_ref().is_some_and(|mask| mask.contains(Signal::SIGBUS));
        GUARD.with(|guard| guard.is_read.store(is_read, Relaxed));
        Self(before)
    }
}

impl Drop for Unblocked {
    fn drop(&mut self) {
        GUARD.with(|guard| guard.end.store(0, Relaxed));
        if let Some(before) = &self.0 {
            // It was valid before.
            let _ = before.thread_set_mask();
        }
    }
}

/// What the system does with a SIGBUS in a thread that looks.
#[expect(unsafe_code, reason = "it is called by the kernel, with pointers")]
extern "C" fn fault(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands over memory of these types that is alive until this returns.
    let (code, address, context) =
        unsafe { ((*info).si_code, (*info).si_addr().addr(), &mut *context.cast::<libc::ucontext_t>()) };
    GUARD.with(|guard| {
        let seen = guard.start.load(Relaxed)..guard.end.load(Relaxed);
        if code > 0 && seen.contains(&address) {
            let at = ptr::with_exposed_provenance_mut(address & !(page() - 1));
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            // SAFETY: the page lies in a map of a window, of which nobody trusts the content once this is told.
            if unsafe { libc::mmap(at, page(), libc::PROT_READ, flags, -1, 0) } != libc::MAP_FAILED {
                guard.faulted.store(true, Relaxed);
                return;
            }
        }
        // SAFETY: these calls may be made in a handler, and take numbers and memory of their types alone.
        unsafe {
            if code <= 0 && guard.is_read.load(Relaxed) {
                libc::sigaddset(&raw mut context.uc_sigmask, signal);
            } else if let Some(Some(before)) = BEFORE.get() {
                // A fault comes again when this returns, and finds what was done about it before.
                libc::sigaction(signal, &raw const *before, ptr::null_mut());
            }
            if code <= 0 {
                libc::kill(libc::getpid(), signal);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::{
        sys::{
            signal::raise,
            signalfd::{SfdFlags, SignalFd},
            wait::{WaitStatus, waitpid},
        },
        unistd::{ForkResult, fork},
    };

    #[test]
    #[expect(unsafe_code, reason = "a process of one thread, as no test is")]
    fn one_that_is_sent_while_something_is_looked_at_reaches_who_reads_signals() {
        assert!(is_caught());
        let mut bus = SigSet::empty();
        bus.add(Signal::SIGBUS);
        let fd = SignalFd::with_flags(&bus, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).unwrap();
        bus.thread_block().unwrap();
        // SAFETY: the child makes system calls and touches what was made before, and ends without cleaning up.
        let child = match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                let sent = guarded(0..1, || raise(Signal::SIGBUS).is_ok());
                let read = fd.read_signal().ok().flatten().map(|info| info.ssi_signo);
                let passed = sent == Some(true) && read == Some(Signal::SIGBUS as u32);
                // SAFETY: it takes a number.
                unsafe { libc::_exit(i32::from(!passed)) }
            }
        };
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
    }
}
