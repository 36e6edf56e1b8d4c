//! The life of a step, through the real binary.

use kale_tests::sandbox::Sandbox;

#[test]
fn what_one_step_makes_the_next_one_finds() {
    let place = Sandbox::new();
    place.step(
        "prep",
        ["--out", "table", "--out", "tree"],
        "echo 1,2 > $KALE_OUT_TABLE && mkdir -p $KALE_OUT_TREE/a/b && echo x > $KALE_OUT_TREE/a/b/c",
    );
    let told = place.step(
        "use",
        ["--in", "prep:table", "--in", "prep:tree", "--in", "deep=prep:tree/a/b"],
        "cat $KALE_IN_TABLE $KALE_IN_TREE/a/b/c $KALE_IN_DEEP/c; ls $KALE_DIR/in",
    );
    assert_eq!(told.stdout, "1,2\nx\nx\ndeep\ntable\ntree\n");
    assert_eq!(told.stderr, "");
}

#[test]
fn paths_are_where_they_were_asked_for() {
    let place = Sandbox::new();
    place.step("prep", ["--out", "table=made/here.csv"], "mkdir made && echo 7 > made/here.csv");
    place.step("use", ["--in", "prep:table=in/there.csv"], "test $(cat in/there.csv) = 7");
    assert_eq!(place.read("in/there.csv"), "7\n");
}

#[test]
fn a_failed_step_commits_nothing_and_leaves_its_record_and_log() {
    let place = Sandbox::new();
    let told = place.try_step("bad", ["--out", "x"], "echo out; echo err >&2; echo half > $KALE_OUT_X; exit 7");
    assert_eq!((told.status, told.stdout.as_str(), told.stderr.as_str()), (7, "out\n", "err\n"));
    assert!(place.fails(192, ["cat", "bad:x"]).contains("not committed"));
    let log = place.ok(["log", "p/r/bad"]);
    assert!(log.contains("out\n") && log.contains("err\n"), "{log}");
    let record = place.json(["show", "p/r/bad"]);
    assert_eq!(record["exit"]["code"], 7);
    assert_eq!(record["failure"]["code"], 7);
    assert!(place.step("bad", ["--out", "x"], "echo whole > $KALE_OUT_X").stderr.is_empty());
    assert_eq!(place.ok(["cat", "bad:x"]), "whole\n");
}

#[test]
fn a_missing_output_is_named_with_what_was_expected() {
    let place = Sandbox::new();
    let told = place.try_step("s", ["--out", "a", "--out", "b", "--out-optional", "c"], "echo 1 > $KALE_OUT_A");
    assert_eq!(told.status, 194, "{told}");
    assert!(told.stderr.contains("b: nothing is at") && !told.stderr.contains("a: nothing"), "{told}");
    assert!(place.fails(192, ["cat", "s:a"]).contains("not committed"));
}

#[test]
fn step_code_saves_and_loads_through_the_agent() {
    let place = Sandbox::new();
    place.step(
        "prep",
        Vec::<String>::new(),
        "mkdir d && echo 5 > d/f && kale-agent save tree d && printf hello | kale-agent save text -",
    );
    let told = place.step(
        "use",
        ["--in", "prep:text"],
        "cat $(kale-agent load text); kale-agent load prep:text -; kale-agent load prep:tree got && cat got/f; cat $(kale-agent load prep:tree/f)",
    );
    assert_eq!(
        told.stdout,
        "hellohello5\n5\n"
            .replace("hellohello5", "hellohello/got\n5")
            .replace("/got", &place.path("got").display().to_string()),
        "{told}"
    );
    let record = place.json(["show", "p/r/use"]);
    let names: Vec<_> =
        record["inputs"].as_array().unwrap().iter().map(|input| input["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["text", "text", "tree", "tree"]);
}

#[test]
fn outside_of_a_step_both_work_on_the_store() {
    let place = Sandbox::new();
    place.write("f.txt", "by hand");
    let saved = place.json(["save", "note", "f.txt"]);
    assert_eq!(saved["artifact"], "p/r/note[0]:note");
    assert_eq!(place.ok(["load", "note", "-"]), "by hand");
    place.ok(["load", "note:note", "copy.txt"]);
    assert_eq!(place.read("copy.txt"), "by hand");
    place.ok(["save", "note", "f.txt"]);
    place.write("f.txt", "something else");
    assert!(place.fails(196, ["save", "note", "f.txt"]).contains("committed already"));
}

#[test]
fn without_a_store_it_is_a_plain_init_that_says_nothing() {
    let place = Sandbox::without_store();
    let told = place.call(["run", "--store", "", "--", "true"]);
    assert_ne!(told.status, 0, "an empty store location is an error: {told}");
    let mut plain = place.agent();
    plain.env_remove("KALE_STORE").env_remove("KALE_PIPELINE").env_remove("KALE_RUN");
    let output = plain.args(["run", "--", "sh", "-c", "echo $0 $PATH; env | grep KALE; exit 3"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "sh /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
    );
    assert!(output.stderr.is_empty());
}

#[test]
fn people_on_a_laptop_get_the_nearest_store_upwards() {
    let place = Sandbox::without_store();
    let bare = |arguments: &[&str], folder: &str| {
        std::fs::create_dir_all(place.path(folder)).unwrap();
        let mut command = place.agent();
        command
            .env_remove("KALE_STORE")
            .env_remove("KALE_PIPELINE")
            .env_remove("KALE_RUN")
            .current_dir(place.path(folder));
        let output = command.args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (code, text) = bare(&["ls"], "work/deep");
    assert_eq!(code, Some(190), "{text}");
    assert!(text.contains("kale-agent init"), "{text}");
    assert_eq!(bare(&["init"], "work").0, Some(0));
    let (code, text) = bare(&["save", "-q", "x", "/etc/hostname"], "work/deep");
    assert_eq!(code, Some(0), "{text}");
    let (_, runs) = bare(&["runs"], "work/deep/er");
    assert!(runs.contains("local"), "{runs}");
    assert!(place.path("work/.kale/kale-store").exists());
}

#[test]
fn an_identical_rerun_in_a_new_run_stores_next_to_nothing() {
    let place = Sandbox::new();
    let make = "head -c 3000000 /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 > $KALE_OUT_X 2>/dev/null || seq 1 400000 > $KALE_OUT_X";
    place.step("s", ["--out", "x"], make);
    let before = place.packed_bytes();
    assert!(before > 0);
    place.step("s", ["--run", "second", "--out", "x"], make);
    assert_eq!(place.packed_bytes(), before);
    assert_eq!(place.json(["diff", "p/r/s:x", "p/second/s:x"]), serde_json::json!([]));
}

#[test]
fn parameters_are_given_and_recorded() {
    let place = Sandbox::new();
    let told = place.step(
        "s",
        ["--param", "depth=3", "--param", "learning-rate=0.1"],
        "echo $KALE_PARAM_DEPTH $KALE_PARAM_LEARNING_RATE",
    );
    assert_eq!(told.stdout, "3 0.1\n");
    assert_eq!(place.json(["show", "p/r/s"])["params"]["depth"], "3");
}

#[test]
fn a_spec_file_says_what_flags_say_and_flags_win() {
    let place = Sandbox::new();
    place.write("step.yaml", "step: fromspec\nout: [x]\nparam: {a: spec, b: spec}\ncommand: [sh, -c, 'echo $KALE_PARAM_A $KALE_PARAM_B > $KALE_OUT_X']\n");
    place.ok(["run", "--spec", "step.yaml", "--param", "a=flag"]);
    assert_eq!(place.ok(["cat", "fromspec:x"]), "flag spec\n");
}

#[test]
fn a_second_signal_gives_up_storing_and_a_first_one_does_not() {
    for signals in [1, 2] {
        let place = Sandbox::new();
        let mut agent = place.agent();
        agent.args(["run", "--step", "s", "--out", "x", "--", "sh", "-c", "seq 1 3000000 > $KALE_OUT_X"]);
        let child = agent.stderr(std::process::Stdio::piped()).spawn().unwrap();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        let packs = place.store().join("packs");
        // Packs are begun when storing is.
        while std::fs::read_dir(&packs).is_err() {
            assert!(nix::sys::signal::kill(pid, None).is_ok());
            std::thread::yield_now();
        }
        for _ in 0..signals {
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        }
        let told = kale_tests::sandbox::Told::of(&child.wait_with_output().unwrap());
        assert!(told.status == 0 || (signals == 2 && told.status == 143), "{signals}: {told}");
        let committed = place.call(["cat", "s:x"]).status == 0;
        assert_eq!(committed, told.status == 0, "{told}");
    }
}
