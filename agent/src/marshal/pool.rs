//! Worker threads for one task at a time each, fed by the thread that started them.

use super::MarshalError;
use crossbeam_channel::{Sender, bounded};
use std::{
    num::NonZeroUsize,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

/// How many threads the machine, or this process's share of it, runs at once.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Why feeding ended early.
#[derive(Debug)]
pub(crate) enum Halt {
    /// A worker failed, and its error is kept by the pool.
    Stopped,
    /// The feeder itself failed.
    Failed(MarshalError),
}

impl From<MarshalError> for Halt {
    fn from(error: MarshalError) -> Self {
        Self::Failed(error)
    }
}

/// The way of tasks to the workers.
#[derive(Debug)]
pub(crate) struct Feeder<'s, T> {
    tasks: Sender<T>,
    stop: &'s AtomicBool,
}

impl<T> Feeder<'_, T> {
    /// Hands a task over; blocks while all workers have enough to do.
    pub(crate) fn send(&self, task: T) -> Result<(), Halt> {
        if self.stop.load(Relaxed) {
            return Err(Halt::Stopped);
        }
        self.tasks.send(task).map_err(|_| Halt::Stopped)
    }
}

struct StopOnPanic<'s>(&'s AtomicBool);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Relaxed);
        }
    }
}

/// Runs `feed` here and `work` on `threads` threads, each with a state of its own that `start` makes.
///
/// The first error ends all: tasks that are not begun are dropped. A panic of a worker ends all, too, and is passed on.
pub(crate) fn spread<T: Send, S, R>(
    threads: usize,
    start: impl Fn() -> Result<S, MarshalError> + Sync,
    work: impl Fn(&mut S, T) -> Result<(), MarshalError> + Sync,
    feed: impl FnOnce(&Feeder<'_, T>) -> Result<R, Halt>,
) -> Result<R, MarshalError> {
    let threads = threads.max(1);
    let stop = AtomicBool::new(false);
    let first_error = Mutex::new(None);
    let fed = thread::scope(|scope| {
        let (sender, tasks) = bounded::<T>(threads);
        for _ in 0..threads {
            let (tasks, stop, first_error, start, work) = (tasks.clone(), &stop, &first_error, &start, &work);
            scope.spawn(move || {
                let _guard = StopOnPanic(stop);
                let run = || {
                    let mut state = start()?;
                    // Tasks are received to the end even after a failure: the feeder must never block for good.
                    tasks.iter().filter(|_| !stop.load(Relaxed)).try_for_each(|task| work(&mut state, task))
                };
                if let Err(error) = run() {
                    first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    stop.store(true, Relaxed);
                    tasks.iter().for_each(drop);
                }
            });
        }
        drop(tasks);
        feed(&Feeder { tasks: sender, stop: &stop })
    });
    match (first_error.into_inner().unwrap_or_else(PoisonError::into_inner), fed) {
        (Some(error), _) | (None, Err(Halt::Failed(error))) => Err(error),
        (None, Ok(result)) => Ok(result),
        (None, Err(Halt::Stopped)) => unreachable!("workers stop on an error or on a panic, which the scope passes on"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{panic, sync::atomic::AtomicU64};

    fn occupied() -> MarshalError {
        MarshalError::Occupied { path: "x".into() }
    }

    #[test]
    fn every_task_runs_once() {
        let sum = AtomicU64::new(0);
        let work = |_: &mut (), n: u64| {
            sum.fetch_add(n, Relaxed);
            Ok(())
        };
        spread(3, || Ok(()), work, |feeder| (1..=1000).try_for_each(|n| feeder.send(n))).unwrap();
        assert_eq!(sum.into_inner(), 500_500);
    }

    #[test]
    fn the_first_error_ends_all() {
        let work = |_: &mut (), n: u64| if n == 10 { Err(occupied()) } else { Ok(()) };
        let result = spread(2, || Ok(()), work, |feeder| (1..).try_for_each(|n| feeder.send(n)));
        assert!(matches!(result, Err(MarshalError::Occupied { .. })));
    }

    #[test]
    fn a_panic_of_a_worker_hangs_nobody() {
        let work = |_: &mut (), n: u64| if n == 10 { panic!("on purpose") } else { Ok(()) };
        let run = || spread(2, || Ok(()), work, |feeder| (1..).try_for_each(|n| feeder.send(n)));
        assert!(panic::catch_unwind(run).is_err());
    }
}
