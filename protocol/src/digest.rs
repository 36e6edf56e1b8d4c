//! BLAKE3 digests, and the contexts that keep digests of different things apart.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A 32-byte BLAKE3 digest, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(#[serde(with = "crate::bytes::array")] pub [u8; 32]);

/// Why a text is no digest.
#[derive(Debug, thiserror::Error)]
#[error("'{}' is not a digest: 64 hexadecimal digits are expected", .text.escape_debug())]
pub struct DigestError {
    text: String,
}

impl Digest {
    /// Hashes bytes as they are: what `b3sum` prints.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Hashes bytes that lie in parts, one behind the other.
    pub fn of_parts<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize().into()
    }

    /// The first eight hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl From<blake3::Hash> for Digest {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        blake3::Hash::from_hex(text).map(Self::from).map_err(|_| DigestError { text: text.chars().take(80).collect() })
    }
}

/// Builds the digest of a file's content from its chunks, in order.
///
/// The digest is a function of the content alone: cuts are a function of the content
/// (`docs/formats/chunking.md`), and a content of one chunk has that chunk's digest, so that
/// `b3sum` agrees for every file that is not cut. Empty content has the digest of no bytes.
#[derive(Debug, Default)]
pub struct ContentDigest {
    first: Option<(u32, Digest)>,
    /// From the second chunk on: most files have one, and this is long and costs a hash to begin.
    several: Option<Box<blake3::Hasher>>,
}

impl ContentDigest {
    /// Adds the next chunk.
    pub fn push(&mut self, bytes: u32, digest: &Digest) {
        let Some((first_bytes, first)) = self.first else {
            self.first = Some((bytes, *digest));
            return;
        };
        let several = self.several.get_or_insert_with(|| {
            let mut several = blake3::Hasher::new_derive_key("kale-agent 2026-11-24 content of several chunks");
            add_chunk(&mut several, first_bytes, &first);
            Box::new(several)
        });
        add_chunk(several, bytes, digest);
    }

    /// The digest of all that was pushed.
    pub fn finish(&self) -> Digest {
        match (&self.several, self.first) {
            (Some(several), _) => several.finalize().into(),
            (None, Some((_, only))) => only,
            (None, None) => Digest::of(&[]),
        }
    }
}

fn add_chunk(hasher: &mut blake3::Hasher, bytes: u32, digest: &Digest) {
    // In one piece: short ones take several times as long.
    let mut chunk = [0; 40];
    chunk[..8].copy_from_slice(&u64::from(bytes).to_le_bytes());
    chunk[8..].copy_from_slice(&digest.0);
    hasher.update(&chunk);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let digest = Digest::of(b"kale");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        assert!("00".parse::<Digest>().is_err());
        assert!("é".repeat(32).parse::<Digest>().is_err());
    }

    #[test]
    fn one_chunk_is_its_own_digest_and_order_counts() {
        assert_eq!(Digest::of_parts([&b"ka"[..], b"", b"le"]), Digest::of(b"kale"));
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let digest = |chunks: &[Digest]| {
            let mut content = ContentDigest::default();
            chunks.iter().for_each(|chunk| content.push(1, chunk));
            content.finish()
        };
        assert_eq!(digest(&[]), Digest::of(b""));
        assert_eq!(digest(&[a]), a);
        assert_ne!(digest(&[a, b]), digest(&[b, a]));
        assert_ne!(digest(&[a, b]), Digest::of(b"ab"));
    }
}
