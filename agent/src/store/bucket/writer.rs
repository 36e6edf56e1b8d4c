//! Long objects: sent in parts while they are written, visible only when the last of them is there.

use super::{
    super::{Created, ObjectWriter, StoreError, pace::Full},
    Medium, PIECE,
    buffers::Buffer,
    create::Writer,
    engine::Pending,
};
use kale_protocol::layout::Key;
use object_store::{Error, MultipartUpload, ObjectStore, PutMultipartOptions, PutPayload};
use std::{collections::VecDeque, mem, sync::Arc, time::Instant};

/// Length of a part: fast everywhere, and 10,000 of them are longer than any pack. All but the last have the same, since
/// some servers ask for that.
const PART: usize = PIECE;

/// An object on its way. What fits one part is created in one request, by the same condition as any small object.
pub(super) struct BucketWriter {
    medium: Arc<Medium>,
    key: Key,
    writer: Writer,
    /// What is written and not sent.
    part: Buffer,
    /// There once more than one part was written.
    upload: Option<Box<dyn MultipartUpload>>,
    sent: VecDeque<Pending<Result<(), Error>>>,
    full: Full,
}

impl BucketWriter {
    /// Asks nothing of the server yet.
    pub(super) fn begin(medium: Arc<Medium>, key: Key) -> Result<Self, StoreError> {
        let (writer, part) = (Writer::new()?, medium.buffers.take());
        Ok(Self { medium, key, writer, part, upload: None, sent: VecDeque::new(), full: Full::default() })
    }

    /// Sends what was written, once there is room for one more part on its way.
    fn send(&mut self) -> Result<(), StoreError> {
        let upload = match &mut self.upload {
            Some(upload) => upload,
            None => {
                let options = PutMultipartOptions { attributes: self.writer.attributes(), ..Default::default() };
                let begun = self.medium.ask("begin an upload of", &self.key, |medium, key| async move {
                    medium.client.put_multipart_opts(&medium.place.path(&key), options).await
                });
                self.upload.insert(begun?)
            }
        };
        let (parts, asked) = (Arc::clone(&self.medium.parts), Instant::now());
        let permit = self.medium.engine.run(async move { parts.acquire_owned().await });
        let part = upload.put_part(payload(&mut self.part, &self.medium));
        self.sent.push_back(self.medium.engine.begin(async move {
            let sent = part.await;
            drop(permit);
            sent
        }));
        // As many as may be on their way are behind it: it has had its time.
        if self.sent.len() <= super::PARTS {
            return Ok(());
        }
        self.settle_first()?;
        if let Some((parts, time)) = self.full.arrived(asked, Instant::now()) {
            self.medium.pace.took(parts * PART as u64, time);
        }
        Ok(())
    }

    fn settle_first(&mut self) -> Result<(), StoreError> {
        let Some(first) = self.sent.pop_front() else { return Ok(()) };
        first.wait().map_err(|error| self.medium.failed("write", &self.key, &error))
    }
}

/// What was written up to now, with another buffer in its place.
fn payload(part: &mut Buffer, medium: &Medium) -> PutPayload {
    mem::replace(part, medium.buffers.take()).share().into()
}

impl ObjectWriter for BucketWriter {
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            if self.part.len() == PART {
                self.send()?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(PART - self.part.len()));
            self.part.extend(now);
            bytes = later;
        }
        Ok(())
    }

    fn publish(mut self: Box<Self>) -> Result<Created, StoreError> {
        if self.upload.is_none() {
            let (object, writer) = (payload(&mut self.part, &self.medium), self.writer.clone());
            return self
                .medium
                .ask("create", &self.key, |medium, key| async move { medium.create(&key, object, &writer).await });
        }
        self.send()?;
        while !self.sent.is_empty() {
            self.settle_first()?;
        }
        let Some(mut upload) = self.upload.take() else { unreachable!("looked at above") };
        let writer = self.writer.clone();
        let (completed, upload) = self.medium.engine.run({
            let (medium, key) = (Arc::clone(&self.medium), self.key.clone());
            async move {
                let completed = match upload.complete().await {
                    Ok(_) => Ok(Created::New),
                    Err(error) => medium.settle(&key, &writer, error).await,
                };
                (completed, upload)
            }
        });
        if !matches!(completed, Ok(Created::New)) {
            // Its parts would lie there, unseen and paid for.
            self.upload = Some(upload);
        }
        completed.map_err(|error| self.medium.failed("publish", &self.key, &error))
    }
}

impl Drop for BucketWriter {
    fn drop(&mut self) {
        let Some(mut upload) = self.upload.take() else { return };
        while let Some(sent) = self.sent.pop_front() {
            // A part that arrives after the end of its upload would be kept.
            let _ = sent.wait();
        }
        // What cannot be ended now is ended by the bucket's rule for unfinished uploads.
        let _ = self.medium.engine.run(async move { upload.abort().await });
    }
}
