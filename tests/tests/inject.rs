//! Manifests with the agent in them, and without it again: golden files, options, bad input.

use kale_tests::sandbox::{Sandbox, Told};
use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

const IMAGE: &str = "registry.example/kale-agent:1";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/inject")
}

/// Every golden manifest, with the arguments that belong to it.
fn manifests() -> Vec<(PathBuf, Vec<String>)> {
    let mut found = Vec::new();
    for engine in fs::read_dir(golden()).expect("the golden manifests").flatten().filter(|entry| entry.path().is_dir())
    {
        for entry in fs::read_dir(engine.path()).expect("a folder an engine").flatten() {
            let path = entry.path();
            let name = entry.file_name().into_string().expect("names in UTF-8");
            let Some((stem, _)) = name.split_once(".in.") else { continue };
            let beside = |kind: &str| path.with_file_name(format!("{stem}.{kind}"));
            let index = golden().join("images.yaml").display().to_string();
            let mut arguments: Vec<String> =
                ["--no-engine", "--image", IMAGE, "--store-claim", "kale", "--image-index", &index]
                    .map(Into::into)
                    .into();
            if let Ok(more) = fs::read_to_string(beside("args")) {
                arguments.extend(more.lines().map(str::to_owned));
            }
            if beside("map.yaml").is_file() {
                arguments.extend(["--map".to_owned(), beside("map.yaml").display().to_string()]);
            }
            found.push((path, arguments));
        }
    }
    found.sort();
    assert!(found.len() >= 20, "only {} golden manifests", found.len());
    found
}

fn inject(place: &Sandbox, file: &str, more: &[&str]) -> Told {
    let known = golden().join("images.yaml").display().to_string();
    let options = ["inject", file, "--no-engine", "--image", IMAGE, "--image-index", &known];
    place.call([&options[..], more].concat())
}

fn pod(container: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n  - name: main\n{container}")
}

#[test]
fn golden_manifests_come_out_as_expected_and_come_back_to_the_byte() {
    let place = Sandbox::without_store();
    for (input, arguments) in manifests() {
        let name = input.display();
        let before = fs::read_to_string(&input).unwrap();
        let expected = PathBuf::from(input.display().to_string().replace(".in.", ".out."));
        let file = input.display().to_string();
        let words = |file: &str| [&["inject".to_owned(), file.to_owned()][..], &arguments].concat();
        let once = place.ok(words(&file));
        if std::env::var_os("KALE_GOLDEN").is_some_and(|what| what == "write") {
            fs::write(&expected, &once).unwrap();
        }
        assert_eq!(once, fs::read_to_string(&expected).unwrap(), "{name}");
        place.write("once", &once);
        assert_eq!(place.ok(words("once")), once, "twice is not once: {name}");
        assert_eq!(place.ok(["inject", "--remove", "once"]), before, "not undone: {name}");
        assert_eq!(place.ok(["inject", "--remove", &file]), before, "nothing was to be removed: {name}");
    }
}

#[test]
fn another_versions_injection_is_replaced() {
    let place = Sandbox::without_store();
    for (input, arguments) in manifests() {
        let other = |word: &String| if word == IMAGE { "elsewhere.example/agent:9" } else { word }.to_owned();
        let other: Vec<String> = arguments.iter().map(other).collect();
        let words = |file: &str, with: &[String]| [&["inject".to_owned(), file.to_owned()][..], with].concat();
        let file = input.display().to_string();
        let once = place.ok(words(&file, &arguments));
        place.write("other", place.ok(words(&file, &other)));
        assert!(place.read("other").contains("elsewhere.example"), "{file}");
        assert_eq!(place.ok(words("other", &arguments)), once, "{file}");
    }
}

#[test]
fn what_others_change_between_stays() {
    let place = Sandbox::without_store();
    let manifest = pod("    image: python:3.12\n    command: [python, a.py]\n");
    place.write("m.yaml", &manifest);
    let injected = inject(&place, "m.yaml", &["--store-claim", "kale"]).stdout;
    let edited = injected.replace("name: p\n", "name: p # renamed\n").replace("a.py]", "a.py, --fast]").replace(
        "  volumes:  # kale-agent: added\n",
        "  volumes:  # kale-agent: added\n  - {name: mine, emptyDir: {}}\n",
    );
    assert_ne!(edited, injected);
    place.write("edited.yaml", &edited);
    let removed = place.ok(["inject", "--remove", "edited.yaml"]);
    let expected = manifest.replace("name: p\n", "name: p # renamed\n").replace("a.py]", "a.py, --fast]");
    assert_eq!(removed, format!("{expected}  volumes:\n  - {{name: mine, emptyDir: {{}}}}\n"));
}

#[test]
fn without_its_comments_a_manifest_is_undone_by_meaning() {
    let place = Sandbox::without_store();
    place.write("m.yaml", pod("    image: python:3.12\n    command: [python, a.py]\n"));
    let injected = inject(&place, "m.yaml", &["--store-claim", "kale"]).stdout;
    let bare: String =
        injected.lines().map(|line| line.split("  # kale-agent").next().unwrap().to_owned() + "\n").collect();
    assert_ne!(bare, injected);
    place.write("bare.yaml", &bare);
    let told = place.call(["inject", "--remove", "bare.yaml"]);
    assert_eq!(told.stdout, place.read("m.yaml"), "{told}");
    assert!(told.stderr.contains("was told by its names"), "{told}");
    let again = inject(&place, "bare.yaml", &["--store-claim", "kale"]);
    assert_eq!(again.stdout, injected, "{again}");
}

#[test]
fn files_are_replaced_whole_and_keep_their_mode() {
    let place = Sandbox::without_store();
    let manifest = pod("    image: python:3.12\n    command: [python]\n");
    let path = place.write("m.yaml", &manifest);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("m.yaml", place.path("link.yaml")).unwrap();
    let told = inject(&place, "m.yaml", &["-o", "link.yaml"]);
    assert_eq!((told.status, told.stdout.as_str()), (0, ""), "{told}");
    assert!(fs::symlink_metadata(place.path("link.yaml")).unwrap().is_symlink());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
    assert!(place.read("m.yaml").contains("/kale/bin/kale-agent"));
    // What is right already is not written again.
    let before = fs::metadata(&path).unwrap().ino();
    assert_eq!(inject(&place, "m.yaml", &["-o", "m.yaml"]).status, 0);
    assert_eq!(fs::metadata(&path).unwrap().ino(), before);
    place.ok(["inject", "--remove", "m.yaml", "-o", "m.yaml"]);
    assert_eq!(place.read("m.yaml"), manifest);
    let left: Vec<_> = fs::read_dir(place.path("")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn targets_that_cannot_be_written_are_errors_and_stay() {
    let place = Sandbox::without_store();
    let manifest = pod("    image: python:3.12\n    command: [python]\n");
    place.write("m.yaml", &manifest);
    let read_only = place.write("ro.yaml", "mine");
    fs::set_permissions(&read_only, fs::Permissions::from_mode(0o444)).unwrap();
    fs::create_dir(place.path("folder")).unwrap();
    for (target, says) in [
        ("ro.yaml", "read-only"),
        ("folder", "regular file"),
        ("/dev/stdout", "regular file"),
        ("nowhere/x.yaml", "nowhere"),
    ] {
        let told = inject(&place, "m.yaml", &["-o", target]);
        assert_eq!(told.status, 195, "{told}");
        assert!(told.stderr.contains(says), "{told}");
    }
    assert_eq!(place.read("ro.yaml"), "mine");
    assert_eq!(inject(&place, "missing.yaml", &[]).status, 195);
}

#[test]
fn a_dry_run_shows_the_difference_and_writes_nothing() {
    let place = Sandbox::without_store();
    let manifest = pod("    image: python:3.12\n    command: [python]\n");
    place.write("m.yaml", &manifest);
    let told = inject(&place, "m.yaml", &["--dry-run", "-o", "m.yaml"]);
    assert_eq!(told.status, 0, "{told}");
    for line in [
        "--- a/m.yaml",
        "+++ b/m.yaml",
        "-    command: [python]",
        "+    command: [/kale/bin/kale-agent, run, --, python]",
    ] {
        assert!(told.stdout.lines().any(|other| other == line), "{line}: {told}");
    }
    assert_eq!(place.read("m.yaml"), manifest);
    // What `patch` makes of it is what would have been written.
    place.write("diff", &told.stdout);
    let patched = std::process::Command::new("patch")
        .args(["-s", "-o", "patched.yaml", "m.yaml", "diff"])
        .current_dir(place.path(""))
        .status();
    match patched {
        Ok(status) => {
            assert!(status.success());
            assert_eq!(place.read("patched.yaml"), inject(&place, "m.yaml", &[]).stdout);
        }
        Err(error) => kale_tests::skip::skip("a_dry_run_shows_the_difference_and_writes_nothing", &error.to_string()),
    }
}

#[test]
fn standard_input_and_json() {
    let place = Sandbox::without_store();
    let mut agent = place.agent();
    agent
        .args(["inject", "-", "-o", "-", "--json", "--no-engine", "--image", IMAGE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = agent.spawn().unwrap();
    let manifest = pod(
        "    image: python:3.12\n    command: [python]\n  - {name: proxy, image: p, command: [/kale-agent, run, --, /p]}\n",
    );
    child.stdin.take().unwrap().write_all(manifest.as_bytes()).unwrap();
    let told = Told::of(&child.wait_with_output().unwrap());
    assert_eq!(told.status, 0, "{told}");
    let said: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(said["changed"], true);
    assert_eq!(said["steps"][0]["step"], "main");
    assert_eq!(said["steps"][0]["injected"], true);
    assert_eq!(said["steps"][1]["injected"], false);
    assert!(said["steps"][1]["left"].as_str().unwrap().contains("somebody else"));
    assert!(said["manifest"].as_str().unwrap().contains("/kale/bin/kale-agent"));
}

#[test]
fn what_is_injected_runs_and_commits() {
    let place = Sandbox::new();
    place.step("prepare", ["--out", "table"], "echo 1 > $KALE_OUT_TABLE");
    let said = serde_json::json!({
        "kale.dev/in": "rows=prepare:table",
        "kale.dev/out.main": "model",
        "kale.dev/out-optional": "log",
        "kale.dev/fan-out": "next=3",
        "kale.dev/param": "rate=0.1, depth=3",
        "kale.dev/wait": "1m",
        "kale.dev/timeout": "10m",
        "kale.dev/grace": "5s",
        "kale.dev/shard": "0/1",
    });
    let command = ["sh", "-c", "cat $KALE_IN_ROWS > $KALE_OUT_MODEL; echo $KALE_PARAM_RATE $0 $1"];
    let container = serde_json::json!({"name": "main", "image": "i", "command": command, "args": ["a", "b"]});
    let pod = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "annotations": said}, "spec": {"containers": [container]},
    });
    place.write("pod.json", pod.to_string());
    let store = place.store().display().to_string();
    let injected = inject(&place, "pod.json", &["--store", &store]);
    let manifest: serde_json::Value = serde_json::from_str(&injected.stdout).unwrap();
    let container = &manifest["spec"]["containers"][0];
    let words = |key: &str| -> Vec<String> { serde_json::from_value(container[key].clone()).unwrap() };
    let words = [words("command"), words("args")].concat();
    assert_eq!(words[0], "/kale/bin/kale-agent");
    let mut agent = place.agent();
    agent.args(&words[1..]).env_remove("KALE_STORE").env_remove("KALE_PIPELINE");
    let told = Told::of(&agent.output().unwrap());
    assert_eq!((told.status, told.stdout.as_str()), (0, "0.1 a b\n"), "{told}");
    place.ok(["load", "p/r/main:model", "model"]);
    assert_eq!(place.read("model"), "1\n");
}

#[test]
fn without_a_store_the_agent_is_a_plain_init() {
    let place = Sandbox::without_store();
    place.write("m.yaml", pod("    image: a\n    command: [a]\n"));
    let told = inject(&place, "m.yaml", &[]);
    assert!(told.stdout.contains("command: [/kale/bin/kale-agent, run, --, a]"), "{told}");
    assert!(!told.stdout.contains("terminationGracePeriodSeconds") && !told.stdout.contains("KALE_RUN"), "{told}");
}

#[test]
fn entrypoints_of_nothing_are_taken_at_their_word() {
    let place = Sandbox::without_store();
    for nothing in ["[]", "''"] {
        let service =
            format!("name: c\nservices:\n  a:\n    image: alpine\n    entrypoint: {nothing}\n    command: [x]\n");
        place.write("m.yaml", &service);
        let told = inject(&place, "m.yaml", &[]);
        assert!(told.stdout.contains("    entrypoint: [/kale/bin/kale-agent, run, --]  # kale-agent: was"), "{told}");
        place.write("once.yaml", &told.stdout);
        assert_eq!(place.ok(["inject", "--remove", "once.yaml"]), service);
    }
    // A command of nothing is none: the image's is taken.
    place.write("m.yaml", pod("    image: python:3.12\n    command: []\n"));
    let told = inject(&place, "m.yaml", &[]);
    assert!(told.stdout.contains("command: [/kale/bin/kale-agent, run, --]  # kale-agent: was []"), "{told}");
    place.write("once.yaml", &told.stdout);
    assert_eq!(place.ok(["inject", "--remove", "once.yaml"]), place.read("m.yaml"));
}

#[test]
fn a_grace_period_beyond_all_measure_and_windows() {
    let place = Sandbox::without_store();
    let manifest = pod("    image: a\n    command: [a]\n  terminationGracePeriodSeconds: 18446744073709551615\n");
    place.write("m.yaml", &manifest);
    assert_eq!(inject(&place, "m.yaml", &["--store", "/s"]).status, 0);
    let manifest = pod("    image: a\n    command: [a]\n  os: {name: windows}\n");
    place.write("m.yaml", &manifest);
    let told = inject(&place, "m.yaml", &[]);
    assert_eq!((told.status, &told.stdout), (0, &manifest), "{told}");
    assert!(told.stderr.contains("container main is left as it is: it runs on Windows"), "{told}");
}

#[test]
fn a_patch_that_defaults_lend_is_not_replaced() {
    let place = Sandbox::without_store();
    let workflow = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {name: w}\nspec:\n  \
        templateDefaults: {podSpecPatch: 'hostNetwork: true'}\n  templates:\n  - name: m\n    container: {image: a, command: [a]}\n";
    place.write("m.yaml", workflow);
    let told = inject(&place, "m.yaml", &["--store", "/s"]);
    assert_eq!(told.stdout.matches("podSpecPatch").count(), 1, "{told}");
    assert!(told.stderr.contains("template m has a podSpecPatch"), "{told}");
}

#[test]
fn five_megabytes_take_seconds() {
    let place = Sandbox::without_store();
    let job = pod("    image: a\n    command: [python, x.py]\n    args: [--n, \"1\"]\n");
    let data: String = (0..1500).map(|n| format!("  key-{n}: \"{}\"\n", "x".repeat(60))).collect();
    let mut manifest = String::new();
    while manifest.len() < 5 << 20 {
        manifest += &format!("---\n{job}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata:\n{data}");
    }
    place.write("m.yaml", &manifest);
    let started = Instant::now();
    let told = inject(&place, "m.yaml", &["-o", "out.yaml", "-q"]);
    let took = started.elapsed();
    assert_eq!(told.status, 0, "{told}");
    println!("{} bytes took {took:?}", manifest.len());
    // A busy machine; on an idle one it is about a second.
    assert!(took < Duration::from_secs(15), "{took:?}");
    place.ok(["inject", "--remove", "out.yaml", "-o", "back.yaml"]);
    assert!(place.read("back.yaml") == manifest);
}

#[test]
fn the_difference_of_twenty_thousand_steps_takes_seconds() {
    let place = Sandbox::without_store();
    let job = pod("    image: a\n    command: [python, x.py]\n");
    let jobs = (0..20_000).map(|n| format!("---\n{}", job.replace("name: p", &format!("name: p{n}"))));
    place.write("m.yaml", jobs.collect::<String>());
    let started = Instant::now();
    let told = inject(&place, "m.yaml", &["--dry-run", "-q"]);
    let took = started.elapsed();
    assert_eq!(told.status, 0, "{told}");
    assert_eq!(told.stdout.lines().filter(|line| line.contains("command: [/kale/bin/")).count(), 20_000);
    // Three on an idle machine; where each line is compared with its 20,000 twins, forty.
    assert!(took < Duration::from_secs(20), "{took:?}");
}
