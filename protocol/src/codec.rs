//! Bodies as bytes: the only file that names the codec crate.
//!
//! bincode 2 with its standard configuration: little-endian, variable-length integers. Decoding is
//! bounded twice: by the length of the slice, which callers check against `limits` before they take
//! memory for it, and by bincode's own limit on what a claimed length may reserve.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::{Serialize, de::DeserializeOwned};

const LIMIT: usize = 256 << 20;

/// Why a body could not be turned into its type.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The bytes are not an encoding of the expected type.
    #[error("not a valid encoding")]
    Decode(#[source] bincode::error::DecodeError),
    /// The value was decoded, yet bytes are left over.
    #[error("{extra} bytes too many after the value")]
    Trailing {
        /// How many bytes were left.
        extra: usize,
    },
}

fn config() -> Configuration<LittleEndian, Varint, Limit<LIMIT>> {
    bincode::config::standard().with_limit::<LIMIT>()
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, bincode::config::standard())
        .expect("encoding into memory fails only for types that have no encoding, and ours have one")
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, used) = bincode::serde::decode_from_slice(bytes, config()).map_err(CodecError::Decode)?;
    match bytes.len() - used {
        0 => Ok(value),
        extra => Err(CodecError::Trailing { extra }),
    }
}
