//! Typed objects: one call to put a value behind its envelope, one to take it out.

use crate::{
    codec::{self, CodecError},
    envelope::{self, EnvelopeError, Kind, Packing},
    extension::Extensions,
};
use serde::{Serialize, de::DeserializeOwned};

/// Why an object could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The envelope is wrong; its message says how.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The envelope is whole and its body is not what its version promises.
    #[error("the body of the {} cannot be decoded", .kind.word())]
    Body {
        /// The kind of the object.
        kind: Kind,
        /// What the codec said.
        #[source]
        source: CodecError,
    },
    /// The body decodes and yet breaks a rule of its format.
    #[error("the {} breaks its format: {rule}", .kind.word())]
    Rule {
        /// The kind of the object.
        kind: Kind,
        /// The rule, as a fragment.
        rule: &'static str,
    },
    /// It needs something that only a newer agent knows.
    #[error("written by a newer kale-agent: the {} needs extension {id}", .kind.word())]
    Extension {
        /// The kind of the object.
        kind: Kind,
        /// The number of the extension.
        id: u16,
    },
}

impl ObjectError {
    /// Whether a newer agent could read it: then it is not damaged.
    pub fn is_newer(&self) -> bool {
        matches!(
            self,
            Self::Extension { .. }
                | Self::Envelope(
                    EnvelopeError::Newer { .. } | EnvelopeError::Flags { .. } | EnvelopeError::Sealed { .. }
                )
        )
    }
}

/// A value that is stored as one enveloped object.
pub trait Object: Serialize + DeserializeOwned {
    /// The kind in its envelope.
    const KIND: Kind;
    /// Whether its body is compressed.
    const PACKING: Packing = Packing::Plain;
    /// Extensions that this build knows.
    const KNOWN_EXTENSIONS: &'static [u16] = &[];

    /// Its extensions.
    fn extensions(&self) -> &Extensions;

    /// Checks what the types alone cannot: order, sums, limits. Returns the rule that is broken.
    fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }

    /// The stored bytes, with no check: of values whose rules and size the writer has seen to.
    fn to_object(&self) -> Vec<u8> {
        envelope::seal(Self::KIND, &codec::encode(self), Self::PACKING)
    }

    /// The stored bytes, refused where [`Object::from_object`] would refuse them for a rule or for their size.
    fn to_checked_object(&self) -> Result<Vec<u8>, ObjectError> {
        let kind = Self::KIND;
        self.extensions().check().and_then(|()| self.check()).map_err(|rule| ObjectError::Rule { kind, rule })?;
        let body = codec::encode(self);
        let (claimed, limit) = (body.len() as u64, kind.limit());
        if claimed > limit {
            return Err(EnvelopeError::TooLarge { kind, claimed, limit }.into());
        }
        Ok(envelope::seal(kind, &body, Self::PACKING))
    }

    /// Reads what [`Object::to_object`] wrote, this version's or an older one's.
    fn from_object(object: &[u8]) -> Result<Self, ObjectError> {
        let kind = Self::KIND;
        let body = envelope::open(object, kind)?;
        let value: Self = codec::decode(&body).map_err(|source| ObjectError::Body { kind, source })?;
        if let Some(id) = value.extensions().unknown_critical(Self::KNOWN_EXTENSIONS) {
            return Err(ObjectError::Extension { kind, id });
        }
        value.extensions().check().and_then(|()| value.check()).map_err(|rule| ObjectError::Rule { kind, rule })?;
        Ok(value)
    }
}
