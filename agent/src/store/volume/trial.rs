//! How fast the medium is, tried out by writing something for that alone.

use super::{super::pace::Pace, root::Root, write_behind};
use std::{
    fs::File,
    io::Write,
    time::{Duration, Instant},
};

/// So much is written first: a medium that takes long for it is slow enough to know.
const FIRST: usize = 1 << 20;
/// So often as much makes a stretch like those that are timed when packs are written.
const REST: usize = 8;
/// What takes longer for that, network and all, takes less than 50 MB/s.
const SLOW: Duration = Duration::from_millis(20);
/// From then on no further stretch is begun.
const ENOUGH: Duration = Duration::from_millis(10);

/// Bytes a second, the fastest of up to three stretches; `None` where nothing can be written there or nothing is waited
/// for. Writes 25 MiB at most, of which nothing is left.
pub(super) fn rate(root: &Root) -> Option<u64> {
    if !root.writes_behind() {
        return None;
    }
    let mut content = vec![0; FIRST];
    // A file system that compresses would take zeros for nothing.
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    // Without a name: whoever is killed meanwhile leaves nothing either.
    let mut file = tempfile::tempfile_in(&**root).ok()?;
    let (pace, began) = (Pace::default(), Instant::now());
    let mut written = 0;
    let mut stretch = |times: usize| {
        let bytes = (times * FIRST) as u64;
        (0..times).try_for_each(|_| file.write_all(&content)).ok()?;
        let took = waited_for(&file, written, bytes)?;
        written += bytes;
        Some((bytes, took))
    };
    let (bytes, took) = stretch(1)?;
    if took > SLOW {
        pace.took(bytes, took);
        return pace.rate();
    }
    while pace.is_wanted() && (pace.rate().is_none() || began.elapsed() < ENOUGH) {
        let (bytes, took) = stretch(REST)?;
        pace.took(bytes, took);
    }
    pace.rate()
}

/// How long the medium takes for a stretch that lies in the page cache.
fn waited_for(file: &File, at: u64, bytes: u64) -> Option<Duration> {
    let began = Instant::now();
    write_behind::write_back_and_wait(file, at, bytes).then(|| began.elapsed())
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Sync, tests::files_under},
        *,
    };

    #[test]
    fn leaves_nothing_and_tells_nothing_where_nothing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let root = |sync| Root::new(folder.path().to_owned(), sync);
        assert_eq!(rate(&root(Sync::Never)), None);
        let file = tempfile::tempfile_in(folder.path()).unwrap();
        let can_tell = write_behind::write_back_and_wait(&file, 0, 1);
        assert_eq!(rate(&root(Sync::Always)).is_some(), can_tell);
        assert_eq!(files_under(folder.path()), Vec::<String>::new());
        // The rate of what is really written is another matter.
        assert_eq!(root(Sync::Always).pace().rate(), None);
        let gone = Root::new(folder.path().join("file"), Sync::Always);
        std::fs::write(&*gone, "x").unwrap();
        assert_eq!(rate(&gone), None);
    }
}
