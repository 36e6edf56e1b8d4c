//! Bytes as fields: encoded as the sequences that they are, but not value by value.
//!
//! What serde derives for an array or vector of bytes visits each byte by itself, through calls that may not be inlined:
//! a digest took 0.26 µs to decode, and a manifest has one for each chunk. The encoding is the same.

use serde::{
    Deserializer, Serializer,
    de::{Error, SeqAccess, Visitor},
};
use std::fmt;

/// As in `#[serde(with = "bytes")]`: a length, then as many bytes.
pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// The other way.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    deserializer.deserialize_bytes(Buffer)
}

struct Buffer;

impl<'de> Visitor<'de> for Buffer {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(bytes.to_owned())
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Self::Value, E> {
        Ok(bytes)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = seq.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes)
    }
}

/// As in `#[serde(with = "bytes::array")]`: so many bytes, without a length.
pub(crate) mod array {
    use serde::{
        Deserializer, Serializer,
        de::{Error, SeqAccess, Visitor},
        ser::SerializeTuple,
    };
    use std::fmt;

    /// Writes them.
    #[inline]
    pub(crate) fn serialize<S: Serializer, const N: usize>(bytes: &[u8; N], serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(N)?;
        for byte in bytes {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }

    /// Reads them.
    #[inline]
    pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(deserializer: D) -> Result<[u8; N], D::Error> {
        deserializer.deserialize_tuple(N, Array)
    }

    struct Array<const N: usize>;

    impl<'de, const N: usize> Visitor<'de> for Array<N> {
        type Value = [u8; N];

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{N} bytes")
        }

        #[inline]
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut bytes = [0; N];
            for (index, byte) in bytes.iter_mut().enumerate() {
                *byte = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(index, &self))?;
            }
            Ok(bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::codec::{decode, encode};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Ours {
        #[serde(with = "crate::bytes")]
        some: Vec<u8>,
        #[serde(with = "crate::bytes::array")]
        three: [u8; 3],
        last: u8,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Derived {
        some: Vec<u8>,
        three: [u8; 3],
        last: u8,
    }

    #[test]
    fn the_encoding_is_what_serde_derives() {
        for length in [0, 1, 250, 251, 300, 70_000] {
            let some: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let derived = encode(&Derived { some: some.clone(), three: [0, 255, 7], last: 9 });
            let ours = Ours { some, three: [0, 255, 7], last: 9 };
            assert_eq!(encode(&ours), derived);
            assert_eq!(decode::<Ours>(&derived).unwrap(), ours);
            for cut in [0, 1, derived.len() - 5, derived.len() - 2, derived.len() - 1] {
                decode::<Ours>(&derived[..cut]).unwrap_err();
            }
        }
    }

    #[test]
    fn a_claimed_length_that_is_not_there_is_an_error() {
        // 252 says that 4 bytes of a length follow.
        decode::<Ours>(&[252, 255, 255, 255, 127, 1, 2, 3]).unwrap_err();
        decode::<Ours>(&[250, 1, 2, 3]).unwrap_err();
    }
}
