//! `collect`: a folder with one entry for each producer, and an index.

use crate::{
    marshal::{self, MarshalError, RestoreOptions, Sharing},
    report::{Monitor, Part, Phase},
    store::Store,
};
use kale_protocol::{manifest::Shape, path::ArtifactPath, record::Source};
use serde::Serialize;
use std::{fs, io::Write, path::Path};

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
/// Sources are in shard order; a few are restored at once, under one progress. On an error what was restored is removed
/// again.
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
    let total = inside.is_root().then(|| sources.iter().map(|(source, ..)| source.totals.raw_bytes).sum());
    monitor.begin(Phase::Restore, &target.display().to_string(), total);
    let part = Part(monitor);
    let lengths = sources.iter().map(|(source, ..)| source.totals.raw_bytes);
    let sharing = Sharing::of(lengths, options.threads, store.transport());
    let options = RestoreOptions { threads: sharing.threads, ..*options };
    let one = |(source, shape, format): &(Source, Shape, Option<String>)| {
        let name = source.producer.index.to_string();
        let place = target.join(&name);
        let restored = marshal::restore(store.transport(), &source.manifest, inside, &place, &options, &part)?;
        Ok::<_, MarshalError>(Collected {
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
        let index = sharing.each(sources, one)?;
        let path = target.join(INDEX_FILE);
        let json = serde_json::to_vec_pretty(&index).expect("an index of plain values has a JSON form");
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&path).map_err(io("create", &path))?;
        file.write_all(&json).map_err(io("write", &path))?;
        Ok(index)
    };
    let filled = fill();
    monitor.end();
    filled.inspect_err(|_| {
        // What is left is ours alone and incomplete; the error that matters is the one that is returned.
        let _ = fs::remove_dir_all(target);
    })
}
