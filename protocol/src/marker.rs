//! The marker that makes a folder or prefix a store, and the first sign of a run in it.

use crate::{
    digest::Digest,
    envelope::Kind,
    extension::Extensions,
    id::{AttemptId, StoreId},
    name::Name,
    object::Object,
};
use serde::{Deserialize, Serialize};

/// The object at [`crate::layout::marker`]: a folder without it is no store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The store's identity.
    pub id: StoreId,
    /// When it was made, in nanoseconds since 1970 UTC.
    pub created_ns: i64,
    /// The agent that made it.
    pub agent: String,
    /// Later additions.
    pub extensions: Extensions,
}

/// The object at [`crate::layout::run`], made by whichever step of the run comes first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The store it belongs to: a run folder that was copied elsewhere is found out.
    pub store: StoreId,
    /// When its first step started, in nanoseconds since 1970 UTC.
    pub created_ns: i64,
    /// Later additions.
    pub extensions: Extensions,
}

/// The object at [`crate::layout::hint`]: where a shard was last committed. May be stale or absent at any
/// time; used to find content to deduplicate against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// The run of that commit.
    pub run: Name,
    /// Its attempt.
    pub attempt: AttemptId,
    /// Its outputs and their manifests.
    pub outputs: Vec<(Name, Digest)>,
    /// Later additions.
    pub extensions: Extensions,
}

impl Object for Marker {
    const KIND: Kind = Kind::Marker;

    fn extensions(&self) -> &Extensions {
        &self.extensions
    }
}

impl Object for Run {
    const KIND: Kind = Kind::Run;

    fn extensions(&self) -> &Extensions {
        &self.extensions
    }
}

impl Object for Hint {
    const KIND: Kind = Kind::Hint;

    fn extensions(&self) -> &Extensions {
        &self.extensions
    }
}
