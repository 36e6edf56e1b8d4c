//! Processors that may be used.

use super::cgroup::Group;
use nix::{
    sched::{CpuSet, sched_getaffinity},
    unistd::Pid,
};
use std::num::NonZeroUsize;

/// A group's quota in whole processors, rounded up: half a processor is still one thread.
pub(super) fn quota(group: &Group) -> Option<NonZeroUsize> {
    let (quota, period) = match group {
        Group::V2(_) => {
            let text = group.read("cpu.max")?;
            let mut words = text.split_whitespace();
            (words.next()?.parse::<u64>().ok()?, words.next()?.parse::<u64>().ok()?)
        }
        // A quota of -1 is no number of this type, and means none.
        Group::V1(_) => {
            let number = |file: &str| group.read(file)?.trim().parse::<u64>().ok();
            (number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
        }
    };
    if period == 0 {
        return None;
    }
    let whole = usize::try_from(quota.div_ceil(period)).unwrap_or(usize::MAX);
    Some(NonZeroUsize::new(whole).unwrap_or(NonZeroUsize::MIN))
}

/// How many processors the scheduler may use for this process.
pub(super) fn affinity() -> Option<NonZeroUsize> {
    let set = sched_getaffinity(Pid::from_raw(0)).ok()?;
    let count = (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).count();
    NonZeroUsize::new(count)
}
