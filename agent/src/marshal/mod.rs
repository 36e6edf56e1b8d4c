//! Content to chunks and back: segment, cut, hash, compress, pack; trees; a look into formats.
//!
//! Saving: `source` and `walk` read, `segment` and `cut` decide where content is cut, `save` hashes, compresses and
//! puts in order, `pack_writer` and `manifest_writer` write. Restoring: `maps` tells what needs no copy, `manifest_reader` checks and streams nodes,
//! `pack_reader` reads and verifies chunks, `restore`, `content` and `verify` use them. `look` shows content to people.

mod compress;
mod content;
mod cut;
mod error;
#[cfg(test)]
mod fixture;
mod known;
pub mod look;
mod manifest_reader;
mod manifest_rules;
mod manifest_writer;
mod maps;
mod pack_reader;
mod pack_writer;
mod pieces;
mod pool;
mod probe;
mod recall;
mod restore;
mod room;
mod save;
mod segment;
mod shuffle;
mod side_by_side;
mod source;
mod thrift;
mod verify;
mod walk;
mod zeros;

pub use content::{Content, open_content};
pub use error::MarshalError;
pub use known::Known;
pub use manifest_reader::{ManifestReader, Nodes};
pub use maps::{Lies, MappableFile, mappable};
pub use restore::{RestoreOptions, Restored, Verify, restore};
pub use save::{Compress, SaveOptions, Saved, save};
pub use side_by_side::Sharing;
pub use source::{Source, Stretch, Stripe};
pub use verify::{Damage, VerifyOptions, VerifyReport, verify, verify_pack, verify_part};
