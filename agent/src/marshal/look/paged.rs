//! Parquet's pages, fetched from a window that belongs to another thread.
//!
//! Parquet's reader wants a source that it may share and keep, and a content can only be borrowed. So the reader
//! runs on a thread of its own and asks for ranges, which the content's thread answers.

use super::{DATA_LIMIT, MarshalError, claims, window::Window};
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use parquet::{
    errors::ParquetError,
    file::reader::{ChunkReader, Length},
};
use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// How much of a page is fetched for its header; the second where the first is not enough.
const HEADERS: [u64; 2] = [64 << 10, 1 << 20];

struct Ask {
    offset: u64,
    bytes: u64,
    reply: Sender<Bytes>,
}

/// The side that asks.
#[derive(Clone)]
pub(super) struct Pages {
    asks: Sender<Ask>,
    bytes: u64,
    /// How much may still be unpacked.
    left: Arc<AtomicU64>,
}

/// The side that answers.
pub(super) struct Server {
    asks: Receiver<Ask>,
}

pub(super) fn pages(bytes: u64) -> (Pages, Server) {
    let (sender, asks) = unbounded();
    (Pages { asks: sender, bytes, left: Arc::new(AtomicU64::new(DATA_LIMIT)) }, Server { asks })
}

impl Server {
    /// Answers until nobody asks any more. Fails where the content does; what is beyond its end or the limit is
    /// left unanswered.
    pub(super) fn run(self, window: &mut Window<'_>) -> Result<(), MarshalError> {
        let mut left = DATA_LIMIT;
        for ask in self.asks {
            let Some(rest) = left.checked_sub(ask.bytes) else { continue };
            left = rest;
            match window.read_at(ask.offset, ask.bytes) {
                // Whoever asked may be gone by now.
                Ok(bytes) => drop(ask.reply.send(Bytes::from(bytes))),
                Err(MarshalError::Format { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Pages {
    fn fetch(&self, offset: u64, bytes: u64) -> Result<Bytes, ParquetError> {
        let (reply, answer) = bounded(1);
        let asked = self.asks.send(Ask { offset, bytes, reply });
        let answer = asked.ok().and_then(|()| answer.recv().ok());
        answer.ok_or_else(|| ParquetError::General(format!("{bytes} bytes at {offset} cannot be had")))
    }

    /// Takes from what may be unpacked; false where that is more than is left.
    fn spend(&self, bytes: u64) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

impl Length for Pages {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Pages {
    type T = PageHeader;

    fn get_read(&self, start: u64) -> Result<PageHeader, ParquetError> {
        Ok(PageHeader { pages: self.clone(), offset: start, bytes: None, position: 0 })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.fetch(start, length as u64)
    }
}

/// The header of a page, checked before its first byte is given out; there is nothing else to read from it.
pub(super) struct PageHeader {
    pages: Pages,
    offset: u64,
    bytes: Option<Bytes>,
    position: usize,
}

impl PageHeader {
    fn open(&self) -> io::Result<Bytes> {
        for limit in HEADERS {
            let bytes = limit.min(self.pages.bytes.saturating_sub(self.offset));
            let bytes = self.pages.fetch(self.offset, bytes).map_err(io::Error::other)?;
            match claims::page_bytes(&bytes) {
                Some(unpacked) if self.pages.spend(unpacked) => return Ok(bytes),
                Some(unpacked) => return Err(io::Error::other(format!("a page of {unpacked} bytes is too large"))),
                None => {}
            }
        }
        Err(io::Error::other("a page's header is not understood"))
    }
}

impl Read for PageHeader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_none() {
            self.bytes = Some(self.open()?);
        }
        let mut rest = self.bytes.as_ref().map_or(&[][..], |bytes| &bytes[self.position..]);
        let count = rest.read(out)?;
        self.position += count;
        Ok(count)
    }
}
