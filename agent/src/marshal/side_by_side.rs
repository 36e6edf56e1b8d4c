//! A few things at once: the first and last moments of one, which keep few cores busy, fall into the middle of another.

use crate::store::Transport;
use std::{
    panic::resume_unwind,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
};

/// How many go on at once where each uses all cores; each takes the memory for that.
const AT_ONCE: usize = 2;
/// What is at most so long is short: one thread alone is done with it before anybody would wait for that.
const SHORT_BYTES: u64 = 32 << 20;
/// Of so many for each thread, the last ones, which not all threads have a part in, take little of the time.
const MANY: usize = 4;

/// How threads are shared by things of which some go on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// How many go on at once.
    pub at_once: usize,
    /// How many threads each of these has.
    pub threads: usize,
}

impl Sharing {
    /// For things of these lengths, in bytes.
    ///
    /// Two at once have all threads each. Of many that are all short, as many as there are threads go on at once, with
    /// one each: nothing is handed from thread to thread then, and no two wait for their turn to write to a file. Not
    /// where they come from a bucket, which answers more requests at once than there are cores.
    pub fn of(lengths: impl IntoIterator<Item = u64>, threads: usize, transport: &dyn Transport) -> Self {
        let (mut count, mut longest) = (0, 0);
        for bytes in lengths {
            count += 1;
            longest = longest.max(bytes);
        }
        if longest <= SHORT_BYTES && count >= MANY * threads && transport.has_files() {
            Self { at_once: threads, threads: 1 }
        } else {
            Self { at_once: AT_ONCE, threads }
        }
    }

    /// Does `one` for each of `all`, some at once and begun in order, and returns what they gave, or the first error in
    /// order: after an error none is begun.
    pub fn each<T: Sync, R: Send, E: Send>(
        self,
        all: &[T],
        one: impl Fn(&T) -> Result<R, E> + Sync,
    ) -> Result<Vec<R>, E> {
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let work = || {
            let mut done = Vec::new();
            while !failed.load(Relaxed) {
                let at = next.fetch_add(1, Relaxed);
                let Some(item) = all.get(at) else { break };
                let result = one(item);
                failed.fetch_or(result.is_err(), Relaxed);
                done.push((at, result));
            }
            done
        };
        let mut done = thread::scope(|scope| {
            let others: Vec<_> = (1..self.at_once.min(all.len())).map(|_| scope.spawn(work)).collect();
            let mut done = work();
            for other in others {
                done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            done
        });
        done.sort_by_key(|(at, _)| *at);
        done.into_iter().map(|(_, result)| result).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Memory, Volume};
    use std::sync::Barrier;

    const TWO: Sharing = Sharing { at_once: 2, threads: 1 };

    #[test]
    fn results_are_in_order_and_the_first_error_counts() {
        let all: Vec<u32> = (0..100).collect();
        let twice = TWO.each::<_, _, ()>(&all, |n| Ok(n * 2)).unwrap();
        assert_eq!(twice, all.iter().map(|n| n * 2).collect::<Vec<_>>());
        assert_eq!(TWO.each::<u32, u32, ()>(&[], |_| unreachable!()).unwrap(), Vec::<u32>::new());
        let begun = AtomicUsize::new(0);
        let failing = |n: &u32| {
            begun.fetch_add(1, Relaxed);
            if *n < 10 { Ok(*n) } else { Err(*n) }
        };
        assert_eq!(TWO.each(&all, failing), Err(10));
        assert!(begun.into_inner() <= 10 + TWO.at_once);
    }

    #[test]
    fn as_many_as_are_wanted_are_under_way_at_once() {
        for at_once in 1..4 {
            // Fewer would wait here for ever.
            let all = Barrier::new(at_once);
            let wait = |_: &()| {
                all.wait();
                Ok::<_, ()>(())
            };
            Sharing { at_once, threads: 1 }.each(&vec![(); at_once], wait).unwrap();
        }
    }

    #[test]
    fn many_short_ones_have_a_thread_each() {
        let dir = tempfile::tempdir().unwrap();
        let volume = Volume::open(dir.path()).unwrap();
        let shared = |count: usize, bytes: u64, threads| Sharing::of(vec![bytes; count], threads, &volume);
        assert_eq!(shared(64, 16 << 20, 2), Sharing { at_once: 2, threads: 1 });
        assert_eq!(shared(64, 16 << 20, 8), Sharing { at_once: 8, threads: 1 });
        assert_eq!(shared(64, 16 << 20, 1), Sharing { at_once: 1, threads: 1 });
        assert_eq!(shared(7, 16 << 20, 2), Sharing { at_once: 2, threads: 2 }, "too few");
        assert_eq!(shared(64, 33 << 20, 2), Sharing { at_once: 2, threads: 2 }, "too long");
        let one_is_long = [1, 1, 1, 1, 1, 1, 1, 1 << 30];
        assert_eq!(Sharing::of(one_is_long, 2, &volume), Sharing { at_once: 2, threads: 2 });
        assert_eq!(Sharing::of([], 2, &volume), Sharing { at_once: 2, threads: 2 });
        let from_afar = Sharing::of([1; 64], 2, &Memory::default());
        assert_eq!(from_afar, Sharing { at_once: 2, threads: 2 });
    }
}
