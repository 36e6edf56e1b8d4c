//! Names of pipelines, runs, steps and artifacts: validated wherever they come from.

use crate::limits;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What a key may not hold as it is. Everything outside printable ASCII is encoded by the crate itself.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'\'')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b'^')
    .add(b'~')
    .add(b'$')
    .add(b'!')
    .add(b';')
    .add(b'(')
    .add(b')');

/// A name: one part of an address, one segment of a key.
///
/// Any UTF-8 but control characters, characters that reorder or break lines, `/ \ : [ ] * =`, blanks at either end, and a leading dot; not
/// empty, and at most [`limits::NAME_ENCODED`] bytes once percent-encoded. Two names that differ only in
/// case are two names: a store does not belong on a file system that folds case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} cannot be a name: {why}")]
pub struct NameError {
    text: String,
    why: &'static str,
}

impl Name {
    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as one segment of a key: ASCII, with `%XX` for everything else.
    pub fn to_segment(&self) -> String {
        utf8_percent_encode(&self.0, ENCODED).to_string()
    }

    /// Reads a segment back; a segment that no name gives is an error.
    pub fn from_segment(segment: &str) -> Result<Self, NameError> {
        let refuse = |why| NameError { text: segment.chars().take(80).collect(), why };
        let name: Self =
            percent_decode_str(segment).decode_utf8().map_err(|_| refuse("it is not UTF-8 once decoded"))?.parse()?;
        if name.to_segment() == segment { Ok(name) } else { Err(refuse("it is not the encoding of a name")) }
    }

    /// The name as the tail of an environment variable: `A-Z 0-9 _`, upper case.
    pub fn to_variable(&self) -> String {
        self.0.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
    }
}

/// Whether a character is not seen itself and changes how others are: direction marks and overrides, line
/// and paragraph separators, the byte order mark. Joiners are none of them: scripts and emoji need those.
pub(crate) const fn misleads(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}' | '\u{feff}')
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let why = if text.is_empty() {
            "it is empty"
        } else if text.chars().any(char::is_control) {
            "it has a control character"
        } else if text.chars().any(misleads) {
            "it has a character that hides or reorders text"
        } else if text.contains(['/', '\\', ':', '[', ']', '*', '=']) {
            "it has one of / \\ : [ ] * ="
        } else if text.starts_with('.') {
            "it starts with a dot"
        } else if text.trim() != text {
            "it has a blank at an end"
        } else if utf8_percent_encode(text, ENCODED).map(str::len).sum::<usize>() > limits::NAME_ENCODED {
            "it is longer than 200 bytes once percent-encoded"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(NameError { text: text.chars().take(80).collect(), why })
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_could_be_a_path_or_hide_something() {
        for bad in [
            "",
            ".",
            "..",
            ".hidden",
            "a/b",
            "a\\b",
            "a:b",
            "a[0]",
            "*",
            "a=b",
            "a\0b",
            "a\nb",
            " a",
            "a ",
            "a\u{85}b",
            "a\u{202e}b",
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(200).parse::<Name>().is_ok());
        assert!("x".repeat(201).parse::<Name>().is_err());
        assert!("ü".repeat(34).parse::<Name>().is_err());
        assert!(Name::from_segment("a%2Fb").is_err());
        assert!(Name::from_segment("a%62").is_err());
    }

    proptest! {
        #[test]
        fn segments_are_safe_and_reversible(text in "\\PC{1,40}") {
            if let Ok(name) = text.parse::<Name>() {
                let segment = name.to_segment();
                prop_assert!(segment.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b'\\'));
                prop_assert!(segment.len() <= limits::NAME_ENCODED && !segment.starts_with('.'));
                prop_assert_eq!(Name::from_segment(&segment).unwrap(), name);
            }
        }
    }
}
