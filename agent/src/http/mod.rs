//! HTTP: requests on connections that are kept, through a proxy where one is set, over TLS.

mod dial;
mod failure;
mod pool;
mod silence;
mod trust;

use dial::{Dialler, Route};
#[cfg(test)]
pub(crate) use failure::Failure;
pub(crate) use failure::told;
use futures_util::future::BoxFuture;
use http::{
    HeaderValue, Method, Uri,
    header::{CONTENT_LENGTH, HOST, PROXY_AUTHORIZATION, USER_AGENT},
};
use hyper_util::client::proxy::matcher::Matcher;
use object_store::client::{HttpError, HttpRequest, HttpResponse};
use pool::Pool;
use std::{io, path::PathBuf, sync::Arc};

/// Where certificates are that are trusted instead of the binary's own.
const ROOTS: &str = "SSL_CERT_FILE";
const AGENT: HeaderValue = HeaderValue::from_static(concat!("kale-agent/", env!("CARGO_PKG_VERSION")));

/// What goes over the network as anybody can read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plain {
    /// Nothing.
    Refused,
    /// What is sent to an `http` URL.
    Allowed,
}

/// What the environment says of all connections.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// A file of certificates to trust instead of those that come with the binary.
    roots: Option<PathBuf>,
    proxies: Arc<Matcher>,
}

impl Surroundings {
    /// As the environment's variables say; no proxy stands in front of `direct`, a list as in `NO_PROXY`.
    pub(crate) fn of(variables: &[(String, String)], direct: &str) -> Self {
        let find = |name: &str| variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let either = |upper: &str| {
            let value = find(upper).filter(|value| !value.is_empty());
            value.or_else(|| find(&upper.to_ascii_lowercase())).unwrap_or_default()
        };
        let proxies = Matcher::builder()
            .all(either("ALL_PROXY"))
            .http(either("HTTP_PROXY"))
            .https(either("HTTPS_PROXY"))
            .no(format!("{},{direct}", either("NO_PROXY")))
            .build();
        Self { roots: find(ROOTS).filter(|file| !file.is_empty()).map(Into::into), proxies: Arc::new(proxies) }
    }
}

/// One client, with its connections.
#[derive(Debug)]
pub(crate) struct Http {
    proxies: Arc<Matcher>,
    pool: Arc<Pool>,
}

impl Http {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// If the file of certificates cannot be used.
    pub(crate) fn new(surroundings: &Surroundings, plain: Plain) -> io::Result<Self> {
        let dialler = Dialler { tls: trust::tls(surroundings.roots.as_deref())?, plain: plain == Plain::Allowed };
        Ok(Self { proxies: Arc::clone(&surroundings.proxies), pool: Arc::new(Pool::new(dialler)) })
    }

    /// Sends a request, and returns when the answer's head is there. Its own future, or each caller's code would have
    /// all of it.
    pub(crate) fn send(&self, mut request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, HttpError>> {
        Box::pin(async move {
            let route = Route::to(request.uri(), &self.proxies).map_err(HttpError::from)?;
            prepare(&mut request, &route);
            self.pool.send(&route, request).await
        })
    }
}

/// Adds what a server or a proxy needs.
fn prepare(request: &mut HttpRequest, route: &Route) {
    let has_length = !matches!(*request.method(), Method::POST | Method::PUT) || request.body().content_length() > 0;
    let headers = request.headers_mut();
    if !has_length {
        // Without it some servers wait for a body, or refuse.
        headers.entry(CONTENT_LENGTH).or_insert(HeaderValue::from_static("0"));
    }
    headers.entry(USER_AGENT).or_insert(AGENT);
    if let Ok(host) = HeaderValue::from_str(&route.host_header()) {
        headers.entry(HOST).or_insert(host);
    }
    if let Some(proxy) = route.forwards() {
        // The proxy is told all of the URL, and who we are.
        if let Some(who) = proxy.basic_auth() {
            headers.insert(PROXY_AUTHORIZATION, who.clone());
        }
        return;
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    if let Ok(path) = path.parse::<Uri>() {
        *request.uri_mut() = path;
    }
}
