//! Room for what later versions add without changing a stored byte of this one.

use serde::{Deserialize, Serialize};

/// One addition to a record: a registered number, whether a reader must know it, and its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// The number in `docs/formats/extensions.md`.
    pub id: u16,
    /// A reader that does not know a critical extension refuses the whole record.
    pub critical: bool,
    /// The extension's own encoding.
    pub body: Vec<u8>,
}

/// The additions to a record, in ascending order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extensions(pub Vec<Extension>);

impl Extensions {
    /// The first critical extension whose number is not among `known`.
    pub fn unknown_critical(&self, known: &[u16]) -> Option<u16> {
        self.0.iter().find(|e| e.critical && !known.contains(&e.id)).map(|e| e.id)
    }

    /// Checks the order, which makes the encoding of the same additions the same.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.0.is_sorted_by(|a, b| a.id < b.id) {
            Ok(())
        } else {
            Err("extensions are not in order, or one number stands twice")
        }
    }
}
