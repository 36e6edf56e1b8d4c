//! Identities that are drawn, not computed: of stores, packs and attempts.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Why a text is no identity of the kind that is meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is not {what}", .text.escape_debug())]
pub struct IdError {
    text: String,
    what: &'static str,
}

macro_rules! drawn_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(#[serde(with = "crate::bytes::array")] pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", u128::from_be_bytes(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let plain = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                plain
                    .then(|| u128::from_str_radix(text, 16).ok())
                    .flatten()
                    .map(|number| Self(number.to_be_bytes()))
                    .ok_or_else(|| IdError { text: text.chars().take(80).collect(), what: $what })
            }
        }
    };
}

drawn_id!(
    /// The identity of a store, drawn when it is made: 16 random bytes, 32 hexadecimal digits.
    StoreId,
    "a store id: 32 hexadecimal digits"
);
drawn_id!(
    /// The identity of a pack, drawn before its first byte is written.
    ///
    /// Random, not a hash of the content: a bucket must know an object's name when its upload starts, and
    /// content that is stored again after a deletion must not meet that deletion under the same name.
    PackId,
    "a pack id: 32 hexadecimal digits"
);

/// One try of a shard: its start in UTC, to the millisecond, and 8 random hexadecimal digits.
///
/// `20261124T105627.123Z-1a2b3c4d`: text that sorts by time, which people can read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AttemptId(String);

impl AttemptId {
    /// The shape of every attempt id: `0` stands for a decimal, `x` for a hexadecimal digit.
    const SHAPE: &str = "00000000T000000.000Z-xxxxxxxx";

    /// The id as text, which is also its segment in a key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AttemptId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = text.len() == Self::SHAPE.len()
            && text.bytes().zip(Self::SHAPE.bytes()).all(|(b, shape)| match shape {
                b'0' => b.is_ascii_digit(),
                b'x' => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
                exact => b == exact,
            });
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError {
                text: text.chars().take(80).collect(),
                what: "an attempt id, such as 20261124T105627.123Z-1a2b3c4d",
            })
        }
    }
}

impl TryFrom<String> for AttemptId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<AttemptId> for String {
    fn from(id: AttemptId) -> Self {
        id.0
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back_and_nothing_else() {
        let id = StoreId([0xab; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(StoreId([0; 16]).to_string().len(), 32);
        for bad in ["", "AB", &"A".repeat(32), &format!("+{}", "0".repeat(31))] {
            assert!(bad.parse::<StoreId>().is_err(), "{bad}");
        }
        assert!("20261124T105627.123Z-1a2b3c4d".parse::<AttemptId>().is_ok());
        assert!("20261124T105627.123Z-1a2b3c4/".parse::<AttemptId>().is_err());
        assert!("commit".parse::<AttemptId>().is_err());
    }
}
