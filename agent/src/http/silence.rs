//! A connection on which nothing moves for too long is an error.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// Without a byte in either direction, while something is waited for: a part of an upload takes less at 150 kB/s.
const SILENCE: Duration = Duration::from_secs(60);

/// A stream whose reads end with [`io::ErrorKind::TimedOut`] when nothing was read or written for long.
///
/// Time counts only while a read waits: who takes their time over what has arrived does not run into it.
pub(super) struct Silence<S> {
    stream: S,
    limit: Duration,
    /// There while a read waits.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Silence<S> {
    pub(super) fn on(stream: S) -> Self {
        Self { stream, limit: SILENCE, until: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Silence<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if read.is_ready() {
            this.until = None;
            return read;
        }
        let until = this.until.get_or_insert_with(|| Box::pin(sleep(this.limit)));
        match until.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> Silence<S> {
    /// Something moved if a write was taken: then a read waits anew.
    fn moved(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let (Poll::Ready(Ok(1..)), Some(until)) = (&written, &mut self.until) {
            until.as_mut().reset(tokio::time::Instant::now() + self.limit);
        }
        written
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Silence<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.moved(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.moved(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn what_stays_silent_ends() {
        run(async {
            let (near, _far) = duplex(64);
            let limit = Duration::from_millis(20);
            let mut near = Silence { stream: near, limit, until: None };
            let begin = Instant::now();
            let error = near.read_u8().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(begin.elapsed() >= limit);
        });
    }

    #[test]
    fn what_was_written_counts_and_what_is_not_asked_for_does_not() {
        run(async {
            let (near, mut far) = duplex(64);
            let limit = Duration::from_millis(200);
            let near = Silence { stream: near, limit, until: None };
            let (mut reads, mut writes) = tokio::io::split(near);
            let reader = async {
                let read = reads.read_u8().await.unwrap();
                // Longer than the limit, and nobody reads.
                sleep(limit * 2).await;
                (read, reads.read_u8().await.unwrap())
            };
            let writer = async {
                for _ in 0..6 {
                    sleep(limit / 2).await;
                    writes.write_u8(0).await.unwrap();
                }
                far.write_all(&[1, 2]).await.unwrap();
            };
            assert_eq!(tokio::join!(reader, writer).0, (1, 2));
        });
    }
}
