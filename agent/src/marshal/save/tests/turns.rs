//! Whoever has the turn assembles: what is stored is the same, whoever that was.

use super::*;
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

/// Holds up every third item, so that those after it are finished before their turn.
#[derive(Debug, Default)]
struct Sluggish(AtomicU64);

impl Monitor for Sluggish {
    fn begin(&self, _phase: Phase, _what: &str, _total_bytes: Option<u64>) {}
    fn advance(&self, _bytes: u64) {
        if self.0.fetch_add(1, Relaxed).is_multiple_of(3) {
            thread::sleep(Duration::from_millis(3));
        }
    }
    fn end(&self) {}
    fn warn(&self, _message: &str) {}
}

#[test]
fn what_is_stored_does_not_depend_on_who_had_the_turn() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
    let arrays: Vec<_> = (0..4).map(|i| (format!("{i}"), noise(&format!("{i}"), 3 << 20))).collect();
    write("arrays", &safetensors(&arrays));
    // Content that comes twice is found, wherever it was first.
    write("cut", &[noise("cut", 9 << 20), text(200_000), noise("cut", 9 << 20)].concat());
    write("holes", &[vec![0; 3 << 20], noise("end", 2 << 20)].concat());
    (0..300).for_each(|i| write(&format!("small{i}"), &noise(&format!("small{i}"), 5000 + i)));
    for compress in [Compress::Never, Compress::Plain, Compress::Zstd(1)] {
        let stored = |threads: usize, monitor: &dyn Monitor| {
            let memory = Memory::new();
            let options = SaveOptions { compress, ..options(threads) };
            let path = Source::Path(folder.path().to_owned());
            let saved = save(path, &memory, &Known::default(), &options, monitor).unwrap();
            let artifact = Artifact::read(&memory, &saved);
            let extents = ["arrays", "cut", "holes", "small7"]
                .map(|name| Vec::from_iter(artifact.extents(name).into_iter().cloned()));
            (saved.stored_bytes, saved.digest, extents, artifact.content("cut"))
        };
        let alone = stored(1, &Silent);
        for threads in [2, 3, 8] {
            assert!(stored(threads, &Sluggish::default()) == alone, "{compress:?} with {threads} threads");
        }
    }
}
