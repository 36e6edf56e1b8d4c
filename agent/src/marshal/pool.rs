//! Worker threads for one task at a time each, fed by the thread that started them.

use super::MarshalError;
use std::{
    collections::VecDeque,
    iter, mem,
    num::NonZeroUsize,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
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

/// Most tasks that wait: enough that the feeder runs seldom and long, instead of taking turns with the workers.
pub(crate) const WAITING: usize = 16;

/// The way of tasks to the workers.
#[derive(Debug)]
pub(crate) struct Feeder<'s, T> {
    queue: &'s Queue<T>,
}

impl<T> Feeder<'_, T> {
    /// Hands a task over; blocks while all workers have enough to do.
    pub(crate) fn send(&self, task: T) -> Result<(), Halt> {
        let mut line = self.queue.lock();
        if line.tasks.len() >= WAITING {
            let wait = |line: &mut Line<T>| line.tasks.len() > WAITING / 2 && !line.stopped;
            line = self.queue.room.wait_while(line, wait).unwrap_or_else(PoisonError::into_inner);
        }
        if line.stopped {
            return Err(Halt::Stopped);
        }
        line.tasks.push_back(task);
        if line.idle > 0 {
            self.queue.more.notify_one();
        }
        Ok(())
    }
}

/// Tasks between the feeder and the workers. Channels that spin before they sleep took a tenth of two cores.
#[derive(Debug)]
struct Queue<T> {
    line: Mutex<Line<T>>,
    /// There is a task, or never will be.
    more: Condvar,
    /// There is room, or nobody works any more.
    room: Condvar,
}

#[derive(Debug)]
struct Line<T> {
    tasks: VecDeque<T>,
    /// Workers that wait.
    idle: usize,
    /// No task comes any more.
    ended: bool,
    /// A worker failed.
    stopped: bool,
}

impl<T> Queue<T> {
    fn new() -> Self {
        let line = Line { tasks: VecDeque::with_capacity(WAITING), idle: 0, ended: false, stopped: false };
        Self { line: Mutex::new(line), more: Condvar::new(), room: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Line<T>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next task; none at the end, or once a worker failed.
    fn next(&self) -> Option<T> {
        let mut line = self.lock();
        while line.tasks.is_empty() && !line.ended && !line.stopped {
            line.idle += 1;
            line = self.more.wait(line).unwrap_or_else(PoisonError::into_inner);
            line.idle -= 1;
        }
        if line.stopped {
            return None;
        }
        let task = line.tasks.pop_front();
        if line.tasks.len() == WAITING / 2 {
            self.room.notify_one();
        }
        task
    }

    fn end(&self) {
        self.lock().ended = true;
        self.more.notify_all();
    }

    fn stop(&self) {
        let mut line = self.lock();
        line.stopped = true;
        // Somebody may wait for what is in them.
        let dropped = mem::take(&mut line.tasks);
        drop(line);
        drop(dropped);
        self.more.notify_all();
        self.room.notify_all();
    }
}

/// Lets nobody wait for a thread that panicked.
struct Unwinding<'s, T>(&'s Queue<T>);

impl<T> Drop for Unwinding<'_, T> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop();
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
    let queue = Queue::new();
    let first_error = Mutex::new(None);
    let fed = thread::scope(|scope| {
        let _guard = Unwinding(&queue);
        for _ in 0..threads.max(1) {
            let (queue, first_error, start, work) = (&queue, &first_error, &start, &work);
            scope.spawn(move || {
                let _guard = Unwinding(queue);
                let run = || {
                    let mut state = start()?;
                    iter::from_fn(|| queue.next()).try_for_each(|task| work(&mut state, task))
                };
                if let Err(error) = run() {
                    first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    queue.stop();
                }
            });
        }
        let fed = feed(&Feeder { queue: &queue });
        queue.end();
        fed
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
    use std::{
        panic,
        sync::atomic::{AtomicU64, Ordering::Relaxed},
    };

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
    fn an_error_drops_tasks_that_somebody_waits_for() {
        let (held, all_dropped) = std::sync::mpsc::channel::<()>();
        let work = |_: &mut (), _: std::sync::mpsc::Sender<()>| Err(occupied());
        let result = spread(
            1,
            || Ok(()),
            work,
            |feeder| {
                (0..WAITING).try_for_each(|_| feeder.send(held.clone()))?;
                drop(held);
                // Ends when the last task is gone.
                assert!(all_dropped.recv().is_err());
                Ok(())
            },
        );
        assert!(matches!(result, Err(MarshalError::Occupied { .. })));
    }

    #[test]
    fn a_panic_of_the_feeder_hangs_nobody() {
        let work = |_: &mut (), _: u64| Ok(());
        let feed = |feeder: &Feeder<'_, u64>| {
            feeder.send(1)?;
            panic!("on purpose")
        };
        let run = || spread::<_, _, ()>(2, || Ok(()), work, feed);
        assert!(panic::catch_unwind(run).is_err());
    }

    #[test]
    fn a_panic_of_a_worker_hangs_nobody() {
        let work = |_: &mut (), n: u64| if n == 10 { panic!("on purpose") } else { Ok(()) };
        let run = || spread(2, || Ok(()), work, |feeder| (1..).try_for_each(|n| feeder.send(n)));
        assert!(panic::catch_unwind(run).is_err());
    }
}
