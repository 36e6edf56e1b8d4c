//! HTTP for buckets: our own client in the place of the library's, and one header that the library has no word for.

use crate::http::{Http, Plain, Surroundings};
use async_trait::async_trait;
use http::{HeaderValue, Method, header::IF_NONE_MATCH};
use object_store::{
    ClientConfigKey, ClientOptions,
    client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService},
};

/// Makes clients.
#[derive(Debug)]
pub(super) struct Connector(Surroundings);

impl Connector {
    /// As the environment's variables say.
    pub(super) fn of(variables: &[(String, String)]) -> Self {
        Self(Surroundings::of(variables, ""))
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let allowed = options.get_config_value(&ClientConfigKey::AllowHttp).as_deref() == Some("true");
        let http = Http::new(&self.0, if allowed { Plain::Allowed } else { Plain::Refused });
        let http = http.map_err(|source| object_store::Error::Generic { store: "TLS", source: source.into() })?;
        Ok(HttpClient::new(Client(http)))
    }
}

#[derive(Debug)]
struct Client(Http);

#[async_trait]
impl HttpService for Client {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if completes_upload(&request) {
            request.headers_mut().insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        self.0.send(request).await
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
