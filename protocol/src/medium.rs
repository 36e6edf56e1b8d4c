//! What a store's medium was seen to do, and how content was stored because of it. `docs/formats/extensions.md`.

use crate::{
    codec,
    extension::{Extension, Extensions},
};
use serde::{Deserialize, Serialize};

/// Its number.
const ID: u16 = 1;

/// Extension 1, of step records and hints; whoever does not know it misses nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Medium {
    /// Bytes a second that the attempt saw the medium take, if it wrote enough to see it.
    pub seen: Option<u64>,
    /// What was known of that before it stored anything, or what a trial found before the first file for which it mattered: by
    /// this, it decided.
    pub known: Option<u64>,
    /// How it stored content, as it was decided before the first of it: where the medium turned out fast meanwhile, files
    /// that were begun later may lie there as they were.
    pub kept: Kept,
}

/// How content was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kept {
    /// Compressed where its format and samples of it promise a gain, except numbers.
    ByContent,
    /// As it was.
    Raw,
    /// Compressed, numbers too, where that saves anything.
    Compressed,
}

impl Medium {
    /// The rate that is to be believed: the latest.
    pub fn rate(&self) -> Option<u64> {
        self.seen.or(self.known)
    }

    /// The one among these; `None` as well where it cannot be read, since nothing depends on it.
    pub fn of(extensions: &Extensions) -> Option<Self> {
        let found = extensions.0.iter().find(|extension| extension.id == ID)?;
        codec::decode(&found.body).ok()
    }

    /// An extension, which is the only one of its record.
    pub fn alone(self) -> Extensions {
        Extensions(vec![Extension { id: ID, critical: false, body: codec::encode(&self) }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_found_again_with_the_bytes_that_were_promised() {
        let medium = Medium { seen: Some(200), known: None, kept: Kept::Compressed };
        let extensions = medium.alone();
        assert_eq!(extensions.0[0].body, [1, 200, 0, 2]);
        assert_eq!(Medium::of(&extensions), Some(medium));
        assert_eq!(medium.rate(), Some(200));
        assert_eq!(Medium { seen: None, known: Some(9), ..medium }.rate(), Some(9));
    }

    #[test]
    fn what_cannot_be_read_is_not_there() {
        assert_eq!(Medium::of(&Extensions::default()), None);
        let odd = Extension { id: ID, critical: false, body: vec![0, 0, 9] };
        assert_eq!(Medium::of(&Extensions(vec![odd])), None);
    }
}
