//! Bodies as bytes: the only file that names the codec crate.
//!
//! bincode 2 with its standard configuration: little-endian, variable-length integers. Decoding is
//! bounded twice: by the length of the slice, which callers check against `limits` before they take
//! memory for it, and by bincode's own limit on what a claimed length may reserve.
//!
//! bincode reserves the claimed length of a text before it looks whether so many bytes are there, and stops only at
//! its limit, which is a constant; bytes are borrowed first and reserve nothing that is not there. So the limit goes by
//! steps with the length of the body. It has to be 8 times the body at least, since a one-byte integer counts there with
//! its full width.

use serde::{Serialize, de::DeserializeOwned};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

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

pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, bincode::config::standard())
        .expect("encoding into memory fails only for types that have no encoding, and ours have one")
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, used) = if bytes.len() <= 8 * KIB {
        decode_within::<T, { 64 * KIB }>(bytes)
    } else if bytes.len() <= MIB {
        decode_within::<T, { 8 * MIB }>(bytes)
    } else {
        decode_within::<T, { 512 * MIB }>(bytes)
    }?;
    match bytes.len() - used {
        0 => Ok(value),
        extra => Err(CodecError::Trailing { extra }),
    }
}

fn decode_within<T: DeserializeOwned, const LIMIT: usize>(bytes: &[u8]) -> Result<(T, usize), CodecError> {
    bincode::serde::borrow_decode_from_slice(bytes, bincode::config::standard().with_limit::<LIMIT>())
        .map_err(CodecError::Decode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_densest_body_of_each_step_decodes() {
        for bytes in [8 * KIB, MIB, 2 * MIB] {
            // A field of one byte that counts as eight, and nothing else.
            let numbers = vec![0u64; bytes - 9];
            assert_eq!(decode::<Vec<u64>>(&encode(&numbers)).unwrap().len(), numbers.len());
        }
    }
}
