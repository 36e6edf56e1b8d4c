//! One GET of something small: redirects followed, what may go away by itself tried again, sizes and times limited.

use super::error::RegistryError;
use crate::http::{Http, told};
use http::{
    HeaderMap, HeaderValue, Request, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, LOCATION, RETRY_AFTER},
    uri::Scheme,
};
use http_body_util::BodyExt;
use object_store::client::{HttpError, HttpErrorKind, HttpRequestBody, HttpResponseBody};
use std::{net::IpAddr, time::Duration};
use tokio::time::{sleep, timeout};

/// For one answer, from the first byte that is sent to the last that comes.
const PATIENCE: Duration = Duration::from_secs(8);
/// How often what may go away by itself is tried again, after pauses that double.
const RETRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(300);
/// The longest pause that a server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// How often a server may lead elsewhere.
const REDIRECTS: u32 = 5;
/// Most bytes of an answer that is an error.
const ERROR: usize = 64 << 10;

/// What came.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Whether the server of the URL gave it, and not one that it led to.
    pub(super) own: bool,
    /// Of an answer that is an error, as much as is to be had.
    pub(super) body: Vec<u8>,
}

/// What is wanted.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'w> {
    pub(super) accept: &'static str,
    /// Goes to the server of the URL, and no further.
    pub(super) authorization: Option<&'w HeaderValue>,
    /// Most bytes of the body.
    pub(super) limit: usize,
    /// What it is, for messages.
    pub(super) what: &'w str,
}

/// Gets something. Nothing leads from https to http, nor by http to another machine.
pub(super) async fn get(http: &Http, url: &str, wanted: Wanted<'_>) -> Result<Answer, RegistryError> {
    let first = checked(url, url)?;
    let mut at = first.clone();
    for _ in 0..=REDIRECTS {
        let own = server(&at) == server(&first);
        let authorization = wanted.authorization.filter(|_| own);
        let answer = Answer { own, ..patiently(http, &at, Wanted { authorization, ..wanted }).await? };
        if !matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(answer);
        }
        let lost = || RegistryError::Lost { host: host(&at) };
        let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok()).ok_or_else(lost)?;
        let next = checked(&absolute(&at, location), &at.to_string())?;
        if is_secure(&at) && !is_secure(&next) {
            return Err(RegistryError::Insecure { host: host(&at), to: host(&next) });
        }
        at = next;
    }
    Err(RegistryError::Lost { host: host(&first) })
}

/// Whether a host, as it stands in a URL, is this machine by an address of its own.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Tries again what may go away by itself.
async fn patiently(http: &Http, uri: &Uri, wanted: Wanted<'_>) -> Result<Answer, RegistryError> {
    let mut left = RETRIES;
    let mut pause = PAUSE;
    loop {
        let came = once(http, uri, wanted).await;
        let asked = match &came {
            Ok(answer) if matches!(answer.status.as_u16(), 429 | 500 | 502..=504) => asked_for(&answer.headers),
            Err(Failed::Http(error)) if error.kind() == HttpErrorKind::Request => None,
            _ => {
                left = 0;
                None
            }
        };
        if left == 0 {
            return came.map_err(|failed| failed.told(uri, wanted));
        }
        sleep(asked.unwrap_or(pause).min(LONGEST_PAUSE)).await;
        pause *= 2;
        left -= 1;
    }
}

/// The pause that a server asks for, in seconds.
fn asked_for(headers: &HeaderMap) -> Option<Duration> {
    let secs = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(secs))
}

/// Why there is no answer.
pub(super) enum Failed {
    Http(HttpError),
    Silent,
    Large,
}

impl Failed {
    pub(super) fn told(self, uri: &Uri, wanted: Wanted<'_>) -> RegistryError {
        let host = host(uri);
        match self {
            Self::Http(error) if error.kind() == HttpErrorKind::Timeout => {
                RegistryError::Silent { host, secs: PATIENCE.as_secs() }
            }
            Self::Http(error) => {
                let why = told(&error).unwrap_or_else(|| "the connection broke".to_owned());
                RegistryError::Unreached { host, why }
            }
            Self::Silent => RegistryError::Silent { host, secs: PATIENCE.as_secs() },
            Self::Large => RegistryError::Large { host, what: wanted.what.to_owned(), limit: wanted.limit },
        }
    }
}

/// Sends one request, and reads its answer.
pub(super) async fn once(http: &Http, uri: &Uri, wanted: Wanted<'_>) -> Result<Answer, Failed> {
    let mut request = Request::new(HttpRequestBody::empty());
    *request.uri_mut() = uri.clone();
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static(wanted.accept));
    if let Some(authorization) = wanted.authorization {
        request.headers_mut().insert(AUTHORIZATION, authorization.clone());
    }
    let whole = async {
        let (head, body) = http.send(request).await.map_err(Failed::Http)?.into_parts();
        let limit = if head.status.is_success() { wanted.limit } else { ERROR };
        let body = match read(body, limit).await {
            // What an error says is good to have, and no more.
            Err(_) if !head.status.is_success() => Vec::new(),
            other => other?,
        };
        Ok(Answer { status: head.status, headers: head.headers, own: true, body })
    };
    timeout(PATIENCE, whole).await.unwrap_or(Err(Failed::Silent))
}

async fn read(mut body: HttpResponseBody, limit: usize) -> Result<Vec<u8>, Failed> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Failed::Http)?.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(Failed::Large);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// A URL that may be asked; `by` is the one that led there.
pub(super) fn checked(url: &str, by: &str) -> Result<Uri, RegistryError> {
    let from = || by.parse::<Uri>().map(|uri| host(&uri)).unwrap_or_default();
    let uri: Uri = url.parse().map_err(|_| RegistryError::Lost { host: from() })?;
    match (uri.scheme().map(Scheme::as_str), uri.host()) {
        (Some("https"), Some(name)) if !name.is_empty() => Ok(uri),
        (Some("http"), Some(name)) if is_loopback(name) => Ok(uri),
        (Some("http"), Some(_)) => Err(RegistryError::Insecure { host: from(), to: host(&uri) }),
        _ => Err(RegistryError::Lost { host: from() }),
    }
}

/// Where a redirect leads: it may leave out what stays the same.
fn absolute(at: &Uri, location: &str) -> String {
    let scheme = at.scheme_str().unwrap_or_default();
    let location = location.split('#').next().unwrap_or_default();
    if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{}{location}", host(at))
    } else {
        location.to_owned()
    }
}

fn is_secure(uri: &Uri) -> bool {
    uri.scheme() == Some(&Scheme::HTTPS)
}

/// Who is asked: credentials are for one.
fn server(uri: &Uri) -> (bool, Option<&str>, Option<u16>) {
    let usual = if is_secure(uri) { 443 } else { 80 };
    (is_secure(uri), uri.host(), uri.port_u16().or(Some(usual)))
}

/// The host and its port, without what else may stand in a URL.
pub(super) fn host(uri: &Uri) -> String {
    let port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}", uri.host().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example", "127.0.0.1.example", "128.0.0.1", "[::2]", "0.0.0.0", "10.0.0.1", ""] {
            assert!(!is_loopback(host), "{host}");
        }
        let told = |url: &str| checked(url, "https://from.example/x?secret").map_err(|error| error.to_string());
        assert!(told("https://any.example/x").is_ok() && told("http://127.0.0.1:5/x").is_ok());
        for (url, says) in [
            ("http://any.example/x?secret=1", "leads to any.example by plain http"),
            ("http://who:secret@any.example:8/x", "leads to any.example:8 by plain http"),
            ("ftp://any.example/secret", "no URL"),
            ("secret", "no URL"),
            ("https:///secret", "no URL"),
        ] {
            let told = told(url).unwrap_err();
            assert!(told.contains("from.example") && told.contains(says) && !told.contains("secret"), "{url}: {told}");
        }
    }

    #[test]
    fn redirects_lead_on_from_where_they_are_met() {
        let at: Uri = "https://a.example:8/v2/x?y".parse().unwrap();
        assert_eq!(absolute(&at, "/z?q#f"), "https://a.example:8/z?q");
        assert_eq!(absolute(&at, "//b.example/z"), "https://b.example/z");
        assert_eq!(absolute(&at, "http://b.example/z"), "http://b.example/z");
        let same = |url: &str| server(&url.parse().unwrap()) == server(&at);
        assert!(same("https://a.example:8/other"));
        for other in ["https://a.example/x", "http://a.example:8/x", "https://b.example:8/x"] {
            assert!(!same(other), "{other}");
        }
    }

    #[test]
    fn pauses_are_asked_for_in_seconds() {
        let asked = |value| asked_for(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]));
        assert_eq!(asked("2"), Some(Duration::from_secs(2)));
        assert_eq!(asked("Fri, 31 Dec 1999 23:59:59 GMT"), None);
        assert_eq!(asked_for(&HeaderMap::new()), None);
    }
}
