//! Paths inside an artifact: raw bytes that can never leave the folder they are restored to.

use crate::{bytes, limits, name::misleads};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::{cmp::Ordering, fmt};

/// A relative path inside an artifact: any bytes but NUL, no empty, `.` or `..` component.
///
/// The empty path is the artifact's own root. Order is component by component, bytewise, so that a
/// folder stands directly before what is in it: the order of a walk that sorts each folder.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ArtifactPath(Vec<u8>);

/// Why bytes are no path inside an artifact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{path}' cannot be a path inside an artifact: {why}")]
pub struct PathError {
    path: String,
    why: &'static str,
}

impl ArtifactPath {
    /// The root of an artifact.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Checks bytes that claim to be a path.
    pub fn new(bytes: Vec<u8>) -> Result<Self, PathError> {
        let why = if bytes.len() > limits::PATH {
            "it is longer than 4095 bytes"
        } else if bytes.contains(&0) {
            "it has a NUL byte"
        } else if bytes.is_empty() {
            return Ok(Self(bytes));
        } else if let Some(why) = bytes.split(|b| *b == b'/').find_map(component_fault) {
            why
        } else {
            return Ok(Self(bytes));
        };
        Err(PathError { path: shown(&bytes[..bytes.len().min(200)]), why })
    }

    /// The path of an entry of this folder.
    pub fn join(&self, component: &[u8]) -> Result<Self, PathError> {
        let mut bytes = self.0.clone();
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(component);
        Self::new(bytes)
    }

    /// The bytes of the path.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the artifact's root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The components, from the root down.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|part| !part.is_empty())
    }

    /// The folder that holds it; the root has none.
    pub fn parent(&self) -> Option<Self> {
        match self.0.iter().rposition(|b| *b == b'/') {
            Some(slash) => Some(Self(self.0[..slash].to_vec())),
            None if self.is_root() => None,
            None => Some(Self::root()),
        }
    }

    /// Whether it is `folder` itself or lies below it.
    pub fn is_within(&self, folder: &Self) -> bool {
        folder.is_root()
            || self.0 == folder.0
            || (self.0.starts_with(&folder.0) && self.0.get(folder.0.len()) == Some(&b'/'))
    }
}

fn component_fault(component: &[u8]) -> Option<&'static str> {
    match component {
        b"" => Some("it has an empty component"),
        b"." | b".." => Some("it has a '.' or '..' component"),
        long if long.len() > limits::PATH_COMPONENT => Some("it has a component over 255 bytes"),
        _ => None,
    }
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

impl Serialize for ArtifactPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        bytes::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for ArtifactPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(bytes::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Ord for ArtifactPath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.components().cmp(other.components())
    }
}

impl PartialOrd for ArtifactPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Text as it is where it is printable UTF-8, escapes elsewhere: safe on a terminal, never ambiguous
/// on one line.
impl fmt::Display for ArtifactPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.0) {
            Ok(text) if !text.chars().any(|c| c.is_control() || misleads(c) || c == '\\') => f.write_str(text),
            _ => f.write_str(&shown(&self.0)),
        }
    }
}

impl fmt::Debug for ArtifactPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArtifactPath({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(bytes: &[u8]) -> ArtifactPath {
        ArtifactPath::new(bytes.to_vec()).unwrap()
    }

    #[test]
    fn refuses_every_way_out() {
        for bad in [&b"/a"[..], b"a/", b"a//b", b"..", b"a/../b", b"./a", b"a/.", b"a\0b", &[b'x'; 256], &[b'/'; 3]] {
            assert!(ArtifactPath::new(bad.to_vec()).is_err(), "{}", shown(bad));
        }
        assert!(ArtifactPath::new(b"a/...".to_vec()).is_ok());
        assert!(ArtifactPath::new(b"\xff\xfe/b".to_vec()).is_ok());
    }

    #[test]
    fn a_folder_stands_directly_before_its_entries() {
        let mut sorted = [path(b"a.txt"), path(b"a/b"), path(b"a"), path(b""), path(b"a-"), path(b"a/b/c")];
        sorted.sort();
        let shown: Vec<_> = sorted.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["", "a", "a/b", "a/b/c", "a-", "a.txt"]);
    }

    #[test]
    fn within_is_by_component() {
        assert!(path(b"a/b").is_within(&path(b"a")) && path(b"a").is_within(&path(b"a")));
        assert!(!path(b"ab").is_within(&path(b"a")) && path(b"ab").is_within(&ArtifactPath::root()));
        assert_eq!(path(b"a/b").parent(), Some(path(b"a")));
        assert_eq!(path(b"a").parent(), Some(ArtifactPath::root()));
    }
}
