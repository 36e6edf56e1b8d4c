//! Stopped by another signal than TERM: what an image or a container names.

use super::image::Image;
use kale_tests::sandbox::Sandbox;
use std::{fs, time::Instant};

#[test]
fn an_images_own_stop_signal_asks_for_an_end() {
    let place = Sandbox::new();
    let Some(image) = Image::build("an_images_own_stop_signal_asks_for_an_end", &place) else { return };
    let dockerfile = place.read("context/Dockerfile");
    place.write("context/Dockerfile", format!("{dockerfile}STOPSIGNAL SIGUSR1\n"));
    let image = image.again(&place);
    let polite = |signal| {
        let end = format!("trap 'echo half > made; exit 0' {signal}");
        format!("{end}; rm -f made; echo ready; while :; do sleep 0.05; done")
    };
    let deaf = "trap '' USR1; echo ready; exec sleep 60".to_owned();
    let told = ["--env", "KALE_STOP_SIGNAL=SIGUSR1"];
    for (step, options, shell, status, says) in [
        ("quit", &["--stop-signal", "QUIT"][..], polite("QUIT"), 131, "by signal 3 (SIGQUIT)"),
        ("told", &told, polite("USR1"), 138, "by signal 10 (SIGUSR1)"),
        ("real-time", &["--stop-signal", "37", "--env", "KALE_STOP_SIGNAL=RTMIN+3"], polite("37"), 165, "by signal 37"),
        ("deaf", &told, deaf, 137, "ended by signal 9"),
    ] {
        let arguments = ["--step", step, "--out", "made=/place/made", "--grace", "500ms"];
        let container = image.start(&place, options, &arguments, &shell);
        container.wait_for("ready");
        let begin = Instant::now();
        container.docker(&["stop", "--time", "20"]);
        let ended = container.ended();
        assert_eq!(ended.status, status, "{step}: {ended}");
        assert!(begin.elapsed().as_secs() < 10, "{step}: the engine had to kill it");
        // It said so at once, and what it left is no success.
        let shard = place.store().join("runs/p/r").join(step).join("0");
        let attempt = fs::read_dir(shard).unwrap().flatten().map(|entry| entry.path()).next().unwrap();
        assert!(attempt.join("stopped").is_file() && attempt.join("record").is_file(), "{step}");
        let record = place.json(["show", &format!("p/r/{step}")]);
        let text = record["failure"].to_string() + &record["notes"].to_string();
        assert!(text.contains(says), "{step}: {text}");
        place.fails(192, ["load", &format!("{step}:made"), "none"]);
    }
    // Nobody told the agent: the signal is passed on, and what the command makes of it counts.
    let container = image.start(&place, &[], &["--step", "untold", "--out", "made=/place/made"], &polite("USR1"));
    container.wait_for("ready");
    container.docker(&["stop", "--time", "20"]);
    let ended = container.ended();
    assert_eq!(ended.status, 0, "{ended}");
    assert_eq!(place.ok(["cat", "untold:made"]), "half\n");
    let told = image.step(&place, &["--env", "KALE_STOP_SIGNAL=BYE"], &["--step", "s"], "true");
    assert!(told.status == 190 && told.stderr.contains("RTMIN+3"), "{told}");
}
