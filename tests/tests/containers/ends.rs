//! Containers that are ended from outside: killed in each phase of a step, stopped, out of memory.

use super::image::{Container, Image};
use kale_tests::{running::until, sandbox::Sandbox, tree::noise};
use std::{fs, path::Path};

/// Waits until a container has come to some phase.
type Reached<'a> = &'a dyn Fn(&Container);

/// What all files below a folder hold, in bytes.
fn held(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => held(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    bytes.sum()
}

#[test]
fn killed_in_any_phase_a_step_is_all_there_or_not_at_all() {
    let place = Sandbox::new();
    let Some(image) = Image::build("killed_in_any_phase_a_step_is_all_there_or_not_at_all", &place) else { return };
    let content: Vec<u8> = (0..192).flat_map(|block| noise(block, 1 << 20)).collect();
    place.write("large", &content);
    place.ok(["save", "large", "large", "-q"]);
    let [work, made, go] = ["place", "place/made", "place/go"].map(|path| place.path(path));
    // Only what is to be stored for a while is long.
    let phases: [(&str, u32, Reached); 3] = [
        ("restoring", 1000, &|_| until("input", || (held(&work) > 0).then_some(()))),
        ("running", 1000, &|container| container.wait_for("ready")),
        ("storing", 300_000_000, &|container| {
            container.wait_for("ready");
            let before = held(&place.store());
            fs::write(&go, "").expect("a file of the sandbox");
            until("output", || (held(&place.store()) > before + (8 << 20)).then_some(()));
        }),
    ];
    for (phase, bytes, reached) in phases {
        let _ = fs::remove_dir_all(&work);
        let arguments = ["--step", phase, "--in", "large:large=/place/large", "--out", "made=/place/made"];
        let shell = format!("echo ready; until test -e go; do sleep 0.02; done; head -c {bytes} /dev/urandom > made");
        let container = image.start(&place, &[], &arguments, &shell);
        let kill = container.killer();
        reached(&container);
        kill();
        assert_eq!(container.ended().status, 137, "{phase}");
        let address = format!("{phase}:made");
        place.fails(192, ["load", &address, "half"]);
        assert!(!place.path("half").exists(), "{phase}");
        fs::write(&go, "").expect("a file of the sandbox");
        // An input is never restored over what is there.
        let _ = fs::remove_file(place.path("place/large"));
        let again = image.step(&place, &[], &arguments, &shell);
        assert_eq!(again.status, 0, "{phase}: {again}");
        place.ok(["load", &address, phase, "-q"]);
        assert!(fs::read(place.path(phase)).unwrap() == fs::read(&made).unwrap(), "{phase}");
        assert!(fs::read(place.path("place/large")).unwrap() == content, "{phase}");
        place.ok(["verify", "-q"]);
    }
}

#[test]
fn killed_around_its_commit_a_step_is_there_or_runs_again() {
    let place = Sandbox::new();
    let Some(image) = Image::build("killed_around_its_commit_a_step_is_there_or_runs_again", &place) else { return };
    // What is stored first, and what is stored last: whatever lies between may or may not be there.
    for (phase, sign) in
        [("manifests", "manifests"), ("records", "runs/p/r/records/0"), ("commit", "runs/p/r/commit/0/commit")]
    {
        let sign = place.store().join(sign);
        let there = || if sign.is_file() { 1 } else { held(&sign) };
        let before = there();
        let arguments = ["--step", phase, "--out", "made=/place/made"];
        let shell = "head -c 20000000 /dev/urandom > made";
        let container = image.start(&place, &[], &arguments, shell);
        let kill = container.killer();
        until("a sign", || (there() > before).then_some(()));
        kill();
        // It may have ended by itself before.
        let status = container.ended().status;
        assert!([0, 137].contains(&status), "{phase}: {status}");
        let address = format!("{phase}:made");
        let committed = place.call(["load", &address, "first", "-q"]).status == 0;
        assert!(committed || status == 137 && phase != "commit", "{phase}: {status}");
        let again = image.step(&place, &[], &arguments, shell);
        assert_eq!((again.status, again.stderr.contains("committed already")), (0, committed), "{phase}: {again}");
        place.ok(["load", &address, phase, "-q"]);
        assert!(
            !committed || fs::read(place.path("first")).unwrap() == fs::read(place.path(phase)).unwrap(),
            "{phase}"
        );
        let _ = fs::remove_file(place.path("first"));
        place.ok(["verify", "-q"]);
    }
}

#[test]
fn stopped_by_the_engine_a_step_says_so() {
    let place = Sandbox::new();
    let Some(image) = Image::build("stopped_by_the_engine_a_step_says_so", &place) else { return };
    let polite = "trap 'echo bye; exit 0' TERM INT; echo ready; while :; do sleep 0.05; done";
    let deaf = "trap '' TERM; echo ready; exec sleep 60";
    for (step, options, seconds, shell, status, said) in [
        ("grace", &[][..], "20", polite, 143, "bye\n"),
        ("signal", &["--stop-signal", "INT"], "20", polite, 130, "bye\n"),
        ("below-init", &["--init"], "20", polite, 143, "bye\n"),
        ("no-grace", &[], "1", deaf, 137, "ready\n"),
    ] {
        let container = image.start(&place, options, &["--step", step], shell);
        container.wait_for("ready");
        container.docker(&["stop", "--time", seconds]);
        let told = container.ended();
        assert_eq!(told.status, status, "{step}: {told}");
        let failure = &place.json(["show", &format!("p/r/{step}")])["failure"];
        let message = failure["message"].as_str().unwrap_or_default();
        assert!(message.contains("by signal"), "{step}: {failure}");
        // The shell says a word of its own where its `sleep` was ended, before or after that.
        let log = place.ok(["log", &format!("p/r/{step}")]);
        assert!(log.starts_with("ready\n") && log.contains(said), "{step}: {log}");
    }
}

#[test]
fn stopped_without_any_grace_a_step_is_all_there_or_not_at_all() {
    let place = Sandbox::new();
    let Some(image) = Image::build("stopped_without_any_grace_a_step_is_all_there_or_not_at_all", &place) else {
        return;
    };
    let go = place.path("place/go");
    for (phase, bytes) in [("saved-1", 100), ("saved-2", 100), ("saved-3", 100), ("storing", 300_000_000)] {
        let _ = fs::remove_file(&go);
        let storing = phase == "storing";
        let arguments = ["--step", phase, "--out", "made=/place/made"];
        let shell = format!(
            "trap '' TERM; rm -f made; head -c 5000000 /dev/urandom > part; kale-agent save -q part part; \
            echo ready; until test -e go; do sleep 0.02; done; head -c {bytes} /dev/urandom > made"
        );
        let container = image.start(&place, &[], &arguments, &shell);
        container.wait_for("ready");
        if storing {
            let before = held(&place.store());
            fs::write(&go, "").expect("a file of the sandbox");
            until("output", || (held(&place.store()) > before + (8 << 20)).then_some(()));
        }
        // TERM, and KILL right behind it: what comes before the other's end is not in our hands.
        container.docker(&["stop", "--time", "0"]);
        let status = container.ended().status;
        let address = format!("{phase}:made");
        let committed = place.call(["load", &address, "first", "-q"]).status == 0;
        match (status, storing) {
            (137, false) => assert!(!committed, "{phase}"),
            (137, true) => {}
            (status, storing) => assert_eq!((status, storing, committed), (0, true, true), "{phase}"),
        }
        assert_eq!(place.path("first").exists(), committed, "{phase}");
        let attempts = place.store().join("runs/p/r").join(phase).join("0");
        let mut attempts = fs::read_dir(attempts).into_iter().flatten().flatten().map(|entry| entry.path());
        // Milliseconds decide whether it could say that it was told to end. What it said is whole.
        if !committed && attempts.any(|attempt| attempt.join("stopped").is_file()) {
            let failure = place.json(["show", &format!("p/r/{phase}")])["failure"].to_string();
            assert!(failure.contains("told to end by signal 15"), "{phase}: {failure}");
        }
        place.ok(["verify", "-q"]);

        fs::write(&go, "").expect("a file of the sandbox");
        let again = image.step(&place, &[], &arguments, &shell);
        assert_eq!((again.status, again.stderr.contains("committed already")), (0, committed), "{phase}: {again}");
        place.ok(["load", &address, phase, "-q"]);
        let expected = place.path(if committed { "first" } else { "place/made" });
        assert!(fs::read(place.path(phase)).unwrap() == fs::read(expected).unwrap(), "{phase}");
        let _ = fs::remove_file(place.path("first"));
        place.ok(["verify", "-q"]);
    }
}

#[test]
fn out_of_memory_is_named() {
    let place = Sandbox::new();
    let Some(image) = Image::build("out_of_memory_is_named", &place) else { return };
    let limit = ["--memory", "64m", "--memory-swap", "64m"];
    let told = image.step(&place, &limit, &["--step", "s"], "exec tail /dev/zero");
    assert!(told.status == 137 && told.stderr.contains("out of memory"), "{told}");
    let failure = place.json(["show", "p/r/s"])["failure"].to_string();
    assert!(failure.contains("out of memory"), "{failure}");
}
