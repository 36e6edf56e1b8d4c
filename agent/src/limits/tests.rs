use super::Limits;
use std::{fs, num::NonZeroUsize, path::Path};
use tempfile::TempDir;

fn sample(own: &str, files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "self", own);
    for (path, text) in files {
        write(folder.path(), path, text);
    }
    folder
}

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn left(folder: &TempDir) -> Option<u64> {
    Limits::at(folder.path()).memory_left()
}

fn threads(folder: &TempDir) -> usize {
    Limits::at(folder.path()).threads(NonZeroUsize::new(16).unwrap()).get()
}

const MEMINFO: (&str, &str) = ("meminfo", "MemTotal:       16 kB\nMemFree: 1 kB\nMemAvailable:    8000 kB\n");

#[test]
fn version_2_the_smallest_of_nested_groups() {
    let folder = sample(
        "0::/pod/box\n",
        &[
            ("cgroup/pod/box/memory.max", "max\n"),
            ("cgroup/pod/box/memory.current", "5\n"),
            ("cgroup/pod/memory.max", "1000000\n"),
            ("cgroup/pod/memory.current", "700000\n"),
            ("cgroup/pod/memory.stat", "anon 1\ninactive_file 200000\nactive_file 9\n"),
            ("cgroup/pod/box/cpu.max", "250000 100000\n"),
            ("cgroup/pod/cpu.max", "max 100000\n"),
            MEMINFO,
        ],
    );
    assert_eq!(left(&folder), Some(500_000));
    assert_eq!(threads(&folder), 3);
    write(folder.path(), "cgroup/pod/cpu.max", "50000 100000\n");
    assert_eq!(threads(&folder), 1);
    write(folder.path(), "cgroup/pod/memory.max", "600000\n");
    assert_eq!(left(&folder), Some(100_000));
    write(folder.path(), "cgroup/pod/memory.max", "400000\n");
    assert_eq!(left(&folder), Some(0));
}

#[test]
fn version_2_whose_path_is_of_the_host() {
    let folder = sample(
        "0::/kubepods/pod1/abc\n",
        &[("cgroup/memory.max", "3000\n"), ("cgroup/memory.current", "1000\n"), MEMINFO],
    );
    assert_eq!(left(&folder), Some(2000));
}

#[test]
fn version_1_with_and_without_limits() {
    let folder = sample(
        "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/elsewhere\n",
        &[
            ("cgroup/memory/docker/abc/memory.limit_in_bytes", "5000\n"),
            ("cgroup/memory/docker/abc/memory.usage_in_bytes", "2000\n"),
            ("cgroup/memory/docker/abc/memory.stat", "inactive_file 1\ntotal_inactive_file 500\n"),
            ("cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("cgroup/memory/memory.usage_in_bytes", "9000\n"),
            ("cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "150000\n"),
            ("cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n"),
            ("cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            MEMINFO,
        ],
    );
    assert_eq!(left(&folder), Some(3500));
    assert_eq!(threads(&folder), 2);
}

#[test]
fn without_a_limit_what_the_machine_has() {
    let folder = sample("0::/\n", &[("cgroup/cgroup.procs", "1\n"), MEMINFO]);
    assert_eq!(left(&folder), Some(8000 << 10));
    assert_eq!(threads(&folder), 16);
    let nothing = tempfile::tempdir().unwrap();
    assert_eq!(left(&nothing), None);
    assert_eq!(threads(&nothing), 16);
}

#[test]
fn the_budget_is_half_of_what_is_left_and_has_an_end() {
    let with = |limit: &str| {
        let group = [("cgroup/pod/memory.max", limit), ("cgroup/pod/memory.current", "0\n")];
        let folder = sample("0::/pod\n", &group);
        Limits::at(folder.path()).budget()
    };
    assert_eq!(with("67108864\n"), 32 << 20);
    assert_eq!(with("1073741824\n"), super::MOST);
    assert_eq!(with("max\n"), super::MOST);
    let threads = [0, 32 << 20, 64 << 20, 192 << 20].map(|bytes| super::threads_within(bytes).get());
    assert_eq!(threads, [1, 1, 4, 16]);
}

#[test]
fn kills_are_those_of_the_own_group() {
    let kills = |folder: &TempDir| Limits::at(folder.path()).oom_kills();
    let second = [
        ("cgroup/pod/box/memory.events", "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0\n"),
        ("cgroup/pod/memory.events", "oom_kill 9\n"),
    ];
    assert_eq!(kills(&sample("0::/pod/box\n", &second)), Some(2));
    let first = [("cgroup/memory/box/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n")];
    assert_eq!(kills(&sample("5:memory:/box\n", &first)), Some(4));
    assert_eq!(kills(&sample("0::/pod/box\n", &[MEMINFO])), None);
}
