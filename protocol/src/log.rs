//! Captured logs: what a command wrote to its stdout and stderr, bounded.

use crate::{
    envelope::{Kind, Packing},
    extension::Extensions,
    object::Object,
};
use serde::{Deserialize, Serialize};

/// What was kept of a command's output, in the order in which the agent read it.
///
/// The order between the two streams is that of reading: two writes that were close together may be swapped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// The pieces; joined by stream they are the stream, less what a piece of [`Stream::Agent`] says was dropped.
    pub pieces: Vec<Piece>,
    /// Later additions.
    pub extensions: Extensions,
}

/// Bytes of one stream that were read at one time; lines may be cut anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// When its first byte was read, in nanoseconds since 1970 UTC.
    pub at_ns: i64,
    /// Where it was written.
    pub stream: Stream,
    /// The bytes as they were written, in no particular encoding.
    #[serde(with = "crate::bytes")]
    pub bytes: Vec<u8>,
}

/// Where a piece was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stream {
    /// The command's standard output.
    Out,
    /// The command's standard error.
    Err,
    /// By the agent: a line about what is missing here.
    Agent,
}

impl Object for Log {
    const KIND: Kind = Kind::Log;
    const PACKING: Packing = Packing::Zstd;

    fn extensions(&self) -> &Extensions {
        &self.extensions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_its_envelope() {
        let piece = |at_ns, stream, bytes: &[u8]| Piece { at_ns, stream, bytes: bytes.to_vec() };
        let log = Log {
            pieces: vec![
                piece(1, Stream::Out, b"a\xff\n"),
                piece(2, Stream::Err, b""),
                piece(3, Stream::Agent, b"[3 bytes dropped]\n"),
            ],
            extensions: Extensions::default(),
        };
        let object = log.to_object();
        assert_eq!(Log::from_object(&object).unwrap(), log);
        assert_eq!(crate::codec::encode(&log)[..8], [3, 2, 0, 3, b'a', 0xff, b'\n', 4], "the bytes are the format");
    }
}
