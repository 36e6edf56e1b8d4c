//! A store in a bucket: S3 and what is compatible with it, Google Cloud Storage, Azure Blob Storage.
//!
//! An object is created by a request that the server carries out only if there is none, so that of many writers one
//! wins; `init` asks for proof that the server keeps to that. `docs/decisions/0009-buckets.md` has the reasons.

mod buffers;
mod client;
mod connector;
mod create;
mod engine;
mod place;
mod probe;
mod read_ahead;
mod refusal;
mod writer;

use super::{Created, Entry, ObjectWriter, Stat, StoreError, Transport, pace::Pace};
use crate::limits::Limits;
use buffers::Buffers;
use bytes::Bytes;
pub use client::Variables;
use create::Writer;
use engine::Engine;
use futures_util::TryStreamExt;
use kale_protocol::layout::Key;
use object_store::{Error, GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt, PutPayload};
pub use place::{Place, Provider};
use read_ahead::ReadAhead;
use std::{fmt, io, ops::Range, path::PathBuf, sync::Arc};
use tokio::sync::Semaphore;
use writer::BucketWriter;

/// Length of what travels in one request.
const PIECE: usize = 8 << 20;
/// Parts of uploads that are on their way at once, of all writers.
const PARTS: usize = 3;
/// What is left of the budget for parts and for what is read ahead.
const SHARE: u64 = 4;

/// A prefix of a bucket as a medium.
#[derive(Debug)]
pub struct Bucket {
    medium: Arc<Medium>,
    location: String,
    ahead: ReadAhead,
}

/// What requests need, and those that outlive a call.
struct Medium {
    client: Arc<dyn ObjectStore>,
    place: Place,
    engine: Engine,
    parts: Arc<Semaphore>,
    buffers: Arc<Buffers>,
    pace: Pace,
}

impl fmt::Debug for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client knows secrets.
        f.debug_struct("Medium").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Bucket {
    /// A bucket as the environment's variables say how to reach it; nothing is asked of it yet.
    pub fn open(place: Place, variables: &Variables) -> Result<Self, StoreError> {
        let client = client::client(&place, variables)?;
        let share = Limits::default().budget() / SHARE;
        let parts = usize::try_from(share / PIECE as u64).unwrap_or(PARTS).clamp(1, PARTS);
        let (engine, parts, pace) = (Engine::start()?, Arc::new(Semaphore::new(parts)), Pace::default());
        let buffers = Buffers::new(PIECE, read_ahead::BLOCKS);
        let medium = Medium { client, engine, parts, buffers, pace, place };
        Ok(Self { location: medium.place.to_string(), medium: Arc::new(medium), ahead: ReadAhead::within(share) })
    }

    /// The same for a new store: proves first that the bucket can hold one, unless one is there.
    pub fn create(place: Place, variables: &Variables) -> Result<Self, StoreError> {
        let bucket = Self::open(place, variables)?;
        // Read, not looked at: an answer to a look has no body, and so no reason for a refusal.
        match bucket.read(&kale_protocol::layout::marker(), u64::MAX) {
            Err(StoreError::NotFound { .. }) => probe::probe(&bucket.medium)?,
            there => drop(there?),
        }
        Ok(bucket)
    }

    fn not_found(&self, key: &Key) -> StoreError {
        StoreError::NotFound { store: self.location.clone(), key: key.clone() }
    }

    fn absent_or(&self, key: &Key, action: &'static str, error: &Error) -> StoreError {
        let failed = self.medium.failed(action, key, error);
        match error {
            Error::NotFound { .. } if !matches!(failed, StoreError::NoBucket { .. }) => self.not_found(key),
            _ => failed,
        }
    }

    fn short(&self, key: &Key, wanted: u64) -> StoreError {
        match self.stat(key) {
            Ok(Some(found)) => {
                StoreError::Short { store: self.location.clone(), key: key.clone(), bytes: found.bytes, wanted }
            }
            Ok(None) => self.not_found(key),
            Err(error) => error,
        }
    }

    fn not_the_root(&self, key: &Key) -> Result<(), StoreError> {
        if !key.as_str().is_empty() {
            return Ok(());
        }
        let source = io::Error::new(io::ErrorKind::InvalidInput, "it is the root of the store");
        Err(StoreError::Io { action: "remove", place: self.location.clone(), source })
    }
}

impl Medium {
    fn failed(&self, action: &'static str, key: &Key, error: &Error) -> StoreError {
        refusal::failed(&self.place, action, self.place.shown(key), error)
    }

    /// Runs requests that are about a key.
    fn ask<T, F>(
        self: &Arc<Self>,
        action: &'static str,
        key: &Key,
        request: impl FnOnce(Arc<Self>, Key) -> F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let asked = self.engine.run(request(Arc::clone(self), key.clone()));
        asked.map_err(|error| self.failed(action, key, &error))
    }

    /// Some bytes of an object, and how long it is; fewer where it ends before.
    async fn range(&self, key: &Key, range: Range<u64>) -> Result<(Vec<Bytes>, u64), Error> {
        let found = self.stretch(key, range).await?;
        let bytes = found.meta.size;
        Ok((found.into_stream().try_collect().await?, bytes))
    }

    /// The same in one buffer: what arrives is copied while it is in the cache, and its memory receives what comes next.
    async fn block(&self, key: &Key, range: Range<u64>) -> Result<(Bytes, u64), Error> {
        let found = self.stretch(key, range).await?;
        let bytes = found.meta.size;
        let (mut content, mut parts) = (self.buffers.take(), found.into_stream());
        while let Some(part) = parts.try_next().await? {
            content.extend(&part);
        }
        Ok((content.share(), bytes))
    }

    async fn stretch(&self, key: &Key, range: Range<u64>) -> Result<GetResult, Error> {
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        self.client.get_opts(&self.place.path(key), options).await
    }
}

impl Transport for Bucket {
    fn location(&self) -> &str {
        &self.location
    }

    fn read(&self, key: &Key, limit: u64) -> Result<Vec<u8>, StoreError> {
        let request = |medium: Arc<Medium>, key: Key| async move {
            let found = medium.client.get_opts(&medium.place.path(&key), GetOptions::default()).await?;
            let bytes = found.meta.size;
            if bytes > limit { Ok(Err(bytes)) } else { found.bytes().await.map(Ok) }
        };
        match self.medium.engine.run(request(Arc::clone(&self.medium), key.clone())) {
            Ok(Ok(object)) if object.is_empty() => Err(self.not_found(key)),
            Ok(Ok(object)) => Ok(object.into()),
            Ok(Err(bytes)) => {
                Err(StoreError::TooLarge { store: self.location.clone(), key: key.clone(), bytes, limit })
            }
            Err(error) => Err(self.absent_or(key, "read", &error)),
        }
    }

    fn read_at(&self, key: &Key, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let wanted = offset.saturating_add(buffer.len() as u64);
        if buffer.is_empty() || i64::try_from(wanted).is_err() {
            // A range of no bytes cannot be asked for, and no object reaches so far.
            let found = self.stat(key)?.ok_or_else(|| self.not_found(key))?;
            return if wanted <= found.bytes { Ok(()) } else { Err(self.short(key, wanted)) };
        }
        if self
            .ahead
            .read(&self.medium, key, offset, buffer.len())
            .is_some_and(|parts| read_ahead::copy(&parts, buffer))
        {
            return Ok(());
        }
        let medium = Arc::clone(&self.medium);
        let of = key.clone();
        match self.medium.engine.run(async move { medium.range(&of, offset..wanted).await }) {
            Ok((content, _)) if read_ahead::copy(&content, buffer) => Ok(()),
            Ok(_) => Err(self.short(key, wanted)),
            Err(Error::NotFound { .. }) => Err(self.not_found(key)),
            Err(error) => match self.short(key, wanted) {
                // What lies behind the end is refused in as many ways as there are servers.
                short @ StoreError::Short { bytes, .. } if bytes < wanted => Err(short),
                absent @ StoreError::NotFound { .. } => Err(absent),
                _ => Err(self.medium.failed("read", key, &error)),
            },
        }
    }

    fn shared(&self, key: &Key, offset: u64, bytes: usize) -> Option<Vec<Bytes>> {
        self.ahead.read(&self.medium, key, offset, bytes)
    }

    fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        self.medium.ask("look at", key, |medium, key| async move { medium.stat(&key).await })
    }

    fn create(&self, key: &Key, object: &[u8]) -> Result<Created, StoreError> {
        self.ahead.forget(key);
        let (writer, object) = (Writer::new()?, PutPayload::from(object.to_vec()));
        self.medium.ask("create", key, |medium, key| async move { medium.create(&key, object, &writer).await })
    }

    fn replace(&self, key: &Key, object: &[u8]) -> Result<(), StoreError> {
        self.ahead.forget(key);
        let object = PutPayload::from(object.to_vec());
        let put =
            |medium: Arc<Medium>, key: Key| async move { medium.client.put(&medium.place.path(&key), object).await };
        self.medium.ask("replace", key, put).map(drop)
    }

    fn writer(&self, key: &Key) -> Result<Box<dyn ObjectWriter>, StoreError> {
        self.ahead.forget(key);
        Ok(Box::new(BucketWriter::begin(Arc::clone(&self.medium), key.clone())?))
    }

    fn list(&self, folder: &Key) -> Result<Vec<Entry>, StoreError> {
        let listed = self.medium.ask("list", folder, |medium, folder| async move {
            medium.client.list_with_delimiter(Some(&medium.place.path(&folder))).await
        })?;
        let folders = listed.common_prefixes.iter().filter_map(|path| path.filename()).map(String::from);
        let objects = listed.objects.iter().filter_map(|meta| meta.location.filename()).map(String::from);
        let objects = objects.filter(|segment| !probe::is_hidden(segment));
        Ok(folders.map(Entry::Folder).chain(objects.map(Entry::Object)).collect())
    }

    fn remove(&self, key: &Key) -> Result<(), StoreError> {
        self.not_the_root(key)?;
        self.ahead.forget(key);
        self.medium.ask("remove", key, |medium, key| async move {
            match medium.client.delete(&medium.place.path(&key)).await {
                Err(Error::NotFound { .. }) => Ok(()),
                other => other,
            }
        })
    }

    fn remove_folder(&self, folder: &Key) -> Result<(), StoreError> {
        self.not_the_root(folder)?;
        self.ahead.forget_under(folder);
        self.medium.ask("remove", folder, |medium, folder| async move {
            let found = medium.client.list(Some(&medium.place.path(&folder)));
            let found: Vec<_> = found.map_ok(|meta| Ok(meta.location)).try_collect().await?;
            let removed = medium.client.delete_stream(Box::pin(futures_util::stream::iter(found)));
            match removed.try_for_each(|_| async { Ok(()) }).await {
                // Another one removed it first.
                Err(Error::NotFound { .. }) => Ok(()),
                other => other,
            }
        })
    }

    fn rate(&self) -> Option<u64> {
        self.medium.pace.rate()
    }

    fn local_path(&self, _key: &Key) -> Option<PathBuf> {
        None
    }
}
