//! Restoring by clones, on a file system that shares blocks between files: fast, verified, and the step's own.

use kale_tests::{
    sandbox::{Sandbox, Told},
    volume::{self, Mounted},
};
use std::{
    fs,
    os::unix::fs::{FileExt, MetadataExt},
    path::PathBuf,
    process::Command,
};

/// A sandbox whose store and folder lie on a file system that shares blocks.
struct Place {
    // Unmounted before the sandbox is removed.
    mounted: Mounted,
    sandbox: Sandbox,
}

impl Place {
    fn new(test: &str) -> Option<Self> {
        let sandbox = Sandbox::without_store();
        let mounted = volume::sharing(test, &sandbox.path("disk"))?;
        let place = Self { mounted, sandbox };
        assert_eq!(place.call(["init", "store"]).status, 0);
        Some(place)
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.mounted.path().join(relative)
    }

    fn agent(&self) -> Command {
        let mut command = self.sandbox.agent();
        command
            .current_dir(self.mounted.path())
            .env("KALE_STORE", self.path("store"))
            .env("TMPDIR", self.mounted.path())
            .env("KALE_DIR", self.path("kale"));
        command
    }

    fn call<const N: usize>(&self, arguments: [&str; N]) -> Told {
        Told::of(&self.agent().args(arguments).output().expect("the agent starts"))
    }

    fn ok<const N: usize>(&self, arguments: [&str; N]) {
        let told = self.call(arguments);
        assert_eq!(told.status, 0, "{told}");
    }

    fn shell(&self, script: &str) -> String {
        let told = Told::of(&self.agent_shell(script).output().expect("a shell starts"));
        assert_eq!(told.status, 0, "{told}");
        told.stdout
    }

    fn agent_shell(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command.current_dir(self.mounted.path()).args(["-ec", script]);
        command
    }

    fn free_bytes(&self) -> u64 {
        self.shell("sync -f .; stat -f -c '%f %S' .")
            .split_whitespace()
            .map(|n| n.parse::<u64>().expect("a number"))
            .product()
    }

    /// Flips a bit in the middle of the longest pack, and returns the pack's name.
    fn damage(&self) -> String {
        let found = self.shell("find store/packs -type f -printf '%s %p\\n' | sort -n | tail -1");
        let (bytes, path) = found.trim().split_once(' ').expect("a length and a path");
        let at = bytes.parse::<u64>().expect("a length") / 2;
        let pack = fs::OpenOptions::new().read(true).write(true).open(self.path(path)).expect("a pack");
        let mut byte = [0];
        pack.read_exact_at(&mut byte, at).expect("a byte");
        pack.write_all_at(&[byte[0] ^ 1], at).expect("a byte");
        path.rsplit('/').next().expect("a name").to_owned()
    }

    fn assert_none_staged(&self) {
        assert_eq!(self.shell("find . -path ./store -prune -o -name '.kale-*' -print"), "");
    }
}

/// Bytes that do not compress and differ by seed.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut out: Vec<u8> = (0..bytes.div_ceil(8)).flat_map(|_| word()).collect();
    out.truncate(bytes);
    out
}

#[test]
fn a_clone_takes_no_room_and_is_the_readers_own() {
    let Some(place) = Place::new("a_clone_takes_no_room_and_is_the_readers_own") else { return };
    let content = noise(1, 64 << 20);
    fs::write(place.path("x"), &content).unwrap();
    place.ok(["save", "x", "x", "--compress", "never"]);
    let before = place.free_bytes();
    place.ok(["load", "x", "y"]);
    assert!(before - place.free_bytes() < 4 << 20, "it was copied");
    assert!(fs::read(place.path("y")).unwrap() == content);
    let clone = fs::OpenOptions::new().write(true).open(place.path("y")).unwrap();
    clone.write_all_at(&noise(2, 64 << 20), 0).unwrap();
    clone.sync_all().unwrap();
    place.ok(["verify"]);
    place.ok(["load", "x", "z"]);
    assert!(fs::read(place.path("z")).unwrap() == content);
}

#[test]
fn a_damaged_pack_is_named_before_anything_is_shown() {
    let Some(place) = Place::new("a_damaged_pack_is_named_before_anything_is_shown") else { return };
    fs::write(place.path("x"), noise(1, 16 << 20)).unwrap();
    place.ok(["save", "x", "x", "--compress", "never"]);
    let pack = place.damage();
    let told = place.call(["load", "x", "y"]);
    assert_eq!(told.status, 193, "{told}");
    assert!(told.stderr.contains(&format!("in pack {pack} at byte")) && told.stderr.contains("chunk"), "{told}");
    assert!(!place.path("y").exists());
    place.assert_none_staged();
}

#[test]
fn a_step_starts_at_once_and_commits_only_what_was_verified() {
    let Some(place) = Place::new("a_step_starts_at_once_and_commits_only_what_was_verified") else { return };
    fs::write(place.path("x"), noise(1, 32 << 20)).unwrap();
    place.ok(["save", "x", "x", "--compress", "never"]);
    let run = |step: &str, script: &str| {
        place.call(["run", "--step", step, "--in", "in=x:x", "--out", "out", "--", "sh", "-c", script])
    };
    let good = run("good", "cmp $KALE_IN_IN x && echo 1 > $KALE_OUT_OUT");
    assert_eq!(good.status, 0, "{good}");
    let pack = place.damage();
    // One that has ended before it could be stopped, or ends well all the same, and one that would never end.
    for (step, script) in [
        ("quick", "echo 1 > started; echo 1 > $KALE_OUT_OUT"),
        ("stubborn", "trap '' TERM; echo 1 > started; echo 1 > $KALE_OUT_OUT; sleep 2"),
        ("endless", "echo 1 > started; echo 1 > $KALE_OUT_OUT; exec sleep 1000"),
    ] {
        let told = run(step, script);
        assert_eq!(told.status, 193, "{step}: {told}");
        assert!(fs::remove_file(place.path("started")).is_ok(), "{step} was started: {told}");
        assert!(told.stderr.contains("input in") && told.stderr.contains("chunk"), "{step}: {told}");
        assert!(told.stderr.contains(&format!("in pack {pack} at byte")), "{step}: {told}");
        assert_eq!(place.call(["cat", &format!("{step}:out")]).status, 192, "{step}");
    }
    // A command that fails has failed, whatever its inputs are.
    assert_eq!(run("failing", "exit 7").status, 7);
}

#[test]
fn trees_come_back_as_they_were_whatever_the_umask() {
    let Some(place) = Place::new("trees_come_back_as_they_were_whatever_the_umask") else { return };
    let lengths = [1 << 20, (1 << 20) + 1, (1 << 20) + 4096, (3 << 20) - 1, (5 << 20) + 4095, 9 << 20, 70_000, 100, 0];
    fs::create_dir_all(place.path("t/d")).unwrap();
    for (number, bytes) in lengths.into_iter().enumerate() {
        fs::write(place.path(&format!("t/d/{number}")), noise(number as u64, bytes)).unwrap();
    }
    place.shell(
        "cd t; ln d/5 linked; chmod 4755 d/4; chmod 0444 d/5; chmod 0400 d/1; chmod 0 d/7; chmod 0666 d/6; chmod 0550 d
         truncate -s 8M sparse; dd if=d/5 of=sparse bs=1M count=3 seek=4 conv=notrunc status=none; touch -d @1234567890 d/0",
    );
    // A page of data in every 16 KiB: no chunk is all zeros, and a clone would have no hole.
    let holey = fs::File::create(place.path("t/holey")).unwrap();
    holey.set_len(8 << 20).unwrap();
    for page in 0..512 {
        holey.write_all_at(&noise(page, 4096), page * 16_384).unwrap();
    }
    place.ok(["save", "t", "t", "--compress", "never"]);
    let list = "find . -type f -printf '%p %m %T@ %n %s\\n' -o -printf '%p %m %y\\n' | sort";
    let before = place.shell(&format!("cd t; {list}"));
    for (umask, target) in [("0000", "open"), ("0022", "usual"), ("0077", "closed")] {
        let told = Told::of(
            &Command::new("sh")
                .envs(place.agent().get_envs().filter_map(|(name, value)| Some((name, value?))))
                .current_dir(place.mounted.path())
                .args(["-c", r#"umask "$0"; exec "$@""#, umask])
                .arg(place.agent().get_program())
                .args(["load", "t", target])
                .output()
                .unwrap(),
        );
        assert_eq!(told.status, 0, "{told}");
        place.shell(&format!("diff -r t {target}"));
        assert_eq!(place.shell(&format!("cd {target}; {list}")), before, "umask {umask}");
        for name in ["sparse", "holey"] {
            let blocks = fs::metadata(place.path(target).join(name)).unwrap().blocks();
            assert!(blocks * 512 <= 4 << 20, "{name} has {blocks} blocks");
        }
    }
    // Content that moved, and refers to the older pack at other offsets: what does not fit block by block is copied.
    let shifted = [&noise(99, 1000)[..], &noise(5, 9 << 20)].concat();
    fs::write(place.path("t/shifted"), &shifted).unwrap();
    let mut rerun = place.agent();
    let told = Told::of(&rerun.env("KALE_RUN", "r2").args(["save", "t", "t", "--compress", "never"]).output().unwrap());
    assert_eq!(told.status, 0, "{told}");
    place.ok(["load", "p/r2/t:t", "second"]);
    place.shell("diff -r t second");
}
