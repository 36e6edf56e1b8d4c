//! HTTP for buckets: requests on connections that are kept, and one header that `object_store` has no word for.

mod dial;
mod failure;
mod pool;
mod silence;
mod trust;

use super::client::Variables;
use async_trait::async_trait;
use dial::{Dialler, Route};
pub(super) use failure::Failure;
use http::{
    HeaderValue, Method, Uri,
    header::{CONTENT_LENGTH, HOST, IF_NONE_MATCH, PROXY_AUTHORIZATION, USER_AGENT},
};
use hyper_util::client::proxy::matcher::Matcher;
use object_store::{
    ClientConfigKey, ClientOptions,
    client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService},
};
use pool::Pool;
use std::{path::PathBuf, sync::Arc};

/// Where certificates are that are trusted instead of the binary's own.
const ROOTS: &str = "SSL_CERT_FILE";
const AGENT: HeaderValue = HeaderValue::from_static(concat!("kale-agent/", env!("CARGO_PKG_VERSION")));

/// Makes clients.
#[derive(Debug)]
pub(super) struct Connector {
    /// A file of certificates to trust instead of those that come with the binary.
    roots: Option<PathBuf>,
    proxies: Arc<Matcher>,
}

impl Connector {
    /// As the environment's variables say.
    pub(super) fn of(variables: &Variables) -> Self {
        let find = |name: &str| variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let either = |upper: &str| {
            let value = find(upper).filter(|value| !value.is_empty());
            value.or_else(|| find(&upper.to_ascii_lowercase())).unwrap_or_default()
        };
        let proxies = Matcher::builder()
            .all(either("ALL_PROXY"))
            .http(either("HTTP_PROXY"))
            .https(either("HTTPS_PROXY"))
            .no(either("NO_PROXY"))
            .build();
        Self { roots: find(ROOTS).filter(|file| !file.is_empty()).map(Into::into), proxies: Arc::new(proxies) }
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let plain = options.get_config_value(&ClientConfigKey::AllowHttp).as_deref() == Some("true");
        let tls = trust::tls(self.roots.as_deref());
        let tls = tls.map_err(|source| object_store::Error::Generic { store: "TLS", source: source.into() })?;
        let dialler = Dialler { tls, plain };
        Ok(HttpClient::new(Http { proxies: Arc::clone(&self.proxies), pool: Arc::new(Pool::new(dialler)) }))
    }
}

/// One client, with its connections.
#[derive(Debug)]
struct Http {
    proxies: Arc<Matcher>,
    pool: Arc<Pool>,
}

#[async_trait]
impl HttpService for Http {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let route = Route::to(request.uri(), &self.proxies).map_err(HttpError::from)?;
        prepare(&mut request, &route);
        self.pool.send(&route, request).await
    }
}

/// Adds what a server or a proxy needs.
fn prepare(request: &mut HttpRequest, route: &Route) {
    let completes = completes_upload(request);
    let has_length = !matches!(*request.method(), Method::POST | Method::PUT) || request.body().content_length() > 0;
    let headers = request.headers_mut();
    if completes {
        headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
    }
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

/// Whether a request makes an object of S3 out of its parts: then it may replace none. The header need not be signed,
/// and servers that do not know it complete as they always did.
fn completes_upload(request: &HttpRequest) -> bool {
    let names_upload = |query: &str| query.split('&').any(|pair| pair.starts_with("uploadId="));
    request.method() == Method::POST
        && request.headers().contains_key("x-amz-date")
        && request.uri().query().is_some_and(names_upload)
}
