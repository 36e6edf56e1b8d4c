//! What the container allows: memory and processors, from control groups of both versions.
//!
//! A limit may stand in any group above the process's own, so all of them are asked and the smallest answer counts. What
//! cannot be read limits nothing: outside of Linux containers there is often nothing to read.

mod cgroup;
mod cpu;
mod memory;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    thread,
};

/// Never is more taken than this, whatever there is: with the binary itself that is less than 256 MiB.
const MOST: u64 = 192 << 20;
/// What moving data takes besides its threads: the tables of one save, and two buffers more.
const FIXED: u64 = 24 << 20;
/// What each thread takes: two buffers with room for their frames, and the codec's tables.
const A_THREAD: u64 = 10 << 20;

/// The places that tell of limits.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Where control groups are mounted.
    groups: PathBuf,
    /// Which groups this process is in.
    own: PathBuf,
    /// How much memory the machine has.
    meminfo: PathBuf,
}

impl Default for Limits {
    fn default() -> Self {
        Self { groups: "/sys/fs/cgroup".into(), own: "/proc/self/cgroup".into(), meminfo: "/proc/meminfo".into() }
    }
}

impl Limits {
    /// The same places below a folder: `cgroup/`, `self` and `meminfo`.
    pub fn at(folder: &Path) -> Self {
        Self { groups: folder.join("cgroup"), own: folder.join("self"), meminfo: folder.join("meminfo") }
    }

    /// How many bytes may still be taken; `None` where nothing says so.
    ///
    /// Files that were read and can be dropped count as free: the kernel drops them before it refuses anything.
    pub fn memory_left(&self) -> Option<u64> {
        let groups = cgroup::groups(&self.groups, &self.own, "memory");
        let limits = groups.iter().filter_map(memory::left);
        limits.chain(memory::available(&self.meminfo)).min()
    }

    /// How many processes of this process's own group the kernel has killed for lack of memory, whoever's limit it was;
    /// `None` where nothing counts them.
    pub fn oom_kills(&self) -> Option<u64> {
        cgroup::groups(&self.groups, &self.own, "memory").iter().find_map(memory::kills)
    }

    /// How many bytes all buffers and tables of one save or restore may take together: half of what is left, so that the
    /// step and the page cache have the other half, and never more than 192 MiB.
    pub fn budget(&self) -> u64 {
        self.memory_left().map_or(MOST, |left| MOST.min(left / 2))
    }

    /// How many threads can run at once: the quota of the groups, rounded up, and never more than `cores`.
    pub fn threads(&self, cores: NonZeroUsize) -> NonZeroUsize {
        let groups = cgroup::groups(&self.groups, &self.own, "cpu");
        groups.iter().filter_map(cpu::quota).fold(cores, NonZeroUsize::min)
    }
}

/// How many threads to use where nothing else is said: as many as can run at once here, and as the memory that is left
/// has room for.
pub fn threads() -> NonZeroUsize {
    let limits = Limits::default();
    let cores = cpu::affinity().or_else(|| thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
    limits.threads(cores).min(threads_within(limits.budget()))
}

/// How many threads have room in a budget, at least one.
fn threads_within(budget: u64) -> NonZeroUsize {
    let room = budget.saturating_sub(FIXED) / A_THREAD;
    NonZeroUsize::new(usize::try_from(room).unwrap_or(usize::MAX)).unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests;
