//! Arguments that are too many or too long for the kernel: from a file, and what is said where they cannot be passed on.

use kale_tests::{
    binary::kale_agent,
    sandbox::{Sandbox, Told},
};
use std::{fs, process::Command};

/// Shows how many arguments there are, how many bytes they have, the first and the last one.
const COUNT: &str = "import sys; a = sys.argv[1:]; print(len(a), sum(map(len, a)), a[0][:9], a[-1][-9:])";
/// The longest argument that Linux passes where a page has 4 KiB.
const LONGEST: usize = 131_071;

/// A plain init: of the place it has the folder alone.
fn plain(place: &Sandbox, arguments: &[&str]) -> Told {
    let mut agent = place.agent();
    for variable in ["KALE_STORE", "KALE_PIPELINE", "KALE_RUN"] {
        agent.env_remove(variable);
    }
    Told::of(&agent.arg("run").args(arguments).output().expect("the agent starts"))
}

fn ended_by_nul(arguments: &[String]) -> String {
    arguments.iter().map(|argument| format!("{argument}\0")).collect()
}

#[test]
fn arguments_from_a_file_stand_behind_those_given() {
    let place = Sandbox::without_store();
    place.write("nul", b"b\0\0c d\n\0\xff\0");
    place.write("list.json", "[\"b\", \"\", \"c d\\n\", \"\u{e4}\"]\n");
    place.write("nothing", "");
    let show = ["--", "python3", "-c", "import os, sys; print([os.fsencode(a) for a in sys.argv[1:]])", "a"];
    let run = |file: &str| plain(&place, &[&["--args-file", file], &show[..]].concat());
    assert_eq!(run("nul").stdout, "[b'a', b'b', b'', b'c d\\n', b'\\xff']\n");
    assert_eq!(run("list.json").stdout, "[b'a', b'b', b'', b'c d\\n', b'\\xc3\\xa4']\n");
    assert_eq!(run("nothing").stdout, "[b'a']\n");
    // The whole command may come from it, and a spec file may name it.
    place.write("all", b"echo\0x y\0");
    assert_eq!(plain(&place, &["--args-file", "all"]).stdout, "x y\n");
    place.write("spec.yaml", "command: [echo, first]\nargs-file: list.json\n");
    assert_eq!(plain(&place, &["--spec", "spec.yaml"]).stdout, "first b  c d\n \u{e4}\n");
}

#[test]
fn a_file_that_cannot_be_arguments_is_an_error() {
    let place = Sandbox::without_store();
    place.write("cut", b"a\0b");
    place.write("text", "a b c\n");
    place.write("numbers", "[1]");
    place.write("null", "[\"a\\u0000b\"]");
    for (file, why) in [
        ("cut", "does not end with the NUL byte"),
        ("text", "expected value"),
        ("numbers", "element 1 is no text"),
        ("null", "a NUL byte is in element 1"),
        ("absent", "No such file"),
    ] {
        let told = plain(&place, &["--args-file", file, "--", "true"]);
        assert_eq!(told.status, 190, "{told}");
        assert!(told.stderr.contains(why) && told.stderr.contains(file), "{file}: {told}");
    }
}

#[test]
fn more_than_the_stacks_limit_allows_is_passed_under_a_higher_one() {
    let place = Sandbox::without_store();
    let run = |bytes: usize, before: &str| {
        let arguments: Vec<String> = (0..bytes / 50_000).map(|n| format!("{n:0>50000}")).collect();
        place.write("many", ended_by_nul(&arguments));
        let script = format!("{before} exec \"$0\" run --args-file many -- python3 -c \"$1\"");
        let count = format!("import resource\nprint(resource.getrlimit(resource.RLIMIT_STACK)[0] >> 10)\n{COUNT}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).arg(kale_agent()).arg(count).current_dir(place.path("")).env_clear();
        Told::of(&shell.env("PATH", "/usr/bin:/bin").output().unwrap())
    };
    // Up to a quarter of the limit nothing changes.
    let few = run(1_000_000, "ulimit -Ss 8192;");
    assert_eq!(few.stdout, "8192\n20 1000000 000000000 000000019\n", "{few}");
    let many = run(5_000_000, "ulimit -Ss 8192;");
    assert_eq!(many.stdout, "24576\n100 5000000 000000000 000000099\n", "{many}");
    let too_many = run(7_000_000, "ulimit -Ss 8192;");
    assert_eq!(too_many.status, 126, "{too_many}");
    for part in ["cannot start the command 'python3'", "have 70", "at most 6291456", "give long ones in files"] {
        assert!(too_many.stderr.contains(part), "{part}: {too_many}");
    }
    let held = run(5_000_000, "ulimit -s 8192;");
    assert_eq!(held.status, 126, "{held}");
    assert!(held.stderr.contains("at most 2097152") && held.stderr.contains("hard limit on the stack"), "{held}");
}

/// One argument as KFP's launcher would give it to a component, with a value that is too long.
fn executor_input(bytes: usize) -> String {
    let rows = "x".repeat(bytes);
    serde_json::json!({ "inputs": { "parameterValues": { "rows": rows } }, "outputs": { "outputFile": "/tmp/o" } })
        .to_string()
}

#[test]
fn one_argument_that_is_too_long_is_named() {
    let place = Sandbox::without_store();
    let input = executor_input(LONGEST);
    place.write("arguments.json", serde_json::json!(["--executor_input", input]).to_string());
    let told = plain(&place, &["--args-file", "arguments.json", "--", "python3", "-c", COUNT]);
    assert_eq!(told.status, 126, "{told}");
    let named = format!("argument 4 has {} bytes", input.len());
    for part in [&named, "at most 131071 in one", "--long-args"] {
        assert!(told.stderr.contains(part), "{part}: {told}");
    }
    assert!(!told.stderr.contains("xxx"), "no values: {told}");
    // A variable is as long as an argument may be.
    place.write("spec.json", serde_json::json!({ "param": { "rows": "y".repeat(LONGEST) } }).to_string());
    let store = Sandbox::new();
    let told = store.call(["run", "--spec", place.path("spec.json").to_str().unwrap(), "--step", "s", "--", "true"]);
    assert_eq!(told.status, 126, "{told}");
    assert!(told.stderr.contains("the variable KALE_PARAM_ROWS has 131087 bytes"), "{told}");
}

#[test]
fn a_file_stands_in_the_place_of_an_argument_that_is_too_long() {
    let place = Sandbox::new();
    let (input, short) = (executor_input(300_000), "y".repeat(LONGEST));
    place.write("arguments.json", serde_json::json!(["--short", short, "--executor_input", input]).to_string());
    // What argparse makes of an argument that begins with @ is KFP's own JSON again.
    let script = "
import argparse, json, os, sys
parser = argparse.ArgumentParser(fromfile_prefix_chars='@')
parser.add_argument('--executor_input')
parser.add_argument('--short')
given = parser.parse_args()
print(sys.argv[4], len(given.short), len(json.loads(given.executor_input)['inputs']['parameterValues']['rows']))
";
    let asked = ["--args-file", "arguments.json", "--long-args", "@file", "--", "python3", "-c", script];
    let as_step = || place.call([&["run", "--step", "s"], &asked[..]].concat());
    let file = |told: &Told| {
        assert_eq!(told.status, 0, "{told}");
        let (path, lengths) = told.stdout.trim().split_once(' ').unwrap();
        assert_eq!(lengths, "131071 300000");
        let path = path.strip_prefix('@').unwrap().to_owned();
        assert!(path.starts_with('/') && fs::metadata(&path).is_err(), "{path} is gone when the command has ended");
    };
    file(&plain(&place, &asked));
    file(&as_step());
    // What the step was told is what was given, so the same work is the same, and resuming finds it.
    let command = place.json(["show", "p/r/s"])["command"].clone();
    assert_eq!(command[6].as_str().map(str::len), Some(input.len()));
    assert!(as_step().stderr.contains("committed already"));
    place.write("spec.yaml", "args-file: arguments.json\nlong-args: file\n");
    let path = plain(&place, &["--spec", "spec.yaml", "--", "sh", "-c", "wc -c < $3"]);
    assert_eq!(path.stdout.trim(), input.len().to_string(), "{path}");
    assert!(place.fails(190, ["run", "--long-args", "some", "--", "true"]).contains("say fail, file or @file"));
}
