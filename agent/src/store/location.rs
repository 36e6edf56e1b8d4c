//! Where a store is: from what people write to a medium.

use super::{StoreError, Sync, Transport, Volume};
use kale_protocol::layout;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// The folder that makes the folder above it a place with a store, as `.git` does.
pub const FOLDER: &str = ".kale";

const NON_TEXT: &AsciiSet = &CONTROLS.add(b'%').add(b' ').add(b'?').add(b'#');

/// Opens the medium at a location: a path or a `file://` URL.
pub fn open(text: &str, sync: Sync) -> Result<Arc<dyn Transport>, StoreError> {
    open_folder(&parse(text)?, sync)
}

/// Makes a medium at a location, or opens the one that is there.
pub fn create(text: &str) -> Result<Arc<dyn Transport>, StoreError> {
    create_folder(&parse(text)?)
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

fn parse(text: &str) -> Result<PathBuf, StoreError> {
    let wrong = |why| StoreError::Location { text: text.escape_debug().to_string(), why };
    if text.is_empty() {
        return Err(wrong("it is empty"));
    }
    let url = text.split_once("://").filter(|(scheme, _)| !scheme.contains(['/', '.']));
    let Some((scheme, rest)) = url else { return Ok(PathBuf::from(text)) };
    match scheme {
        "file" => {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            if path.contains(['?', '#']) {
                return Err(wrong("a file URL has no query and no fragment; write %3F for ? and %23 for #"));
            }
            if !path.starts_with('/') {
                return Err(wrong("a file URL names an absolute path, as in file:///mnt/kale"));
            }
            Ok(PathBuf::from(OsString::from_vec(percent_decode_str(path).collect())))
        }
        "s3" | "gs" | "az" => Err(wrong("buckets are not supported by this version, which keeps stores on volumes")),
        _ => Err(wrong("give a path, or a URL such as file:///mnt/kale")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_urls() {
        assert_eq!(parse("a/b").unwrap(), Path::new("a/b"));
        assert_eq!(parse("file:///mnt/a%20b").unwrap(), Path::new("/mnt/a b"));
        assert_eq!(parse("file://localhost/mnt").unwrap(), Path::new("/mnt"));
        assert_eq!(parse("/mnt/a://b").unwrap(), Path::new("/mnt/a://b"));
        assert_eq!(parse("./s3://b").unwrap(), Path::new("./s3://b"));
        for bad in ["", "file://host/x", "file:///a?b", "s3://b/p", "gs://b", "az://b/p", "ftp://x"] {
            assert!(parse(bad).unwrap_err().to_string().contains(bad), "{bad}");
        }
    }

    #[test]
    fn a_folder_is_found_by_its_own_name() {
        for name in [&b"plain"[..], b"\xff %23#?", "\u{fc}".as_bytes()] {
            let path = Path::new("/mnt").join(OsString::from_vec(name.to_vec()));
            assert_eq!(parse(&of(&path)).unwrap(), path);
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
