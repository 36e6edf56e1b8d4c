//! HTTP for buckets: whom TLS trusts, how long is waited, and one header that `object_store` has no word for.

use async_trait::async_trait;
use http::{HeaderValue, Method, header::IF_NONE_MATCH};
use object_store::{
    ClientConfigKey, ClientOptions,
    client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService},
};
use reqwest::{Certificate, Client};
use std::{fs, io, path::PathBuf, time::Duration};

/// To reach a server at all; it is tried again after that.
const CONNECT: Duration = Duration::from_secs(5);
/// Without a byte of an answer: a part of an upload takes less at 150 kB/s.
const SILENCE: Duration = Duration::from_secs(60);
/// Servers close connections that were idle for longer, and a request that meets that is a request to repeat.
const IDLE: Duration = Duration::from_secs(15);

/// Makes clients.
#[derive(Debug)]
pub(super) struct Connector {
    /// A file of certificates to trust instead of those that come with the binary.
    pub(super) roots: Option<PathBuf>,
}

impl Connector {
    /// Which certificates are trusted: those of a file, or Mozilla's, since an image from scratch has none.
    fn certificates(&self) -> Result<Vec<Certificate>, io::Error> {
        let wrong = |error: reqwest::Error| io::Error::other(error);
        match &self.roots {
            Some(file) => {
                let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
                Certificate::from_pem_bundle(&fs::read(file).map_err(named)?).map_err(wrong)
            }
            None => webpki_root_certs::TLS_SERVER_ROOT_CERTS
                .iter()
                .map(|root| Certificate::from_der(root).map_err(wrong))
                .collect(),
        }
    }

    fn client(&self, plain: bool) -> Result<Client, io::Error> {
        // Somebody else may have installed it already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        Client::builder()
            .user_agent(concat!("kale-agent/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .pool_idle_timeout(IDLE)
            .http1_only()
            .https_only(!plain)
            .tls_certs_only(self.certificates()?)
            .build()
            .map_err(io::Error::other)
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let plain = options.get_config_value(&ClientConfigKey::AllowHttp).as_deref() == Some("true");
        let client = self.client(plain);
        let client = client.map_err(|source| object_store::Error::Generic { store: "TLS", source: source.into() })?;
        Ok(HttpClient::new(Http(client)))
    }
}

#[derive(Debug)]
struct Http(Client);

#[async_trait]
impl HttpService for Http {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if completes_upload(&request) {
            request.headers_mut().insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        self.0.call(request).await
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
