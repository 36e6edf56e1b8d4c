//! Control groups of their own, of both versions: what a container's memory limit is made of.

use crate::skip::skip;
use std::{
    fs, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

/// A group with a limit on memory; removed when dropped.
#[derive(Debug)]
pub struct Group(PathBuf);

impl Group {
    /// Makes a group for a test; `None`, counted as skipped, where that is not allowed.
    pub fn limited(test: &str, memory_bytes: u64) -> Option<Self> {
        match make(memory_bytes) {
            Ok(group) => Some(group),
            Err(error) => {
                skip(test, &format!("no control group can be made: {error}"));
                None
            }
        }
    }

    /// Starts a command in the group.
    pub fn enter<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let door = self.0.join("cgroup.procs");
        // SAFETY: between fork and exec, it opens, writes and closes a file, and allocates only for its path, which no
        // other thread of this child can hold a lock against.
        unsafe { command.pre_exec(move || fs::write(&door, "0")) }
    }

    /// How many of its processes were killed for want of memory.
    pub fn times_killed(&self) -> u64 {
        let text =
            ["memory.oom_control", "memory.events"].iter().find_map(|name| fs::read_to_string(self.0.join(name)).ok());
        let text = text.unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }
}

fn make(memory_bytes: u64) -> io::Result<Group> {
    let (root, limit) = match Path::new("/sys/fs/cgroup/memory") {
        first if first.is_dir() => (first, "memory.limit_in_bytes"),
        _ => (Path::new("/sys/fs/cgroup"), "memory.max"),
    };
    let path = root.join(format!("kale-test-{}-{memory_bytes}", std::process::id()));
    fs::create_dir(&path)?;
    let group = Group(path);
    fs::write(group.0.join(limit), memory_bytes.to_string())?;
    Ok(group)
}

impl Drop for Group {
    fn drop(&mut self) {
        // A group whose processes have ended can be removed; one that cannot is empty and harmless.
        let _ = fs::remove_dir(&self.0);
    }
}
