//! Memory that may still be taken.

use super::cgroup::Group;
use std::{fs, path::Path};

/// What a group still allows, if it limits memory at all.
pub(super) fn left(group: &Group) -> Option<u64> {
    let number = |file: &str| group.read(file)?.trim().parse::<u64>().ok();
    let (limit, used, dropped) = match group {
        // "max" is no number, and means no limit.
        Group::V2(_) => (number("memory.max")?, number("memory.current")?, "inactive_file"),
        Group::V1(_) => (number("memory.limit_in_bytes")?, number("memory.usage_in_bytes")?, "total_inactive_file"),
    };
    // Version 1 says "no limit" by the largest multiple of a page.
    if limit >= 1 << 62 {
        return None;
    }
    let dropped = group.read("memory.stat").and_then(|stat| field(&stat, dropped)).unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(dropped)))
}

/// How many processes of a group the kernel has killed for lack of memory, since the group was made.
pub(super) fn kills(group: &Group) -> Option<u64> {
    let file = match group {
        Group::V2(_) => "memory.events",
        Group::V1(_) => "memory.oom_control",
    };
    field(&group.read(file)?, "oom_kill")
}

/// What the machine says is available.
pub(super) fn available(meminfo: &Path) -> Option<u64> {
    field(&fs::read_to_string(meminfo).ok()?, "MemAvailable:")?.checked_mul(1024)
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
