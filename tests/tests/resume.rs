//! Commit once: attempts that race, attempts that come later, attempts at other work.

use kale_tests::sandbox::{Sandbox, Told};
use std::process::Stdio;

#[test]
fn an_attempt_after_the_commit_does_not_run_its_command() {
    let place = Sandbox::new();
    place.step("s", ["--out", "x"], "echo ran >> ran; cp ran $KALE_OUT_X");
    let stored = place.stored();
    let told = place.step("s", ["--out", "x"], "echo ran >> ran; cp ran $KALE_OUT_X");
    assert!(told.stderr.contains("committed already"), "{told}");
    assert_eq!(place.read("ran"), "ran\n");
    assert_eq!(place.stored(), stored, "a resumed step writes nothing");
}

#[test]
fn other_work_under_the_same_name_is_an_error_that_names_the_differences() {
    let place = Sandbox::new();
    place.step("prep", ["--out", "t"], "echo 1 > $KALE_OUT_T");
    place.step("prep", ["--run", "other", "--out", "t"], "echo 2 > $KALE_OUT_T");
    let step = |arguments: &[&str], shell: &str| place.try_step("s", arguments, shell);
    let all = ["--in", "prep:t", "--param", "a=1", "--out", "x"];
    assert_eq!(step(&all, "cp $KALE_IN_T $KALE_OUT_X").status, 0);
    let refused = |arguments: &[&str], shell: &str, names: &[&str]| {
        let told = step(arguments, shell);
        assert_eq!(told.status, 196, "{told}");
        for name in names.iter().chain(&["a new --run", "--on-changed accept"]) {
            assert!(told.stderr.contains(name), "{name}: {told}");
        }
    };
    refused(&all, "cp $KALE_IN_T $KALE_OUT_X; true", &["command: committed", "now"]);
    refused(
        &["--in", "prep:t", "--param", "a=2", "--out", "x"],
        "cp $KALE_IN_T $KALE_OUT_X",
        &["parameter a: committed 1, now 2"],
    );
    refused(
        &["--in", "p/other/prep:t", "--param", "a=1", "--out", "x"],
        "cp $KALE_IN_T $KALE_OUT_X",
        &["input t: committed"],
    );
    refused(
        &["--in", "prep:t", "--param", "a=1"],
        "cp $KALE_IN_T $KALE_OUT_X",
        &["output x: committed required, now none"],
    );
    let accepted = step(&["--in", "prep:t", "--on-changed", "accept"], "exit 9");
    assert_eq!(accepted.status, 0, "{accepted}");
    let fail = step(
        &["--in", "prep:t", "--param", "a=1", "--out", "x", "--on-committed", "fail"],
        "cp $KALE_IN_T $KALE_OUT_X",
    );
    assert_eq!(fail.status, 196, "{fail}");
}

#[test]
fn of_sixteen_racing_attempts_exactly_one_commits_in_each_of_fifty_rounds() {
    let place = Sandbox::new();
    for round in 0..50 {
        let run = format!("round{round}");
        let children: Vec<_> = (0..16)
            .map(|_| {
                place
                    .agent()
                    .args([
                        "run",
                        "--run",
                        &run,
                        "--step",
                        "s",
                        "--out",
                        "x",
                        "--",
                        "sh",
                        "-c",
                        "echo $$ $KALE_ATTEMPT > $KALE_OUT_X",
                    ])
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let told: Vec<Told> = children.into_iter().map(|child| Told::of(&child.wait_with_output().unwrap())).collect();
        for attempt in &told {
            assert_eq!(attempt.status, 0, "{attempt}");
        }
        let winners = told.iter().filter(|attempt| attempt.stderr.is_empty()).count();
        assert_eq!(winners, 1, "round {round}: {told:#?}");
        assert!(told.iter().all(|attempt| attempt.stderr.is_empty() || attempt.stderr.contains("committed")));
        let winner = place.json(["show", &format!("p/{run}/s")])["attempt"].as_str().unwrap().to_owned();
        assert!(place.ok(["cat", &format!("{run}/s:x")]).contains(&winner));
        let attempts = std::fs::read_dir(place.store().join(format!("runs/p/{run}/s/0"))).unwrap().count();
        assert_eq!(attempts, 2, "the commit and its attempt are all that is left");
    }
    let told = place.ok(["verify"]);
    assert!(told.contains("all is well"), "{told}");
}
