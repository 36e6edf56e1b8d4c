//! Where a bucket is, as people write it: `s3://bucket/prefix`.

use kale_protocol::layout::Key;
use object_store::path::Path;
use std::{fmt, str::FromStr};

/// Whose interface a bucket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Amazon's, and all that are compatible with it.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage, where a bucket is called a container.
    Azure,
}

impl Provider {
    /// The provider of a URL's scheme, if it is one of a bucket.
    pub(crate) fn of_scheme(scheme: &str) -> Option<Self> {
        match scheme {
            "s3" => Some(Self::S3),
            "gs" => Some(Self::Gcs),
            "az" => Some(Self::Azure),
            _ => None,
        }
    }

    fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
        }
    }
}

/// A bucket and the prefix below which the store lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub(super) provider: Provider,
    pub(super) bucket: String,
    /// Without a slash at either end; empty for the bucket's root.
    prefix: String,
}

impl Place {
    /// Reads what stands behind the scheme of a URL.
    pub(crate) fn parse(provider: Provider, rest: &str) -> Result<Self, &'static str> {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err("it names no bucket; s3://bucket/prefix is expected");
        }
        if !bucket.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')) {
            return Err("a bucket's name has letters, digits, '-', '.' and '_'");
        }
        let prefix = prefix.trim_end_matches('/');
        let plain = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~=+@!,".contains(&b))
        };
        if !prefix.is_empty() && !prefix.split('/').all(plain) {
            return Err("a prefix is made of names with letters, digits and any of -._~=+@!, between single slashes");
        }
        Ok(Self { provider, bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }

    /// The full name of an object, or of a folder.
    pub(super) fn path(&self, key: &Key) -> Path {
        self.named(key.as_str())
    }

    /// The full name of what lies below the prefix.
    pub(super) fn named(&self, name: &str) -> Path {
        let between = if self.prefix.is_empty() || name.is_empty() { "" } else { "/" };
        Path::parse(format!("{}{between}{name}", self.prefix)).expect("segments of keys and prefixes are plain")
    }

    /// How people name an object.
    pub(super) fn shown(&self, key: &Key) -> String {
        let between = if key.as_str().is_empty() { "" } else { "/" };
        format!("{self}{between}{key}")
    }
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").ok_or("it is no URL")?;
        Self::parse(Provider::of_scheme(scheme).ok_or("it is no bucket's URL")?, rest)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = if self.prefix.is_empty() { "" } else { "/" };
        write!(f, "{}://{}{between}{}", self.provider.scheme(), self.bucket, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kale_protocol::layout;

    #[test]
    fn urls_and_names() {
        let place = |rest| Place::parse(Provider::S3, rest);
        let deep = place("kale/team/store/").unwrap();
        assert_eq!(deep.to_string(), "s3://kale/team/store");
        assert_eq!(deep.path(&layout::marker()).as_ref(), "team/store/kale-store");
        assert_eq!(deep.path(&layout::root()).as_ref(), "team/store");
        assert_eq!(deep.shown(&layout::marker()), "s3://kale/team/store/kale-store");
        let bare = place("kale").unwrap();
        assert_eq!(bare.to_string(), "s3://kale");
        assert_eq!(bare.path(&layout::marker()).as_ref(), "kale-store");
        for bad in ["", "/x", "ka le", "kale/../x", "kale//x", "kale/./x", "kale/a%20b", "user@host/x", "kale/a?b"] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }
}
