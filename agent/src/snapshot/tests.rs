use super::*;
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, fork, pause},
};

/// A child that sleeps, with the memory that we have now.
#[expect(unsafe_code, reason = "forks")]
fn forked() -> Pid {
    // SAFETY: the child does nothing but sleep.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => loop {
            pause();
        },
    }
}

fn us() -> i32 {
    Pid::this().as_raw()
}

#[test]
fn it_has_what_was_there_when_it_was_made_and_ends_when_it_is_dropped() {
    let mut content = vec![1_u8; 3 << 20];
    let pid = forked();
    content.fill(2);
    let snapshot = Snapshot::open(pid.as_raw(), us()).unwrap();
    let start = content.as_ptr() as u64;
    assert!(snapshot.has([start..start + content.len() as u64, start + 5..start + 6].into_iter()).unwrap());
    assert!(snapshot.own_bytes().unwrap() >= content.len() as u64);
    let mut read = vec![0; content.len()];
    snapshot.read_exact_at(&mut read, start).unwrap();
    assert!(read.iter().all(|byte| *byte == 1));
    // Where the call is forbidden.
    snapshot.by_file.store(true, Relaxed);
    read.fill(0);
    snapshot.read_exact_at(&mut read, start).unwrap();
    assert!(read.iter().all(|byte| *byte == 1));
    snapshot.check_alive().unwrap();
    drop(snapshot);
    assert!(matches!(waitpid(pid, None).unwrap(), WaitStatus::Signaled(_, Signal::SIGKILL, _)));
}

#[test]
fn memory_of_files_and_memory_that_is_not_there_are_told_apart() {
    let pid = forked();
    let snapshot = Snapshot::open(pid.as_raw(), us()).unwrap();
    // Our own program lies in memory as a file's.
    let code = forked as fn() -> Pid as usize as u64;
    assert!(!snapshot.has(std::iter::once(code..code + 1)).unwrap());
    assert!(!snapshot.has(std::iter::once(8..16)).unwrap());
    let stack = 0_u8;
    let stack = &raw const stack as u64;
    assert!(snapshot.has(std::iter::once(stack..stack + 1)).unwrap());
    assert!(!snapshot.has(std::iter::once(stack..u64::MAX)).unwrap());
    assert!(snapshot.read_exact_at(&mut [0; 8], 8).is_err());
    drop(snapshot);
    waitpid(pid, None).unwrap();
}

#[test]
fn whoever_is_no_child_is_left_alone_and_one_that_ended_is_known() {
    let pid = forked();
    assert!(Snapshot::open(pid.as_raw(), 1).is_err());
    assert!(Snapshot::open(us(), us()).is_err());
    let snapshot = Snapshot::open(pid.as_raw(), us()).unwrap();
    kill(pid, Signal::SIGKILL).unwrap();
    waitpid(pid, None).unwrap();
    assert!(snapshot.check_alive().is_err());
    assert!(snapshot.read_exact_at(&mut [0], 0).is_err());
    snapshot.by_file.store(true, Relaxed);
    assert!(snapshot.read_exact_at(&mut [0], &raw const pid as u64).is_err());
    assert!(Snapshot::open(pid.as_raw(), us()).is_err());
}

#[test]
fn lines_of_maps_are_read() {
    let anonymous = "7f0a-7f0c rw-p 00000000 00:00 0                          [heap]";
    assert_eq!(own(anonymous), Some(0x7f0a..0x7f0c));
    assert_eq!(own("7f0a-7f0c rw-p 00000000 00:00 0 "), Some(0x7f0a..0x7f0c));
    for line in [
        "7f0a-7f0c rw-s 00000000 00:00 0",
        "7f0a-7f0c ---p 00000000 00:00 0",
        "7f0a-7f0c r--p 00000000 fe:00 1234      /usr/lib/x",
        "7f0a-7f0c rw-p",
        "",
    ] {
        assert_eq!(own(line), None, "{line}");
    }
}
