//! Where a store is: from what people write to a medium.

use super::{
    StoreError, Sync, Transport, Volume,
    bucket::{Bucket, Place, Provider},
};
use kale_protocol::layout;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use std::{
    env,
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// The folder that makes the folder above it a place with a store, as `.git` does.
pub const FOLDER: &str = ".kale";

const NON_TEXT: &AsciiSet = &CONTROLS.add(b'%').add(b' ').add(b'?').add(b'#');

/// What a location means.
#[derive(Debug, PartialEq, Eq)]
enum Location {
    Folder(PathBuf),
    Bucket(Place),
}

/// Opens the medium at a location: a path, a `file://` URL, or the URL of a bucket, on which everything is durable
/// whatever `sync` says.
pub fn open(text: &str, sync: Sync) -> Result<Arc<dyn Transport>, StoreError> {
    match parse(text)? {
        Location::Folder(folder) => open_folder(&folder, sync),
        Location::Bucket(place) => Ok(Arc::new(Bucket::open(place, &variables())?)),
    }
}

/// Makes a medium at a location, or opens the one that is there.
pub fn create(text: &str) -> Result<Arc<dyn Transport>, StoreError> {
    match parse(text)? {
        Location::Folder(folder) => create_folder(&folder),
        Location::Bucket(place) => Ok(Arc::new(Bucket::create(place, &variables())?)),
    }
}

/// The environment, as far as it is text.
fn variables() -> Vec<(String, String)> {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    env::vars_os().filter_map(text).collect()
}

/// Opens a folder as a medium; it must be there.
pub fn open_folder(folder: &Path, sync: Sync) -> Result<Arc<dyn Transport>, StoreError> {
    Ok(Arc::new(Volume::open_with(folder, sync)?))
}

/// Opens a folder as a medium, and makes it if it is not there.
pub fn create_folder(folder: &Path) -> Result<Arc<dyn Transport>, StoreError> {
    Ok(Arc::new(Volume::create(folder)?))
}

/// The nearest `.kale` that is a store, in a folder or above it.
pub fn find_upwards(from: &Path) -> Option<PathBuf> {
    let marker = layout::marker();
    from.ancestors().map(|folder| folder.join(FOLDER)).find(|folder| folder.join(marker.as_str()).is_file())
}

/// How people and the command line name a folder: its path, or a URL where the path is no text.
pub(super) fn of(folder: &Path) -> String {
    match folder.to_str() {
        Some(path) => path.to_owned(),
        None => format!("file://{}", percent_encode(folder.as_os_str().as_bytes(), NON_TEXT)),
    }
}

fn parse(text: &str) -> Result<Location, StoreError> {
    let wrong = |why| StoreError::Location { text: text.escape_debug().to_string(), why };
    if text.is_empty() {
        return Err(wrong("it is empty"));
    }
    let url = text.split_once("://").filter(|(scheme, _)| !scheme.contains(['/', '.']));
    let Some((scheme, rest)) = url else { return Ok(Location::Folder(PathBuf::from(text))) };
    if let Some(provider) = Provider::of_scheme(scheme) {
        return Place::parse(provider, rest).map(Location::Bucket).map_err(wrong);
    }
    match scheme {
        "file" => {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            if path.contains(['?', '#']) {
                return Err(wrong("a file URL has no query and no fragment; write %3F for ? and %23 for #"));
            }
            if !path.starts_with('/') {
                return Err(wrong("a file URL names an absolute path, as in file:///mnt/kale"));
            }
            Ok(Location::Folder(PathBuf::from(OsString::from_vec(percent_decode_str(path).collect()))))
        }
        _ => Err(wrong("give a path, or a URL such as file:///mnt/kale or s3://bucket/prefix")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(text: &str) -> PathBuf {
        match parse(text).unwrap() {
            Location::Folder(folder) => folder,
            Location::Bucket(place) => panic!("{text} is the bucket {place}"),
        }
    }

    #[test]
    fn paths_and_urls() {
        assert_eq!(folder("a/b"), Path::new("a/b"));
        assert_eq!(folder("file:///mnt/a%20b"), Path::new("/mnt/a b"));
        assert_eq!(folder("file://localhost/mnt"), Path::new("/mnt"));
        assert_eq!(folder("/mnt/a://b"), Path::new("/mnt/a://b"));
        assert_eq!(folder("./s3://b"), Path::new("./s3://b"));
        for bucket in ["s3://b/p", "gs://b", "az://b/p/q"] {
            assert!(matches!(parse(bucket).unwrap(), Location::Bucket(place) if place.to_string() == bucket));
        }
        for bad in ["", "file://host/x", "file:///a?b", "s3://", "gs:///p", "s3://b/../p", "ftp://x"] {
            assert!(parse(bad).unwrap_err().to_string().contains(bad), "{bad}");
        }
    }

    #[test]
    fn a_folder_is_found_by_its_own_name() {
        for name in [&b"plain"[..], b"\xff %23#?", "\u{fc}".as_bytes()] {
            let path = Path::new("/mnt").join(OsString::from_vec(name.to_vec()));
            assert_eq!(folder(&of(&path)), path);
        }
    }

    #[test]
    fn upwards_to_the_nearest_store() {
        let top = tempfile::tempdir().unwrap();
        let deep = top.path().join("a/b/c");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::create_dir_all(top.path().join("a/b/.kale")).unwrap();
        assert_eq!(find_upwards(&deep), None);
        std::fs::create_dir_all(top.path().join("a/.kale")).unwrap();
        std::fs::write(top.path().join("a/.kale/kale-store"), b"x").unwrap();
        assert_eq!(find_upwards(&deep), Some(top.path().join("a/.kale")));
    }
}
