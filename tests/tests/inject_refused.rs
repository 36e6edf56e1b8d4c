//! Manifests, settings and images that are refused: by name and line, with nothing written.

use kale_tests::sandbox::{Sandbox, Told};
use std::{fs, os::unix::fs::PermissionsExt};

const IMAGE: &str = "registry.example/kale-agent:1";

fn inject(place: &Sandbox, file: &str, more: &[&str]) -> Told {
    place.write("index.yaml", "alpine: {cmd: [/bin/sh]}\n");
    let options = ["inject", file, "--no-engine", "--image", IMAGE, "--image-index", "index.yaml"];
    place.call([&options[..], more].concat())
}

/// The manifest is refused for this reason, with nothing on stdout.
fn refused(manifest: &str, more: &[&str], says: &[&str]) {
    let place = Sandbox::without_store();
    place.write("m.yaml", manifest);
    let told = inject(&place, "m.yaml", &[&["-o", "out.yaml"], more].concat());
    assert_eq!(told.status, 190, "{told}");
    for text in says {
        assert!(told.stderr.contains(text), "'{text}' is not said: {told}");
    }
    assert!(told.stdout.is_empty() && !place.path("out.yaml").exists(), "{told}");
    assert_eq!(place.read("m.yaml"), manifest);
}

fn pod(container: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n  - name: main\n{container}")
}

#[test]
fn images_are_looked_up_and_never_guessed() {
    let plain = pod("    image: nowhere.example/x:1\n");
    refused(
        &plain,
        &[],
        &["container main", "nowhere.example/x:1", "command", "--image-index", "--image-archive", "line 7"],
    );
    let place = Sandbox::without_store();
    place.write("m.yaml", &plain);
    let known = |more: &[&str]| {
        let told = place.call([&["inject", "m.yaml", "--image", IMAGE][..], more].concat());
        assert_eq!(told.status, 0, "{told}");
        assert!(
            told.stdout.contains("run, --stop-signal=SIGUSR1, --, /entry]")
                && told.stdout.contains("args: [a]  # kale-agent: from the image"),
            "{told}"
        );
    };
    place.write("index.yaml", "nowhere.example/x:1: {entrypoint: [/entry], cmd: [a], stop-signal: SIGUSR1}\n");
    known(&["--no-engine", "--image-index", "index.yaml"]);
    // An OCI layout, as a folder and as a tar file.
    let config = r#"{"config": {"Entrypoint": ["/entry"], "Cmd": ["a"], "StopSignal": "SIGUSR1"}}"#;
    place.write("oci/oci-layout", r#"{"imageLayoutVersion": "1.0.0"}"#);
    place.write(
        "oci/index.json",
        r#"{"manifests": [{"digest": "sha256:aa", "annotations": {"org.opencontainers.image.ref.name": "1"}}]}"#,
    );
    place.write(
        "oci/blobs/sha256/aa",
        r#"{"manifests": [{"digest": "sha256:00", "platform": {"os": "unknown", "architecture": "unknown"}},
            {"digest": "sha256:bb", "platform": {"os": "linux", "architecture": "s390x"}}]}"#,
    );
    place.write("oci/blobs/sha256/bb", r#"{"config": {"digest": "sha256:cc"}}"#);
    place.write("oci/blobs/sha256/cc", config);
    known(&["--no-engine", "--image-archive", "nowhere.example/x:1=oci"]);
    let tar = |folder: &str, file: &str| {
        let done = std::process::Command::new("tar")
            .args(["-cf", file, "-C", folder, "."])
            .current_dir(place.path(""))
            .status();
        assert!(done.unwrap().success());
    };
    tar("oci", "oci.tar");
    known(&["--no-engine", "--image-archive", "nowhere.example/x:1=oci.tar"]);
    // What `docker save` writes.
    place.write("saved/manifest.json", r#"[{"Config": "blobs/sha256/cc", "RepoTags": ["nowhere.example/x:1"]}]"#);
    place.write("saved/blobs/sha256/cc", config);
    tar("saved", "saved.tar");
    known(&["--no-engine", "--image-archive", "saved.tar"]);
    // An engine that answers.
    let engine = place.write(
        "bin/docker",
        "#!/bin/sh\n[ \"$1 $2\" = 'image inspect' ] && \
            echo '{\"Entrypoint\": [\"/entry\"], \"Cmd\": [\"a\"], \"StopSignal\": \"SIGUSR1\"}'\n",
    );
    fs::set_permissions(&engine, fs::Permissions::from_mode(0o755)).unwrap();
    let mut agent = place.agent();
    agent.env("PATH", format!("{}:/usr/bin:/bin", place.path("bin").display()));
    let told = Told::of(&agent.args(["inject", "m.yaml", "--image", IMAGE]).output().unwrap());
    assert!(told.status == 0 && told.stdout.contains("run, --stop-signal=SIGUSR1, --, /entry]"), "{told}");
    // Files that are none of these.
    place.write("broken.tar", "x".repeat(2000));
    for (archive, status) in [("broken.tar", 190), ("missing.tar", 195)] {
        let told = place.call(["inject", "m.yaml", "--image", IMAGE, "--no-engine", "--image-archive", archive]);
        assert_eq!(told.status, status, "{told}");
    }
}

#[test]
fn bad_manifests_are_refused_by_line() {
    refused("a: b\n\tc: d\n", &[], &["line 2", "tabs"]);
    refused("a: [b\n", &[], &["is no YAML"]);
    refused("kind: Pod\nspec: [\n", &[], &["is no YAML"]);
    refused("- a\n- b\n", &[], &["no document of a known kind"]);
    refused("", &[], &["no document of a known kind"]);
    refused("apiVersion: v1\nkind: ConfigMap\n", &[], &["no document of a known kind", "a ConfigMap"]);
    refused("kind: Workflow\napiVersion: example.com/v1\nspec: {}\n", &[], &["no document of a known kind"]);
    refused("apiVersion: batch/v1\nkind: Job\nmetadata: {name: x}\n", &[], &["line 1", "no spec"]);
    refused("apiVersion: v1\nkind: Pod\nspec:\n  containers: none\n", &[], &["line 4", "containers is no list"]);
    refused(&pod("    image: a\n    command: python\n"), &[], &["line 9", "command is no list"]);
    refused(&pod("    image: a\n    command: [a]\n    command: [b]\n"), &[], &["command is there twice"]);
    refused(&pod("    image: a\n    command: [*nowhere]\n"), &[], &["is no YAML", "line 9"]);
    refused(&pod("    image: a\n    command: &a [x, *a]\n"), &[], &["line 9"]);
    refused(&pod("    image: alpine\n    command: []\n  volumes: 7\n"), &[], &["volumes is no list"]);
}

#[test]
fn clashes_are_named() {
    let command = "    image: a\n    command: [a]\n";
    refused(
        &pod(&format!("{command}  volumes:\n  - name: kale-agent\n    configMap: {{name: x}}\n")),
        &[],
        &["line 11", "kale-agent", "another name"],
    );
    refused(
        &pod(&format!("{command}  initContainers: [{{name: kale-agent, image: x}}]\n")),
        &[],
        &["init container is called kale-agent"],
    );
    refused(
        &pod(&format!("{command}    volumeMounts: [{{name: x, mountPath: /kale/bin/}}]\n")),
        &[],
        &["mounted at /kale/bin"],
    );
    refused(
        &pod(&format!("{command}    volumeMounts: [{{name: x, mountPath: /kale/store}}]\n")),
        &["--store-claim", "c"],
        &["mounted at /kale/store"],
    );
    refused(
        "services:\n  kale-agent: {image: x}\n  a: {image: x, entrypoint: [a]}\n",
        &["--pipeline", "p"],
        &["service is called kale-agent"],
    );
    refused(
        &pod(command).replace("name: main", "name: kale-agent"),
        &[],
        &["line 7", "container is called kale-agent"],
    );
    let workflow =
        |more: &str| format!("apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {{name: w}}\nspec:\n{more}");
    let template = "  templates:\n  - name: m\n    container: {image: a, command: [a]}\n";
    refused(
        &workflow(&format!("{template}    sidecars: [{{name: kale-agent, image: x}}]\n")),
        &[],
        &["line 8", "sidecar is called kale-agent"],
    );
    refused(
        &workflow(&format!("  volumes: [{{name: kale-agent, emptyDir: {{}}}}]\n{template}")),
        &[],
        &["line 5", "volume is called kale-agent"],
    );
    for volume in ["x:/kale/bin", "{type: volume, source: x, target: /kale/bin/}"] {
        refused(
            &format!("services:\n  a: {{image: x, entrypoint: [a], volumes: [{volume}]}}\n"),
            &["--pipeline", "p"],
            &["line 2", "mounted at /kale/bin"],
        );
    }
}

#[test]
fn clashes_in_kfps_second_document_are_named() {
    let platform = |mount: &str| {
        let executors = format!("executors: {{exec-sum: {{emptyDirMounts: [{mount}]}}}}");
        format!("{LOOP}---\nplatforms: {{kubernetes: {{deploymentSpec: {{{executors}}}}}}}\n")
    };
    refused(&platform("{volumeName: kale-agent, mountPath: /x}"), &[], &["line 31", "volume is called kale-agent"]);
    refused(&platform("{volumeName: x, mountPath: /kale/bin}"), &[], &["line 31", "mounted at /kale/bin"]);
}

#[test]
fn services_that_extend_others_say_their_entrypoint() {
    let services = "services:\n  base: {image: x, entrypoint: [a]}\n  more: {extends: base, command: [b]}\n";
    refused(services, &["--pipeline", "p"], &["line 3", "service more extends another", "write its entrypoint here"]);
    refused(
        "services:\n  a: {image: alpine, entrypoint: []}\n",
        &["--pipeline", "p"],
        &["service a has neither entrypoint nor command"],
    );
}

#[test]
fn what_is_said_of_steps_is_checked() {
    let annotated = |text: &str| {
        pod("    image: a\n    command: [a]\n").replace("name: p\n", &format!("name: p\n  annotations: {{{text}}}\n"))
    };
    for (text, says) in [
        ("kale.dev/inn: a", "kale.dev/inn is not known"),
        ("kale.dev/in.mian: 'a:b'", "names mian"),
        ("kale.dev/in: a", "the input 'a'"),
        ("kale.dev/out: a/b", "the output 'a/b'"),
        ("kale.dev/wait: soon", "soon"),
        ("kale.dev/param: x", "'x' is no NAME=VALUE"),
        ("kale.dev/inject: maybe", "maybe"),
        ("kale.dev/step: a/b", "a/b"),
    ] {
        refused(&annotated(text), &["--store", "/s"], &[says]);
    }
    let plain = annotated("a: b");
    refused(&plain, &["--skip", "mian"], &["--skip names mian", "there is main"]);
    let place = Sandbox::without_store();
    place.write("m.yaml", &plain);
    for (map, says) in
        [("steps: {mian: {in: ['a:b']}}", "names mian"), ("steps: {main: {inn: []}}", "inn"), ("[", "map.yaml")]
    {
        place.write("map.yaml", map);
        let told = inject(&place, "m.yaml", &["--map", "map.yaml"]);
        assert!(told.status == 190 && told.stderr.contains(says), "{map}: {told}");
    }
    let told = place.call(["inject", "m.yaml"]);
    assert!(told.status == 190 && told.stderr.contains("--image"), "{told}");
    for (flag, value) in [
        ("--store-claim", ":x"),
        ("--store-claim", "a:b"),
        ("--store-host", "a"),
        ("--secret", ":k"),
        ("--secret", "a:b-c"),
    ] {
        assert_eq!(inject(&place, "m.yaml", &[flag, value]).status, 190, "{flag} {value}");
    }
}

/// A pipeline of KFP in which one executor runs in a loop, within a component of its own.
const LOOP: &str = "\
components:
  comp-each:
    dag:
      tasks:
        square:
          componentRef: {name: comp-square}
  comp-square:
    executorLabel: exec-square
  comp-sum:
    executorLabel: exec-sum
deploymentSpec:
  executors:
    exec-square:
      container:
        command: [square]
        image: alpine
    exec-sum:
      container:
        command: [sum]
        image: alpine
pipelineInfo: {name: p}
root:
  dag:
    tasks:
      each:
        componentRef: {name: comp-each}
        parameterIterator: {itemInput: x, items: {raw: '[1, 2]'}}
      sum:
        componentRef: {name: comp-sum}
";

#[test]
fn tasks_of_a_loop_have_to_be_told_apart() {
    let store = ["--store", "/kale/store"];
    let place = Sandbox::without_store();
    place.write("m.yaml", LOOP);
    let told = inject(&place, "m.yaml", &store);
    assert_eq!(told.status, 0, "{told}");
    assert!(told.stdout.contains("[/kale/bin/kale-agent, run, --, square]"), "{told}");
    assert!(told.stdout.contains("--step=sum, --, sum]"), "{told}");
    assert!(told.stderr.contains("executor square runs more than once"), "{told}");
    let map = |text: &str| [&store[..], &["--map", place.write("map.yaml", text).to_str().unwrap()]].concat().join(" ");
    let work = map("steps: {square: {out: [x]}}");
    let work: Vec<&str> = work.split(' ').collect();
    refused(LOOP, &work, &["executor square runs more than once", "shard or a step with --map", "line 15"]);
    let apart = map("steps: {square: {out: [x], shard: \"{{$.inputs.parameters['x']}}/2\"}}");
    let told = inject(&place, "m.yaml", &apart.split(' ').collect::<Vec<_>>());
    assert_eq!(told.status, 0, "{told}");
    assert!(
        told.stdout.contains("--step=square")
            && told.stdout.contains("--out=x")
            && !told.stderr.contains("more than once"),
        "{told}"
    );
    // Two tasks of one component are two, too.
    let twice = LOOP.replace("        parameterIterator: {itemInput: x, items: {raw: '[1, 2]'}}\n", "")
        + "      again:\n        componentRef: {name: comp-square}\n";
    place.write("m.yaml", twice);
    assert!(inject(&place, "m.yaml", &store).stderr.contains("square runs more than once"));
}
