//! What can go wrong with a store.

use kale_protocol::{exit::Code, id::StoreId, layout::Key, object::ObjectError};
use std::io;

/// A failure of the store, with the place where it happened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// An object is absent.
    #[error("{store} has no {key}")]
    NotFound {
        /// The store's location.
        store: String,
        /// The object.
        key: Key,
    },
    /// The medium failed.
    #[error("cannot {action} {place}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The path or URL.
        place: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// An object ends before the bytes that were asked for.
    #[error("{key} in {store} ends at byte {bytes}, and {wanted} were to be there")]
    Short {
        /// The store's location.
        store: String,
        /// The object.
        key: Key,
        /// Its length.
        bytes: u64,
        /// The end of what was asked for.
        wanted: u64,
    },
    /// An object is longer than one of its kind may be.
    #[error("{key} in {store} has {bytes} bytes, more than the {limit} that it may have")]
    TooLarge {
        /// The store's location.
        store: String,
        /// The object.
        key: Key,
        /// Its length.
        bytes: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// An object is there and cannot be read as what it should be.
    #[error("{key} in {store} cannot be read")]
    Object {
        /// The store's location.
        store: String,
        /// The object.
        key: Key,
        /// What is wrong with it.
        #[source]
        source: ObjectError,
    },
    /// The place is there, and it is no store.
    #[error("{store} is not a kale store: it has no kale-store marker")]
    NotAStore {
        /// The location.
        store: String,
    },
    /// The place is not there.
    #[error("the store {store} does not exist")]
    Absent {
        /// The location.
        store: String,
    },
    /// It is another store than the one that was meant.
    #[error("{store} is store {found}, and this run's store is {expected}")]
    OtherStore {
        /// The location.
        store: String,
        /// The id found there.
        found: StoreId,
        /// The id that was expected.
        expected: StoreId,
    },
    /// The bucket that a store is to lie in is not there.
    #[error("{store} cannot be used: there is no bucket '{bucket}', and the agent makes none")]
    NoBucket {
        /// The location.
        store: String,
        /// The bucket's name.
        bucket: String,
    },
    /// Nothing in the environment says who we are; nobody was asked.
    #[error("no credentials for {store}: set {set}")]
    NoCredentials {
        /// The location.
        store: String,
        /// What would help.
        set: &'static str,
    },
    /// The server overwrites what it was told to create only if it is absent.
    #[error(
        "{store} cannot hold a store: its server ignores If-None-Match, so that two attempts could commit; use a server \
         that keeps to it (docs/buckets.md has a list), or a volume"
    )]
    Overwrites {
        /// The location.
        store: String,
    },
    /// The location cannot be understood.
    #[error("'{text}' is no store location: {why}")]
    Location {
        /// What was given.
        text: String,
        /// Why not.
        why: &'static str,
    },
}

impl StoreError {
    /// The exit code for it.
    pub fn code(&self) -> Code {
        match self {
            Self::NotFound { .. } => Code::Missing,
            Self::Io { .. } => Code::Io,
            Self::Short { .. } | Self::TooLarge { .. } => Code::Damaged,
            Self::Object { source, .. } if source.is_newer() => Code::Store,
            Self::Object { .. } => Code::Damaged,
            Self::NotAStore { .. } | Self::Absent { .. } | Self::OtherStore { .. } => Code::Store,
            Self::NoBucket { .. } | Self::NoCredentials { .. } | Self::Overwrites { .. } => Code::Store,
            Self::Location { .. } => Code::Usage,
        }
    }

    /// Whether it says that an object is absent.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}
