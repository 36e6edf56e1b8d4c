//! What operators forbid containers, one thing after the other and all at once.

use super::image::Image;
use kale_tests::{binary::kale_agent, sandbox::Sandbox};
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

const SETTINGS: [(&str, &[&str]); 5] = [
    ("read-only", &["--read-only"]),
    ("no-capabilities", &["--cap-drop", "ALL"]),
    ("no-new-privileges", &["--security-opt", "no-new-privileges"]),
    ("anybody", &["--user", "12345:54321"]),
    ("few-processes", &["--pids-limit", "64"]),
];

#[test]
fn steps_need_nothing_that_is_forbidden() {
    let place = Sandbox::new();
    let Some(image) = Image::build("steps_need_nothing_that_is_forbidden", &place) else { return };
    let all = SETTINGS.iter().flat_map(|(_, options)| *options).copied().collect::<Vec<_>>();
    // Each container has one folder of its own that can be written to, in memory.
    for (name, options) in SETTINGS.into_iter().chain([("all", &all[..])]) {
        let [makes, takes] = [format!("{name}-makes"), format!("{name}-takes")];
        let shell = "cd /tmp && mkdir made && echo one > made/one && ln -s one made/two && echo three > v && kale-agent save value v";
        let told = image.step(&place, options, &["--step", &makes, "--out", "made=/tmp/made"], shell);
        assert_eq!(told.status, 0, "{name}: {told}");
        let input = format!("{makes}:made=/tmp/made");
        let shell = format!(
            "cd /tmp && cat made/two && kale-agent load {makes}:value got > /dev/null && cat got && cp -a made again"
        );
        let told =
            image.step(&place, options, &["--step", &takes, "--in", &input, "--out", "again=/tmp/again"], &shell);
        assert_eq!((told.status, told.stdout.as_str()), (0, "one\nthree\n"), "{name}: {told}");
    }
    assert_eq!(place.json(["ls", "p/r"]).as_array().map(Vec::len), Some(3 * (SETTINGS.len() + 1)));
    place.ok(["load", "all-takes:again", "back"]);
    assert_eq!(place.read("back/two"), "one\n");
}

#[test]
fn what_a_step_saves_is_read_from_its_memory_without_a_copy() {
    let place = Sandbox::new();
    let test = "what_a_step_saves_is_read_from_its_memory_without_a_copy";
    let Some(image) = Image::build(test, &place) else { return };
    let all = SETTINGS.iter().flat_map(|(_, options)| *options).copied().collect::<Vec<_>>();
    let saves = "import kale_agent; from kale_agent import memory, snapshot; memory._write = None; \
                 saved = kale_agent.save('x', b'0123456789abcdef' * (1 << 20)); print(len(snapshot._children))";
    let shell = format!("python3 -c \"{saves}\"");
    let told = image.step(&place, &all, &["--step", "saves"], &shell);
    assert_eq!((told.status, told.stdout.as_str()), (0, "1\n"), "{told}");
    place.ok(["load", "saves:x", "back"]);
    assert_eq!(place.read("back"), "0123456789abcdef".repeat(1 << 20));
}

#[test]
fn what_cannot_be_written_is_said() {
    let place = Sandbox::new();
    let Some(image) = Image::build("what_cannot_be_written_is_said", &place) else { return };
    let store = format!("{}:/store:ro", place.store().display());
    let told = image.run(
        &["--read-only", "--tmpfs", "/tmp", "--volume", &store, "--env", "KALE_STORE=/store", "--env", "KALE_RUN=r"],
        &["run", "--pipeline", "p", "--step", "s", "--", "/kale-agent", "--version"],
    );
    assert!(told.status == 195 && told.stderr.contains("/store"), "{told}");
    // An image from scratch has no folder for temporary files.
    let store = store.trim_end_matches(":ro");
    let told = image.run(
        &["--read-only", "--volume", store, "--env", "KALE_STORE=/store", "--env", "KALE_RUN=r"],
        &["run", "--pipeline", "p", "--step", "s", "--", "/kale-agent", "--version"],
    );
    assert!(told.status == 195 && told.stderr.contains("--dir or TMPDIR"), "{told}");
}

#[test]
fn install_needs_nothing_that_is_forbidden() {
    let place = Sandbox::without_store();
    let Some(image) = Image::build("install_needs_nothing_that_is_forbidden", &place) else { return };
    let agent = fs::read(kale_agent()).unwrap();
    let into = |folder: &Path, mode, options: &[&str]| {
        fs::create_dir(folder).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
        let volume = format!("{}:/kale/bin", folder.display());
        image.run(&[options, &["--volume", &volume]].concat(), &["install", "/kale/bin"])
    };
    // `run` takes the network from every container.
    for (name, options) in SETTINGS.into_iter().chain([("no-network", &[][..])]) {
        let folder = place.path(name);
        let told = into(&folder, 0o777, options);
        assert!(told.status == 0 && told.stdout.starts_with("installed"), "{name}: {told}");
        let names: Vec<_> = fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(names, ["kale-agent"], "{name}");
        let installed = folder.join("kale-agent");
        assert!(fs::read(&installed).unwrap() == agent, "{name}");
        assert_eq!(fs::metadata(&installed).unwrap().permissions().mode() & 0o7777, 0o555, "{name}");
    }
    // Memory is the only place where it may write: all of what it wrote ends with the container.
    let told = image.run(&["--read-only", "--tmpfs", "/kale/bin"], &["install", "/kale/bin"]);
    assert!(told.status == 0 && told.stdout.starts_with("installed"), "{told}");
    // Each container was what it was said to be: with nowhere to write, there is no installing.
    let told = image.run(&["--read-only"], &["install", "/copy"]);
    assert!(told.status == 195 && told.stderr.contains("/copy"), "{told}");
    let told = into(&place.path("not-theirs"), 0o755, &["--user", "12345"]);
    assert!(told.status == 195 && told.stderr.contains("/kale/bin"), "{told}");
    assert_eq!(fs::read_dir(place.path("not-theirs")).unwrap().count(), 0);
}
