//! Saves of which nothing new is compressed, where something was before.

use super::{Artifact, noise, options, save, text};
use crate::{
    marshal::{Compress, Known, SaveOptions, Source, save::Saved},
    report::Silent,
    store::Memory,
};
use std::{fs, path::Path};

#[test]
fn what_is_known_in_frames_stays_there() {
    let (memory, folder) = (Memory::new(), tempfile::tempdir().unwrap());
    let files =
        [("long", text(1_000_000)), ("middling", text(60_000)), ("noise", noise("n", 3 << 20)), ("short", text(2_000))];
    for (name, content) in &files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let mut known = Known::default();
    let save_with = |compress, known: &Known| save_folder(folder.path(), &memory, known, compress);
    let first = save_with(Compress::Auto, &known);
    assert!(first.stored_bytes < first.totals.raw_bytes / 2 + (3 << 20));
    known.recall(&memory, &first.manifest).unwrap();
    let again = save_with(Compress::Plain, &known);
    assert_eq!((again.manifest, again.manifest_new, again.stored_bytes), (first.manifest, false, 0));
    // What is appended is new, and kept as it is; all else is referred to.
    let more = text(30_000).iter().rev().copied().collect::<Vec<u8>>();
    let longer = |content: &[u8]| [content, &more].concat();
    for (name, content) in &files {
        fs::write(folder.path().join(name), longer(content)).unwrap();
    }
    let changed = save_with(Compress::Plain, &known);
    let new = changed.totals.raw_bytes - first.totals.raw_bytes;
    // With it the chunks that it was appended to: of a short file, all of it.
    assert!((new..new + (6 << 20)).contains(&changed.stored_bytes), "{new} {changed:?}");
    let read = Artifact::read(&memory, &changed);
    for (name, content) in &files {
        assert_eq!(read.content(name), longer(content), "{name}");
    }
    // Who wants all in one piece gets that, at its price.
    let whole = save_with(Compress::Never, &known);
    assert!(whole.stored_bytes > whole.totals.raw_bytes / 2, "{whole:?}");
    assert_eq!(whole.digest, changed.digest);
}

#[test]
fn a_little_that_is_new_among_what_is_known_is_compressed() {
    let (memory, folder) = (Memory::new(), tempfile::tempdir().unwrap());
    // All but the last few are one batch.
    for number in 0..40 {
        fs::write(folder.path().join(format!("{number}")), format!("{number} ").repeat(10_000)).unwrap();
    }
    let mut known = Known::default();
    let first = save_folder(folder.path(), &memory, &known, Compress::Plain);
    assert!(first.stored_bytes > first.totals.raw_bytes);
    known.recall(&memory, &first.manifest).unwrap();
    let few = "new ".repeat(10_000);
    fs::write(folder.path().join("20"), &few).unwrap();
    let second = save_folder(folder.path(), &memory, &known, Compress::Plain);
    assert!(second.stored_bytes < 5_000, "{second:?}");
    // Of many that are new, nothing is.
    for number in 0..20 {
        fs::write(folder.path().join(format!("{number}")), format!("{number} more ").repeat(10_000)).unwrap();
    }
    let third = save_folder(folder.path(), &memory, &known, Compress::Plain);
    assert!(third.stored_bytes > 20 * few.len() as u64, "{third:?}");
    assert_eq!(Artifact::read(&memory, &second).content("20"), few.as_bytes());
}

fn save_folder(folder: &Path, memory: &Memory, known: &Known, compress: Compress) -> Saved {
    let options = SaveOptions { compress, ..options(2) };
    save(Source::Path(folder.to_owned()), memory, known, &options, &Silent).unwrap()
}
