//! Steps in containers, where a Docker engine answers.

mod ends;
mod hardened;
mod image;
mod images;
mod stops;
mod together;

use image::Image;
use kale_tests::{binary::kale_agent, sandbox::Sandbox};
use std::{fs, os::unix::fs::PermissionsExt, process::Command};

#[test]
fn from_scratch_as_pid_1_with_nothing_allowed() {
    let place = Sandbox::new();
    let Some(image) = Image::build("from_scratch_as_pid_1_with_nothing_allowed", &place) else { return };
    let hard = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", "12345"];
    let told = image.run(&hard, &["run", "--", "/kale-agent", "--version"]);
    assert_eq!((told.status, told.stdout.starts_with("kale-agent ")), (0, true), "{told}");
    let told = image.run(&hard, &["run", "--", "/no-such-command"]);
    assert_eq!(told.status, 127, "{told}");
}

#[test]
fn a_step_in_a_container_commits_to_a_store_on_a_volume() {
    let place = Sandbox::new();
    let Some(image) = Image::build("a_step_in_a_container_commits_to_a_store_on_a_volume", &place) else { return };
    let store = format!("{}:/store", place.store().display());
    let options =
        ["-v", &store, "--tmpfs", "/tmp", "-e", "KALE_STORE=/store", "-e", "KALE_PIPELINE=p", "-e", "KALE_RUN=r"];
    let step = ["run", "--step", "s", "--log", "capture", "--", "/kale-agent", "save", "binary", "/kale-agent"];
    let told = image.run(&options, &step);
    assert_eq!(told.status, 0, "{told}");
    place.ok(["load", "s:binary", "back"]);
    assert!(fs::read(place.path("back")).unwrap() == fs::read(kale_agent()).unwrap());
    let told = image.run(&options, &step);
    assert!(told.stderr.contains("committed already"), "{told}");
}

#[test]
fn install_as_anybody_with_nothing_allowed() {
    let place = Sandbox::without_store();
    let Some(image) = Image::build("install_as_anybody_with_nothing_allowed", &place) else { return };
    // As an emptyDir is: anybody may write there.
    fs::create_dir(place.path("bin")).unwrap();
    fs::set_permissions(place.path("bin"), fs::Permissions::from_mode(0o777)).unwrap();
    let volume = format!("{}:/kale/bin", place.path("bin").display());
    let hard =
        ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", "12345", "-v", &volume];
    for done in ["installed", "there already"] {
        let told = image.run(&hard, &["install", "/kale/bin"]);
        assert!(told.status == 0 && told.stdout.starts_with(done), "{told}");
    }
    assert!(fs::read(place.path("bin/kale-agent")).unwrap() == fs::read(kale_agent()).unwrap());
    let read_only = format!("{volume}:ro");
    let step = ["--entrypoint", "/kale/bin/kale-agent", "--user", "54321", "-v", &read_only];
    let told = image.run(&step, &["run", "--", "/kale-agent", "--version"]);
    assert_eq!((told.status, told.stdout.starts_with("kale-agent ")), (0, true), "{told}");
}

#[test]
fn with_128_mib_of_memory_a_gigabyte_goes_through() {
    let place = Sandbox::new();
    let Some(image) = Image::build("with_128_mib_of_memory_a_gigabyte_goes_through", &place) else { return };
    fs::create_dir(place.path("data")).unwrap();
    let mut file = fs::File::create(place.path("data/large")).unwrap();
    for block in 0..1024 {
        std::io::Write::write_all(&mut file, &kale_tests::tree::noise(block % 512, 1 << 20)).unwrap();
    }
    drop(file);
    let volume = format!("{}:/data", place.path("data").display());
    let small = ["--memory", "128m", "--memory-swap", "128m", "--volume", &volume, "--env", "KALE_STORE=/data/store"];
    for arguments in [
        &["init", "/data/store"][..],
        &["save", "large", "/data/large", "--run", "r", "-q"],
        &["load", "r/large:large", "/data/back", "-q"],
        &["verify", "-q"],
    ] {
        let told = image.run(&small, arguments);
        assert_eq!(told.status, 0, "{arguments:?}: {told}");
    }
    let same = Command::new("cmp").args([place.path("data/large"), place.path("data/back")]).status().unwrap();
    assert!(same.success());
}
