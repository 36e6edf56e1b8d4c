//! The socket on which step code asks for `save` and `load` while the step runs. `docs/formats/ipc.md`.

use super::{
    StepError,
    dir::{StepDir, io_error},
    inputs::ReadyInput,
    request,
    session::Session,
};
use kale_protocol::{
    exit::Code,
    ipc::{self, FrameError, Reply},
    limits,
};
use nix::{
    cmsg_space,
    sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, getsockopt, recvmsg, sendmsg, sockopt},
};
use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut, Read, Write},
    net::Shutdown,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{net::UnixListener, task::JoinSet};

/// Most clients at a time; more wait to be accepted.
const CLIENTS: usize = 16;

/// Everything a client's request may need.
#[derive(Debug)]
pub(super) struct Service {
    /// The attempt's work with the store.
    pub session: Arc<Session>,
    /// The agent's folder.
    pub dir: Arc<StepDir>,
    /// The inputs that were restored before the command started.
    pub inputs: Vec<ReadyInput>,
}

/// A bound socket; clients are served while [`Server::serve`] is awaited.
#[derive(Debug)]
pub(super) struct Server {
    listener: UnixListener,
    service: Arc<Service>,
    open: Arc<Mutex<Vec<UnixStream>>>,
    clients: JoinSet<()>,
}

impl Server {
    /// Binds the socket in the agent's folder. Needs a tokio runtime.
    pub(super) fn bind(service: Service) -> Result<Self, StepError> {
        let path = service.dir.socket().to_owned();
        let listener = UnixListener::bind(&path).map_err(io_error("bind the socket", &path))?;
        Ok(Self { listener, service: Arc::new(service), open: Arc::default(), clients: JoinSet::new() })
    }

    /// Accepts and serves clients, for ever: dropped or cancelled when the command has ended.
    pub(super) async fn serve(&mut self) {
        loop {
            while self.clients.len() >= CLIENTS {
                self.clients.join_next().await;
            }
            let Ok((stream, _)) = self.listener.accept().await else { continue };
            let Ok(stream) = stream.into_std().and_then(|stream| {
                stream.set_nonblocking(false)?;
                Ok(stream)
            }) else {
                continue;
            };
            if let Ok(handle) = stream.try_clone() {
                self.open.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
            }
            let service = Arc::clone(&self.service);
            self.clients.spawn_blocking(move || converse(stream, &service));
            while self.clients.try_join_next().is_some() {}
        }
    }

    /// Ends the conversation: requests under way are finished, silent clients are cut off.
    pub(super) async fn close(mut self) {
        for stream in self.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // Only the reading side: an answer that is still to come reaches its client.
            let _ = stream.shutdown(Shutdown::Read);
        }
        while self.clients.join_next().await.is_some() {}
    }
}

fn converse(mut stream: UnixStream, service: &Service) {
    let mut grant = None;
    let client = getsockopt(&stream, sockopt::PeerCredentials).ok().map(|who| who.pid());
    loop {
        let (reply, files) = match receive(&mut stream) {
            Ok(Some((json, files))) => match ipc::read_request(&json) {
                Ok(asked) => request::answer(service, asked, files, &mut grant, client),
                Err(error) => (refuse(&error), Vec::new()),
            },
            Ok(None) => return,
            Err(Received::Frame(error)) => {
                // Where a frame ends is unknown after this: the answer is the last thing said.
                let _ = send(&mut stream, &refuse(&error), &[]);
                return;
            }
            // The client is gone, and there is nobody to tell.
            Err(Received::Gone) => return,
        };
        if send(&mut stream, &reply, &files).is_err() {
            return;
        }
    }
}

fn refuse(error: &FrameError) -> Reply {
    Reply::Failed { code: Code::Usage.number(), message: error.to_string() }
}

/// Sends a reply; descriptors go with its first byte.
fn send(stream: &mut UnixStream, reply: &Reply, files: &[File]) -> io::Result<()> {
    let frame = match ipc::to_frame(reply) {
        Ok(frame) => frame,
        Err(error) => ipc::to_frame(&refuse(&error)).map_err(io::Error::other)?,
    };
    if files.is_empty() {
        return stream.write_all(&frame);
    }
    let numbers: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let sent = loop {
        match sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(&frame)], &rights, MsgFlags::MSG_NOSIGNAL, None) {
            Err(nix::errno::Errno::EINTR) => {}
            other => break other.map_err(io::Error::from)?,
        }
    };
    stream.write_all(&frame[sent..])
}

enum Received {
    Frame(FrameError),
    Gone,
}

impl From<io::Error> for Received {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// A frame's JSON, and the files that came with it.
type Frame = (Vec<u8>, Vec<File>);

/// Reads one frame and the descriptors that came with its first byte; `None` at the end of the conversation.
fn receive(stream: &mut UnixStream) -> Result<Option<Frame>, Received> {
    let mut prefix = [0; ipc::PREFIX_BYTES];
    let (read, files) = receive_with_files(stream, &mut prefix)?;
    if read == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut prefix[read..])?;
    let mut json = vec![0; ipc::frame_bytes(prefix).map_err(Received::Frame)?];
    stream.read_exact(&mut json)?;
    Ok(Some((json, files)))
}

#[expect(unsafe_code, reason = "descriptors from SCM_RIGHTS come as numbers that nothing owns yet")]
fn receive_with_files(stream: &UnixStream, buffer: &mut [u8]) -> Result<(usize, Vec<File>), Received> {
    let mut space = cmsg_space!([RawFd; limits::IPC_DESCRIPTORS]);
    let mut slices = [IoSliceMut::new(buffer)];
    let message = loop {
        match recvmsg::<()>(stream.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
            Err(nix::errno::Errno::EINTR) => {}
            other => break other.map_err(io::Error::from)?,
        }
    };
    let mut files = Vec::new();
    for control in message.cmsgs().map_err(io::Error::from)? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            for number in numbers {
                // SAFETY: the kernel has just made this descriptor for us, and nothing else knows its number.
                files.push(File::from(unsafe { OwnedFd::from_raw_fd(number) }));
            }
        }
    }
    Ok((message.bytes, files))
}
