//! `collect`: a folder with one entry for each producer, and an index.

use crate::{
    marshal::{self, MarshalError, RestoreOptions},
    report::Monitor,
    store::Store,
};
use kale_protocol::{manifest::Shape, path::ArtifactPath, record::Source};
use serde::Serialize;
use std::{
    fs,
    io::Write,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
};

/// The index's name in the folder; producers have numbers, so that it cannot clash.
pub const INDEX_FILE: &str = "index.json";

/// One producer in the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Its shard.
    pub shard: u32,
    /// Where its artifact lies, relative to the folder.
    pub path: String,
    /// The attempt that counts.
    pub attempt: String,
    /// The artifact's digest.
    pub digest: String,
    /// `file`, `tree` or `value`.
    pub shape: &'static str,
    /// What its content is, where known.
    pub format: Option<String>,
    /// Bytes of it that were cloned and that nobody has verified yet; not in the index.
    #[serde(skip)]
    pub unverified_bytes: u64,
}

/// How many producers are restored at once: the first and last moments of one, which keep few cores busy, fall into
/// the middle of another.
const AT_ONCE: usize = 2;

/// The word for a shape in JSON.
pub fn shape_word(shape: Shape) -> &'static str {
    match shape {
        Shape::File => "file",
        Shape::Tree => "tree",
        Shape::Value => "value",
    }
}

/// Restores every source under its shard's number below `target`, which must not exist, and writes the index last.
///
/// Sources are in shard order. On an error what was restored is removed again.
pub fn collect(
    store: &Store,
    sources: &[(Source, Shape, Option<String>)],
    inside: &ArtifactPath,
    target: &Path,
    options: &RestoreOptions,
    monitor: &dyn Monitor,
) -> Result<Vec<Collected>, MarshalError> {
    let io = |action: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| MarshalError::Io { action, path, source }
    };
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(io("create", parent))?;
    }
    fs::create_dir(target).map_err(io("create", target))?;
    let one = |(source, shape, format): &(Source, Shape, Option<String>)| {
        let name = source.producer.index.to_string();
        let place = target.join(&name);
        let restored = marshal::restore(store.transport(), &source.manifest, inside, &place, options, monitor)?;
        Ok(Collected {
            shard: source.producer.index,
            path: name,
            attempt: source.attempt.to_string(),
            digest: source.digest.to_string(),
            shape: shape_word(*shape),
            format: format.clone(),
            unverified_bytes: restored.unverified_bytes,
        })
    };
    let fill = || {
        let index = in_order(sources, one)?;
        let path = target.join(INDEX_FILE);
        let json = serde_json::to_vec_pretty(&index).expect("an index of plain values has a JSON form");
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&path).map_err(io("create", &path))?;
        file.write_all(&json).map_err(io("write", &path))?;
        Ok(index)
    };
    fill().inspect_err(|_| {
        // What is left is ours alone and incomplete; the error that matters is the one that is returned.
        let _ = fs::remove_dir_all(target);
    })
}

/// Does `one` for each of `all`, a few at once and begun in order, and returns what they gave, or the first error in
/// order: after an error none is begun.
fn in_order<T: Sync, R: Send>(
    all: &[T],
    one: impl Fn(&T) -> Result<R, MarshalError> + Sync,
) -> Result<Vec<R>, MarshalError> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        let mut done = Vec::new();
        while !failed.load(Relaxed) {
            let at = next.fetch_add(1, Relaxed);
            let Some(item) = all.get(at) else { break };
            let result = one(item);
            failed.fetch_or(result.is_err(), Relaxed);
            done.push((at, result));
        }
        done
    };
    let mut done = thread::scope(|scope| {
        let others: Vec<_> = (1..AT_ONCE.min(all.len())).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_and_the_first_error_counts() {
        let all: Vec<u32> = (0..100).collect();
        assert_eq!(in_order(&all, |n| Ok(n * 2)).unwrap(), all.iter().map(|n| n * 2).collect::<Vec<_>>());
        assert_eq!(in_order::<u32, u32>(&[], |_| unreachable!()).unwrap(), Vec::<u32>::new());
        let begun = AtomicUsize::new(0);
        let failing = |n: &u32| {
            begun.fetch_add(1, Relaxed);
            if *n < 10 { Ok(*n) } else { Err(MarshalError::Occupied { path: n.to_string().into() }) }
        };
        let error = in_order(&all, failing).unwrap_err().to_string();
        assert!(error.starts_with("10 is there already"), "{error}");
        assert!(begun.into_inner() <= 10 + AT_ONCE);
    }
}
