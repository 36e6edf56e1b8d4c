//! Content to chunks and back: segment, cut, hash, compress, pack; trees; a look into formats.

mod error;

pub use error::MarshalError;
