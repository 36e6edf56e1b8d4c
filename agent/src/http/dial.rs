//! Reaching a server: its name, a connection, a proxy on the way, TLS.

use super::{failure::Failure, silence::Silence};
use http::{Uri, uri::Scheme};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use rustls::pki_types::ServerName;
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// To reach a server at all; it is tried again after that.
const CONNECT: Duration = Duration::from_secs(5);
/// For one of several addresses of a server: a way that swallows what is sent leaves time for the next.
const ADDRESS: Duration = Duration::from_secs(2);
/// Most bytes of a proxy's answer.
const ANSWER: usize = 8 << 10;

/// What requests go over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A server, and what lies on the way to it.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) secure: bool,
    pub(super) host: String,
    pub(super) port: u16,
    proxy: Option<Intercept>,
}

impl Route {
    /// The way to a URL's server.
    pub(super) fn to(uri: &Uri, proxies: &Matcher) -> Result<Self, Failure> {
        let (secure, host, port) = place(uri).ok_or_else(|| Failure::Endpoint(uri.to_string()))?;
        Ok(Self { secure, host, port, proxy: proxies.intercept(uri) })
    }

    /// What the server is asked under: a port that goes without saying is not said, as signatures want it.
    pub(super) fn host_header(&self) -> String {
        if self.port == usual_port(self.secure) { self.host.clone() } else { self.authority() }
    }

    /// The proxy that forwards single requests; what is secure goes through a tunnel.
    pub(super) fn forwards(&self) -> Option<&Intercept> {
        self.proxy.as_ref().filter(|_| !self.secure)
    }

    fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// Whether a URL asks for TLS, its host as it is written, and its port.
fn place(uri: &Uri) -> Option<(bool, String, u16)> {
    let secure = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => false,
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        _ => return None,
    };
    let host = uri.host().filter(|host| !host.is_empty())?;
    Some((secure, host.to_owned(), uri.port_u16().unwrap_or(usual_port(secure))))
}

fn usual_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

/// Makes connections.
pub(super) struct Dialler {
    pub(super) tls: TlsConnector,
    /// Whether what is not secure is allowed.
    pub(super) plain: bool,
}

impl Dialler {
    /// A connection on which the server, or a proxy that forwards, takes requests.
    pub(super) async fn dial(&self, route: &Route) -> Result<Box<dyn Stream>, Failure> {
        if !route.secure && !self.plain {
            return Err(Failure::Plain);
        }
        let late = |_| Failure::Reach(route.authority(), io::ErrorKind::TimedOut.into());
        timeout(CONNECT, self.reach(route)).await.map_err(late)?
    }

    async fn reach(&self, route: &Route) -> Result<Box<dyn Stream>, Failure> {
        let Some(proxy) = &route.proxy else {
            let stream: Box<dyn Stream> = Box::new(connect(&route.host, route.port).await?);
            return if route.secure { self.secured(&route.host, stream).await } else { Ok(stream) };
        };
        let Some((secure, host, port)) = place(proxy.uri()) else {
            let why = format!("{} is not the URL of an HTTP proxy", proxy.uri());
            return Err(Failure::Proxy(route.authority(), why));
        };
        let mut stream: Box<dyn Stream> = Box::new(connect(&host, port).await?);
        if secure {
            stream = self.secured(&host, stream).await?;
        }
        if !route.secure {
            return Ok(stream);
        }
        tunnel(&mut stream, route, proxy).await?;
        self.secured(&route.host, stream).await
    }

    async fn secured(&self, host: &str, stream: Box<dyn Stream>) -> Result<Box<dyn Stream>, Failure> {
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(|_| Failure::Endpoint(host.to_owned()))?;
        match self.tls.connect(name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(refused(host, error)),
        }
    }
}

impl std::fmt::Debug for Dialler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialler").field("plain", &self.plain).finish_non_exhaustive()
    }
}

/// Why TLS was not agreed on.
fn refused(host: &str, error: io::Error) -> Failure {
    use rustls::{CertificateError as Certificate, Error};
    let Some(inner) = error.get_ref() else {
        // It was not TLS that failed: the next try may go well.
        return Failure::Reach(host.to_owned(), error);
    };
    match inner.downcast_ref::<Error>() {
        Some(Error::InvalidCertificate(
            Certificate::Expired
            | Certificate::ExpiredContext { .. }
            | Certificate::NotValidYet
            | Certificate::NotValidYetContext { .. }
            | Certificate::NotValidForName
            | Certificate::NotValidForNameContext { .. },
        )) => Failure::Unfit(error),
        Some(Error::InvalidCertificate(_)) => Failure::Untrusted(error),
        _ => Failure::Tls(error),
    }
}

/// A connection to the first of a host's addresses that takes one.
async fn connect(host: &str, port: u16) -> Result<Silence<TcpStream>, Failure> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = lookup_host((bare, port)).await.map_err(|error| Failure::Name(bare.to_owned(), error))?;
    let addresses: Vec<SocketAddr> = found.collect();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in &addresses {
        let patience = if addresses.len() == 1 { CONNECT } else { ADDRESS };
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A request is written in few pieces, and none of them waits for more. It works without, too.
                let _ = stream.set_nodelay(true);
                return Ok(Silence::on(stream));
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(Failure::Reach(format!("{host}:{port}"), last))
}

/// Has a proxy connect to the server.
async fn tunnel(stream: &mut Box<dyn Stream>, route: &Route, proxy: &Intercept) -> Result<(), Failure> {
    let to = route.authority();
    let failed = |error| Failure::Reach(format!("{to}, through the proxy"), error);
    let mut request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n").into_bytes();
    if let Some(who) = proxy.basic_auth() {
        request.extend_from_slice(&[b"Proxy-Authorization: ", who.as_bytes(), b"\r\n"].concat());
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    // Byte for byte: what follows is the server's.
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") && answer.len() < ANSWER {
        answer.push(stream.read_u8().await.map_err(failed)?);
    }
    let first = String::from_utf8_lossy(answer.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned();
    let mut words = first.split(' ');
    let taken = words.next().is_some_and(|word| word.starts_with("HTTP/1.")) && words.next() == Some("200");
    if taken { Ok(()) } else { Err(Failure::Proxy(to, first.escape_debug().to_string())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes() {
        let proxies = Matcher::builder().https("http://proxy:3128").no("inside").build();
        let to = |uri: &str| Route::to(&uri.parse().unwrap(), &proxies);
        let secure = to("https://outside/bucket?x").unwrap();
        assert!(secure.secure && secure.port == 443 && secure.proxy.is_some() && secure.forwards().is_none());
        assert_eq!(secure.host_header(), "outside");
        let plain = to("http://outside:8333/bucket").unwrap();
        assert!(!plain.secure && plain.proxy.is_none());
        assert_eq!(plain.host_header(), "outside:8333");
        assert!(to("https://inside").unwrap().proxy.is_none());
        assert_eq!(to("http://[::1]:9/").unwrap().host_header(), "[::1]:9");
        assert!(to("/bucket").is_err() && to("ftp://host/").is_err());
    }
}
