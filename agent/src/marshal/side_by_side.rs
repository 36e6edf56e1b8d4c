//! A few things at once: the first and last moments of one, which keep few cores busy, fall into the middle of another.

use std::{
    panic::resume_unwind,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
};

/// How many go on at once. Each may use all cores, and takes the memory for that.
const AT_ONCE: usize = 2;

/// Does `one` for each of `all`, a few at once and begun in order, and returns what they gave, or the first error in
/// order: after an error none is begun.
pub fn side_by_side<T: Sync, R: Send, E: Send>(
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
        let others: Vec<_> = (1..AT_ONCE.min(all.len())).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn results_are_in_order_and_the_first_error_counts() {
        let all: Vec<u32> = (0..100).collect();
        let twice = side_by_side::<_, _, ()>(&all, |n| Ok(n * 2)).unwrap();
        assert_eq!(twice, all.iter().map(|n| n * 2).collect::<Vec<_>>());
        assert_eq!(side_by_side::<u32, u32, ()>(&[], |_| unreachable!()).unwrap(), Vec::<u32>::new());
        let begun = AtomicUsize::new(0);
        let failing = |n: &u32| {
            begun.fetch_add(1, Relaxed);
            if *n < 10 { Ok(*n) } else { Err(*n) }
        };
        assert_eq!(side_by_side(&all, failing), Err(10));
        assert!(begun.into_inner() <= 10 + AT_ONCE);
    }

    #[test]
    fn two_are_under_way_at_once() {
        // One after the other would wait here for ever.
        let both = Barrier::new(AT_ONCE);
        side_by_side::<_, _, ()>(&[(); AT_ONCE], |()| {
            both.wait();
            Ok(())
        })
        .unwrap();
    }
}
