//! Two containers on one volume.

use super::image::Image;
use kale_tests::sandbox::Sandbox;

/// A shell command of two containers: goes on where both have come to it.
fn met(one: &str, other: &str) -> String {
    let both = format!("test -d /place/{one} && test -d /place/{other}");
    format!("mkdir /place/{one} 2>/dev/null || mkdir /place/{other}; until {both}; do sleep 0.02; done")
}

#[test]
fn two_containers_on_one_volume() {
    let place = Sandbox::new();
    let Some(image) = Image::build("two_containers_on_one_volume", &place) else { return };
    let options = ["--workdir", "/tmp"];
    let same = format!("{}; echo same > out", met("a", "b"));
    let racers = [(); 2].map(|()| image.start(&place, &options, &["--step", "race", "--out", "out=/tmp/out"], &same));
    for racer in racers {
        let told = racer.ended();
        assert_eq!(told.status, 0, "{told}");
    }
    place.ok(["load", "race:out", "back"]);
    assert_eq!(place.read("back"), "same\n");

    let shards = ["0/2", "1/2"].map(|shard| {
        let own = format!("{}; echo {shard} > out", met("c", "d"));
        image.start(&place, &options, &["--step", "fan", "--shard", shard, "--out", "out=/tmp/out"], &own)
    });
    for shard in shards {
        let told = shard.ended();
        assert_eq!(told.status, 0, "{told}");
    }
    let told = image.step(&place, &options, &["--step", "join", "--in", "all=fan[*]:out=/tmp/all"], "cat all/0 all/1");
    assert_eq!((told.status, told.stdout.as_str()), (0, "0/2\n1/2\n"), "{told}");
}
