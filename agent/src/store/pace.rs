//! How fast a medium takes long objects, noticed while they are written.

use std::{
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
    time::{Duration, Instant},
};

/// Stretches that are timed, where there are as many: what the medium does once, such as waking up, need not decide.
const ENOUGH: u32 = 3;

/// The fastest of the first stretches that a medium took.
#[derive(Debug, Default)]
pub(super) struct Pace {
    fastest: AtomicU64,
    stretches: AtomicU32,
}

impl Pace {
    /// Whether another stretch is worth being timed.
    pub(super) fn is_wanted(&self) -> bool {
        self.stretches.load(Relaxed) < ENOUGH
    }

    /// A stretch of so many bytes was taken in this time, in which the medium had nothing to wait for.
    pub(super) fn took(&self, bytes: u64, time: Duration) {
        let rate = bytes as f64 / time.max(Duration::from_nanos(1)).as_secs_f64();
        self.fastest.fetch_max(rate as u64, AcqRel);
        self.stretches.fetch_add(1, AcqRel);
    }

    /// Bytes a second, once a stretch was timed.
    pub(super) fn rate(&self) -> Option<u64> {
        (self.stretches.load(Acquire) > 0).then(|| self.fastest.load(Acquire))
    }
}

/// Parts that are counted together: they leave and arrive in bursts of as many as are on their way.
const TOGETHER: u64 = 8;

/// The time in which as many parts were on their way as may be: then the medium decides how long they take.
#[derive(Debug, Default)]
pub(super) struct Full(Option<Counted>);

#[derive(Debug)]
struct Counted {
    since: Instant,
    waited: Duration,
    parts: u64,
}

impl Full {
    /// A part has arrived, for which its sender waited from `asked` on, and another one is on its way in its place.
    /// Tells from time to time how many parts arrived in which time; not where hardly anybody waited: then the medium is
    /// faster than what comes, and nobody knows how much.
    pub(super) fn arrived(&mut self, asked: Instant, now: Instant) -> Option<(u64, Duration)> {
        let Some(counted) = &mut self.0 else {
            self.0 = Some(Counted { since: now, waited: Duration::ZERO, parts: 0 });
            return None;
        };
        counted.waited += now.saturating_duration_since(asked);
        counted.parts += 1;
        if counted.parts < TOGETHER {
            return None;
        }
        let Counted { since, waited, parts } = self.0.take()?;
        let time = now.saturating_duration_since(since);
        (waited * 4 > time).then_some((parts, time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_count_where_their_sender_had_to_wait() {
        let began = Instant::now();
        let at = |millis: u64| began + Duration::from_millis(millis);
        // One each 10 ms, for which the sender waited so long; what it did before the first is not the medium's time.
        let told = |waited: u64| {
            let mut full = Full::default();
            (1..=9).filter_map(|n| full.arrived(at(500 + n * 10 - waited), at(500 + n * 10))).collect::<Vec<_>>()
        };
        assert_eq!(told(9), [(8, Duration::from_millis(80))]);
        assert_eq!(told(3), [(8, Duration::from_millis(80))]);
        assert_eq!(told(2), []);
    }

    #[test]
    fn the_fastest_of_three_counts() {
        let pace = Pace::default();
        assert_eq!((pace.rate(), pace.is_wanted()), (None, true));
        for (millis, rate, wanted) in [(40, 200, true), (10, 800, true), (20, 800, false)] {
            pace.took(8_000_000, Duration::from_millis(millis));
            assert_eq!((pace.rate(), pace.is_wanted()), (Some(rate * 1_000_000), wanted));
        }
        // A medium that takes no time at all has a rate, too.
        pace.took(1, Duration::ZERO);
        assert!(pace.rate() > Some(900_000_000));
    }
}
