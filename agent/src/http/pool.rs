//! Connections that are kept: a request takes one that is idle, and gives it back when its answer has been read.

use super::{
    dial::{Dialler, Route, Stream},
    failure::Failure,
};
use http_body_util::BodyExt;
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use object_store::client::{HttpError, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Servers close connections that were idle for longer, and a request that meets that is a request to repeat.
const IDLE: Duration = Duration::from_secs(15);

/// What is received at once: it is copied from there while it is in a core's cache.
const READ: usize = 128 << 10;

type Sender = SendRequest<HttpRequestBody>;
/// A server's host and port, and whether it is asked by TLS.
type Server = (bool, String, u16);

/// The connections of one client.
#[derive(Debug)]
pub(super) struct Pool {
    dialler: Dialler,
    /// The one that became idle last stands last.
    idle: Mutex<HashMap<Server, Vec<(Instant, Sender)>>>,
}

impl Pool {
    pub(super) fn new(dialler: Dialler) -> Self {
        Self { dialler, idle: Mutex::default() }
    }

    /// Sends a request, and returns when the answer's head is there.
    pub(super) async fn send(
        self: &Arc<Self>,
        route: &Route,
        mut request: HttpRequest,
    ) -> Result<HttpResponse, HttpError> {
        let server = (route.secure, route.host.clone(), route.port);
        while let Some(mut sender) = self.take(&server) {
            match sender.try_send_request(request).await {
                Ok(answer) => return Ok(self.answered(server, sender, answer)),
                // The server had closed it, and nothing was sent: that is no failure.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Failure::of(error.into_error()).into()),
                },
            }
        }
        let mut sender = begin(self.dialler.dial(route).await?).await?;
        let answer = sender.send_request(request).await.map_err(Failure::of)?;
        Ok(self.answered(server, sender, answer))
    }

    fn answered(
        self: &Arc<Self>,
        server: Server,
        mut sender: Sender,
        answer: hyper::Response<Incoming>,
    ) -> HttpResponse {
        let pool = Arc::clone(self);
        // It is ready when the answer has been read to its end, and never where somebody stopped before.
        drop(tokio::spawn(async move {
            if sender.ready().await.is_ok() {
                pool.keep(server, sender);
            }
        }));
        answer.map(|body| HttpResponseBody::new(body.map_err(|error| Failure::of(error).into())))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Server, Vec<(Instant, Sender)>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, server: &Server) -> Option<Sender> {
        let mut idle = self.lock();
        let idle = idle.get_mut(server)?;
        idle.retain(|(since, sender)| since.elapsed() < IDLE && !sender.is_closed());
        idle.pop().map(|(_, sender)| sender)
    }

    fn keep(&self, server: Server, sender: Sender) {
        let mut idle = self.lock();
        let idle = idle.entry(server).or_default();
        idle.retain(|(since, _)| since.elapsed() < IDLE);
        idle.push((Instant::now(), sender));
    }
}

/// Speaks HTTP on a connection from now on.
async fn begin(stream: Box<dyn Stream>) -> Result<Sender, Failure> {
    let mut http = http1::Builder::new();
    http.read_buf_exact_size(Some(READ));
    let (sender, connection) = http.handshake(TokioIo::new(stream)).await.map_err(Failure::of)?;
    // Whoever sent a request is told of what goes wrong.
    drop(tokio::spawn(async move { drop(connection.await) }));
    Ok(sender)
}
