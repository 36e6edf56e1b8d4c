//! Talking to the agent from inside a step.

use super::failure::Failure;
use crate::step::code_of;
use kale_protocol::{
    exit::Code,
    ipc::{self, Message, Reply, Request},
};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use std::{
    ffi::OsString,
    io::{self, IoSlice, Read, Write},
    os::{
        fd::{AsRawFd, BorrowedFd, RawFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
};

/// The socket of the agent that runs this step, if this is a step.
pub(super) fn socket() -> Option<PathBuf> {
    std::env::var_os("KALE_SOCKET").filter(|path: &OsString| !path.is_empty()).map(PathBuf::from)
}

/// Asks the agent and returns what it answers; a failure that it tells is an error here, with its code.
pub(super) fn ask(socket: &PathBuf, request: Request, files: &[BorrowedFd<'_>]) -> Result<Reply, Failure> {
    let gone = |error: io::Error| {
        Failure::new(
            Code::Io,
            format!("the agent of this step does not answer on {}: {error}", socket.display()),
            "the step that set KALE_SOCKET has ended: unset it to work on a store directly",
        )
    };
    let mut stream = UnixStream::connect(socket).map_err(gone)?;
    let frame = ipc::to_frame(&Message { v: ipc::VERSION, request }).map_err(|error| {
        Failure::new(Code::Usage, format!("the request cannot be sent: {error}"), "use shorter names and paths")
    })?;
    let numbers: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let control = if numbers.is_empty() { &[][..] } else { &rights[..] };
    let sent = sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(&frame)], control, MsgFlags::MSG_NOSIGNAL, None)
        .map_err(|errno| gone(errno.into()))?;
    stream.write_all(&frame[sent..]).map_err(gone)?;
    let mut prefix = [0; ipc::PREFIX_BYTES];
    stream.read_exact(&mut prefix).map_err(gone)?;
    let bytes = ipc::frame_bytes(prefix).map_err(|error| gone(io::Error::other(error)))?;
    let mut json = vec![0; bytes];
    stream.read_exact(&mut json).map_err(gone)?;
    match ipc::read_reply(&json).map_err(|error| gone(io::Error::other(error)))? {
        Reply::Failed { code, message } => Err(Failure::told(code_of(code), message)),
        reply => Ok(reply),
    }
}

/// The failure for an answer that does not fit the question.
pub(super) fn unexpected(reply: &Reply) -> Failure {
    Failure::new(Code::Internal, format!("the agent answered {reply:?}"), "is it of another version?")
}
