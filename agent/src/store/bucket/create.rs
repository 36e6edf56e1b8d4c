//! Creating an object if it is absent: one request, and what is done where its answer leaves doubt.

use super::{
    super::{Created, Stat, StoreError},
    Medium,
};
use kale_protocol::layout::Key;
use object_store::{
    Attribute, Attributes, Error, GetOptions, ObjectMeta, ObjectStore, PutMode, PutOptions, PutPayload, UpdateVersion,
};
use std::time::Duration;

/// The name under which each object tells whose it is. Azure takes no hyphen in one.
const WRITER: &str = "kalewriter";
/// How often a creation that met a conflict, or another one's removal, is begun anew, and how long the first pause is;
/// each is twice as long as the one before.
const TRIES: u32 = 8;
const PAUSE: Duration = Duration::from_millis(5);

/// Who writes an object: eight random bytes, stored beside it.
///
/// A request whose answer was lost is sent again, and then the object is there: this says whether it is ours.
#[derive(Clone, Debug)]
pub(super) struct Writer(String);

impl Writer {
    pub(super) fn new() -> Result<Self, StoreError> {
        Ok(Self(format!("{:016x}", u64::from_be_bytes(super::super::random()?))))
    }

    /// What is stored beside an object of its.
    pub(super) fn attributes(&self) -> Attributes {
        [(Attribute::Metadata(WRITER.into()), self.0.clone())].into_iter().collect()
    }
}

/// What is under a key.
pub(super) struct Found {
    pub(super) meta: ObjectMeta,
    /// Whether the writer that was asked for wrote it.
    ours: bool,
}

impl Medium {
    /// What is under a key, empty objects too.
    pub(super) async fn find(&self, key: &Key, writer: Option<&Writer>) -> Result<Option<Found>, Error> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        match self.client.get_opts(&self.place.path(key), options).await {
            Ok(found) => {
                let by = found.attributes.get(&Attribute::Metadata(WRITER.into())).map(AsRef::as_ref);
                let ours = writer.is_some_and(|writer| by == Some(writer.0.as_str()));
                Ok(Some(Found { meta: found.meta, ours }))
            }
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Length and time of an object that is there; an empty one is not.
    pub(super) async fn stat(&self, key: &Key) -> Result<Option<Stat>, Error> {
        let found = self.find(key, None).await?.filter(|found| found.meta.size > 0);
        Ok(found.map(|found| Stat {
            bytes: found.meta.size,
            modified_ns: found.meta.last_modified.timestamp_nanos_opt().unwrap_or(i64::MAX),
        }))
    }

    /// Creates an object if it is absent or empty: of many who do exactly one is told `New`.
    pub(super) async fn create(&self, key: &Key, object: PutPayload, writer: &Writer) -> Result<Created, Error> {
        let mut mode = PutMode::Create;
        for tries in 0..TRIES {
            if tries > 0 {
                tokio::time::sleep(PAUSE * (1 << (tries - 1))).await;
            }
            let error = match self.put(key, object.clone(), mode, writer).await {
                Ok(()) => return Ok(Created::New),
                Err(error) => error,
            };
            mode = match self.find(key, Some(writer)).await {
                Ok(Some(found)) if found.ours => return Ok(Created::New),
                Ok(Some(found)) if found.meta.size > 0 => return Ok(Created::Exists),
                Ok(_) if !conflicts(&error) => return Err(error),
                // Nobody made one: it is taken for the empty object that it is, and no other.
                Ok(Some(found)) => {
                    PutMode::Update(UpdateVersion { e_tag: found.meta.e_tag, version: found.meta.version })
                }
                // Two at once had a conflict and neither won, or the one that was there was removed.
                Ok(None) => PutMode::Create,
                Err(_) => return Err(error),
            };
        }
        Err(busy(key))
    }

    /// What a completion came to whose answer was no success.
    pub(super) async fn settle(&self, key: &Key, writer: &Writer, error: Error) -> Result<Created, Error> {
        match self.find(key, Some(writer)).await {
            Ok(Some(found)) if found.ours => Ok(Created::New),
            Ok(Some(found)) if found.meta.size > 0 => Ok(Created::Exists),
            _ => Err(error),
        }
    }

    async fn put(&self, key: &Key, object: PutPayload, mode: PutMode, writer: &Writer) -> Result<(), Error> {
        let options = PutOptions { mode, attributes: writer.attributes(), ..PutOptions::default() };
        self.client.put_opts(&self.place.path(key), object, options).await.map(drop)
    }
}

/// Whether a request failed for what is there, or was there.
fn conflicts(error: &Error) -> bool {
    matches!(error, Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotModified { .. })
}

fn busy(key: &Key) -> Error {
    let source = format!("{key} is being created and removed by others all the time").into();
    Error::Generic { store: "bucket", source }
}
