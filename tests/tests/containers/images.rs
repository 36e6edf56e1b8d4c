//! The images that people start from.

use super::image::Image;
use kale_tests::{sandbox::Sandbox, skip::skip};
use std::{fs, path::Path, process::Command};

const LIMIT: u64 = 16_000_000;

#[test]
fn the_agents_image_is_small_and_an_image_of_a_step_takes_it_from_there() {
    let test = "the_agents_image_is_small_and_an_image_of_a_step_takes_it_from_there";
    let place = Sandbox::new();
    let Some(agent) = Image::build(test, &place) else { return };
    assert!(agent.bytes() <= LIMIT, "{} bytes", agent.bytes());
    let image = agent.derived("example", &place);
    let hard = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", "12345"];
    for (step, before, said) in [("first", "", "number 1\n"), ("second", "first:number", "number 2\n")] {
        let variables = [format!("KALE_STEP={step}"), format!("BEFORE={before}")];
        let told = image.own(&place, &[&hard[..], &["--env", &variables[0], "--env", &variables[1]]].concat());
        assert_eq!((told.status, told.stdout.as_str()), (0, said), "{told}");
    }
}

#[test]
fn the_debug_image_has_a_shell() {
    let place = Sandbox::new();
    let Some(agent) = Image::build("the_debug_image_has_a_shell", &place) else { return };
    let shell = Path::new("/bin/busybox");
    let linked = Command::new("ldd").arg(shell).output().expect("ldd comes with the C library");
    if !shell.exists() || linked.status.success() {
        return skip("the_debug_image_has_a_shell", "no static busybox here: `make images` installs it");
    }
    fs::copy(shell, place.path("context/busybox")).unwrap();
    fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/debug/Dockerfile"),
        place.path("context/Dockerfile"),
    )
    .unwrap();
    let image = agent.again(&place);
    let store = format!("{}:/store", place.store().display());
    place.write("number", "7");
    place.ok(["save", "number", "number"]);
    let told = image.run(
        &["--volume", &store, "--env", "KALE_STORE=/store"],
        &["sh", "-c", "ls /store && kale-agent cat p/r/number:number | wc -c"],
    );
    assert!(told.status == 0 && told.stdout.ends_with("1\n"), "{told}");
}
