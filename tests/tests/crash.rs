//! Crashes: the binary is killed at every operation on the store in turn, and nothing that was committed suffers.

use kale_tests::{
    killer::{self, End, Moment},
    sandbox::Sandbox,
};
use std::{collections::BTreeMap, process::Stdio};

/// A step with everything: an input, a tree, a large raw file, a saved value, a log.
const SHELL: &str = "echo working; cp $KALE_IN_T $KALE_OUT_COPY; mkdir -p $KALE_OUT_TREE/a; \
    for i in 1 2 3 4 5 6 7 8; do cat $KALE_IN_T $KALE_IN_T > $KALE_OUT_TREE/a/$i; done; \
    cat $KALE_IN_T $KALE_IN_T $KALE_IN_T $KALE_IN_T > $KALE_OUT_BIG; echo v | kale-agent save value -";
const ARGUMENTS: [&str; 12] =
    ["run", "--step", "s", "--in", "prep:t", "--out", "copy", "--out", "tree", "--out", "big", "--"];

fn killed_everywhere(moment: Moment) {
    let place = Sandbox::new();
    // Bytes without any structure, from the standard tools alone.
    place.step("prep", ["--out", "t"], "seq 1 20000 | gzip -9 > $KALE_OUT_T");
    let whole = place.ok(["verify"]);
    assert!(whole.contains("all is well"), "{whole}");
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut finished = None;
    for nth in 1..1000 {
        let run = format!("run{nth}");
        let mut command = place.agent();
        command.args(&ARGUMENTS[..3]).args(["--run", &run, "--in", "p/r/prep:t"]).args(&ARGUMENTS[5..]);
        command.args(["sh", "-c", SHELL]).stdout(Stdio::null()).stderr(Stdio::null());
        let end = killer::run(&mut command, &place.store(), nth, moment);
        let told = place.call(["verify"]);
        assert_eq!(told.status, 0, "after a kill at operation {nth} ({end:?}): {told}");
        match end {
            End::Killed(call) => *seen.entry(call).or_default() += 1,
            End::Exited(status) => {
                assert_eq!(status, 0, "operation {nth}");
                finished = Some(nth - 1);
                break;
            }
        }
        let again = place.try_step(
            "s",
            ["--run", &run, "--in", "p/r/prep:t", "--out", "copy", "--out", "tree", "--out", "big"],
            SHELL,
        );
        assert_eq!(again.status, 0, "the step repeats after a kill at operation {nth}: {again}");
        assert_eq!(place.ok(["cat", &format!("p/{run}/s:value")]), "v\n");
        assert_eq!(place.json(["diff", "p/r/prep:t", &format!("p/{run}/s:copy")]), serde_json::json!([]));
    }
    let finished = finished.expect("a step has fewer than a thousand operations on its store");
    assert!(finished > 20, "only {finished} operations were seen: {seen:?}");
    for call in ["fsync", "write"] {
        assert!(seen.keys().any(|name| name.contains(call)), "no {call} among {seen:?}");
    }
    assert!(seen.keys().any(|name| name.contains("link")), "no publication among {seen:?}");
}

#[test]
fn killed_before_each_operation_on_the_store() {
    killed_everywhere(Moment::Before);
}

#[test]
fn killed_after_each_operation_on_the_store() {
    killed_everywhere(Moment::After);
}
