//! The command's output on its way through: passed on unchanged and at once, and kept, bounded.
//!
//! Two threads block, one for each stream: inherited descriptors are shared with whoever started us, so they are
//! never made non-blocking, and a slow reader of one stream must not hold up the other.

use super::{SuperviseError, keep::Kept};
use kale_protocol::log::Stream;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::write,
};
use std::{
    io::{self, PipeReader, PipeWriter, Read},
    os::fd::{AsFd, BorrowedFd},
    thread,
};
use tokio::sync::oneshot;

const BUFFER: usize = 64 << 10;

/// Why a pump ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// Every writer has closed the stream.
    Closed,
    /// We stopped waiting for the writers that were left.
    Abandoned,
    /// It could not be passed on.
    Broken(nix::Error),
}

/// Both streams of one command, pumped.
pub(super) struct Pumps {
    /// Dropped to make both pumps take what is there and end.
    go_on: Option<PipeWriter>,
    ends: [(&'static str, oneshot::Receiver<End>); 2],
}

impl Pumps {
    /// Makes two pipes and starts their pumps; returns the ends that are the command's.
    pub(super) fn start(kept: &Kept) -> Result<(Self, [PipeWriter; 2]), SuperviseError> {
        let failed = |source| SuperviseError::Setup { action: "capture the command's output", source };
        let (stop, go_on) = io::pipe().map_err(failed)?;
        let (out, out_writer) = io::pipe().map_err(failed)?;
        let (err, err_writer) = io::pipe().map_err(failed)?;
        let spare = stop.try_clone().map_err(failed)?;
        let out_end = pump(Stream::Out, out, stop, kept).map_err(failed)?;
        let err_end = pump(Stream::Err, err, spare, kept).map_err(failed)?;
        let ends = [("stdout", out_end), ("stderr", err_end)];
        Ok((Self { go_on: Some(go_on), ends }, [out_writer, err_writer]))
    }

    /// Completes when both pumps have ended; may be dropped and called again.
    pub(super) async fn ended(&mut self, notes: &mut Vec<String>) {
        for (name, end) in &mut self.ends {
            if end.is_terminated() {
                continue;
            }
            match end.await {
                Ok(End::Closed) | Ok(End::Broken(nix::Error::EPIPE)) => {}
                Ok(End::Abandoned) => {
                    notes.push(format!("{name} was held open by a process that outlived the command"))
                }
                Ok(End::Broken(error)) => notes.push(format!("{name} could not be passed on: {error}")),
                Err(_) => notes.push(format!("{name} was cut short: its pump failed")),
            }
        }
    }

    /// Makes pumps that still wait for a writer end with what is there.
    pub(super) fn abandon(&mut self) {
        self.go_on = None;
    }
}

fn pump(stream: Stream, mut from: PipeReader, stop: PipeReader, kept: &Kept) -> io::Result<oneshot::Receiver<End>> {
    let (sender, receiver) = oneshot::channel();
    let kept = kept.clone();
    thread::Builder::new().name(format!("kale-{stream:?}").to_lowercase()).spawn(move || {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let to = if stream == Stream::Out { stdout.as_fd() } else { stderr.as_fd() };
        let end = run(stream, &mut from, &stop, to, &kept);
        // Closed before anyone is told: a command that still writes gets its SIGPIPE now.
        drop(from);
        // Nobody listens when the supervision itself was given up.
        let _ = sender.send(end);
    })?;
    Ok(receiver)
}

fn run(stream: Stream, from: &mut PipeReader, stop: &PipeReader, to: BorrowedFd<'_>, kept: &Kept) -> End {
    let mut buffer = vec![0; BUFFER];
    let mut fds = 3;
    loop {
        // Asked for no event, `to` still reports an error: its reader has gone, and the command should know.
        let mut watched = [
            PollFd::new(from.as_fd(), PollFlags::POLLIN),
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
            PollFd::new(to, PollFlags::empty()),
        ];
        match poll(&mut watched[..fds], PollTimeout::NONE) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return End::Broken(error),
        }
        let [readable, stopped, reader] = watched.map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        if reader.contains(PollFlags::POLLERR) {
            return End::Broken(nix::Error::EPIPE);
        }
        if !reader.is_empty() {
            // A hang-up stays: watched on, it would make us spin. Writing will tell what it means.
            fds = 2;
        }
        if readable.is_empty() {
            match stopped.is_empty() {
                true => continue,
                false => return End::Abandoned,
            }
        }
        let bytes = match from.read(&mut buffer) {
            Ok(0) => return End::Closed,
            Ok(length) => &buffer[..length],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return End::Broken(nix::Error::from_raw(error.raw_os_error().unwrap_or(libc::EIO))),
        };
        let passed = pass_on(to, bytes);
        kept.keep(stream, bytes);
        if let Err(error) = passed {
            return End::Broken(error);
        }
    }
}

fn pass_on(to: BorrowedFd<'_>, mut bytes: &[u8]) -> nix::Result<()> {
    while !bytes.is_empty() {
        match write(to, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(nix::Error::EINTR) => {}
            // Somebody who shares it has made it non-blocking.
            Err(nix::Error::EAGAIN) => {
                poll(&mut [PollFd::new(to, PollFlags::POLLOUT)], PollTimeout::NONE)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
