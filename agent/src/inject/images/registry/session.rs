//! Asking one registry for the parts of one image: by whom it is answered, who asks, and whether that is what came.

use super::{
    challenge,
    credentials::{self, Login},
    error::RegistryError,
    requests::{self, Answer, Failed, Wanted},
};
use crate::{
    http::{Http, Plain, Surroundings},
    inject::images::name::{Reference, is_digest},
};
use http::{HeaderValue, StatusCode, Uri};
use object_store::client::HttpErrorKind;
use ring::digest::{SHA256, digest};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Write;

/// Addresses that no proxy may stand in front of: what is plain stays on this machine.
const DIRECT: &str = "localhost,127.0.0.0/8,::1";
/// Indexes and manifests, of OCI's kinds and Docker's.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
/// Most bytes of an index or a manifest, of a configuration, and of a token with what is around it.
const MANIFEST: usize = 4 << 20;
const CONFIG: usize = 8 << 20;
const TOKEN: usize = 1 << 20;

/// One image in its registry.
pub(super) struct Session<'r> {
    reference: Reference<'r>,
    variables: &'r [(String, String)],
    http: Http,
    /// How its URLs begin.
    base: String,
    authorization: Option<HeaderValue>,
}

impl<'r> Session<'r> {
    /// Finds out how the registry is spoken to.
    pub(super) async fn open(
        reference: Reference<'r>,
        variables: &'r [(String, String)],
    ) -> Result<Self, RegistryError> {
        let http = Http::new(&Surroundings::of(variables, DIRECT), Plain::Allowed)
            .map_err(|error| RegistryError::Setup(error.to_string()))?;
        let host = if reference.host == "docker.io" { "registry-1.docker.io" } else { reference.host };
        let base = base(&http, host).await?;
        Ok(Self { reference, variables, http, base, authorization: None })
    }

    /// The index or manifest of a tag or digest, and its digest.
    pub(super) async fn manifest(&mut self, version: &str) -> Result<(Vec<u8>, String), RegistryError> {
        let answer = self.get("manifests", version, MANIFEST).await?;
        let found = sha256(&answer.body);
        let said = answer.headers.get("docker-content-digest").and_then(|value| value.to_str().ok());
        let wanted = if is_digest(version) { Some(version) } else { said.filter(|said| is_digest(said)) };
        self.same(wanted.unwrap_or(&found), &found)?;
        Ok((answer.body, found))
    }

    /// A blob by its digest.
    pub(super) async fn blob(&mut self, digest: &str) -> Result<Vec<u8>, RegistryError> {
        let answer = self.get("blobs", digest, CONFIG).await?;
        self.same(digest, &sha256(&answer.body))?;
        Ok(answer.body)
    }

    /// What a body says.
    pub(super) fn parse<T: DeserializeOwned>(&self, what: &str, body: &[u8]) -> Result<T, RegistryError> {
        serde_json::from_slice(body).map_err(|error| self.odd(what, error.to_string()))
    }

    /// A digest that something names, if it is one that can be checked.
    pub(super) fn digest<'d>(&self, what: &str, digest: &'d str) -> Result<&'d str, RegistryError> {
        let odd = || self.odd(what, format!("it names {}, which is no SHA-256", digest.escape_debug()));
        if is_digest(digest) { Ok(digest) } else { Err(odd()) }
    }

    pub(super) fn odd(&self, what: &str, why: String) -> RegistryError {
        RegistryError::Content { host: self.host(), what: what.to_owned(), why }
    }

    pub(super) fn host(&self) -> String {
        self.reference.host.to_owned()
    }

    fn same(&self, wanted: &str, found: &str) -> Result<(), RegistryError> {
        if wanted == found {
            return Ok(());
        }
        Err(RegistryError::Damaged { host: self.host(), wanted: wanted.to_owned(), found: found.to_owned() })
    }

    async fn get(&mut self, kind: &str, version: &str, limit: usize) -> Result<Answer, RegistryError> {
        let Reference { path, .. } = self.reference;
        let separator = if is_digest(version) { '@' } else { ':' };
        let what = format!("{path}{separator}{version}");
        let url = format!("{}/v2/{path}/{kind}/{version}", self.base);
        let answer = loop {
            let wanted = Wanted { accept: MANIFESTS, authorization: self.authorization.as_ref(), limit, what: &what };
            let answer = requests::get(&self.http, &url, wanted).await?;
            // Who else wants to know who we are is not told, nor believed where tokens are had.
            if answer.status != StatusCode::UNAUTHORIZED || !answer.own || self.authorization.is_some() {
                break answer;
            }
            self.authorization = Some(self.authorize(&answer).await?);
        };
        match answer.status {
            StatusCode::OK => Ok(answer),
            StatusCode::NOT_FOUND => Err(RegistryError::Missing { host: self.host(), what }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.refused(self.login()?)),
            status => Err(self.status(status, &answer.body)),
        }
    }

    /// What shows who we are, in a way that the registry names.
    async fn authorize(&self, answer: &Answer) -> Result<HeaderValue, RegistryError> {
        let Login { basic, advice } = self.login()?;
        let challenges = challenge::of(&answer.headers);
        let scope = format!("repository:{}:pull", self.reference.path);
        let bearer = challenges.iter().find(|challenge| challenge.scheme == "bearer");
        if let Some(url) = bearer.and_then(|bearer| bearer.token_url(&scope)) {
            return self.token(&url, Login { basic, advice }).await;
        }
        match basic {
            Some(basic) if challenges.iter().any(|challenge| challenge.scheme == "basic") => Ok(basic),
            basic => Err(self.refused(Login { basic, advice })),
        }
    }

    async fn token(&self, url: &str, login: Login) -> Result<HeaderValue, RegistryError> {
        requests::checked(url, &self.base)?;
        let what = "a token";
        let accept = "application/json";
        let wanted = Wanted { accept, authorization: login.basic.as_ref(), limit: TOKEN, what };
        let answer = requests::get(&self.http, url, wanted).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(self.refused(login)),
            status => return Err(self.status(status, &answer.body)),
        }
        // What is wrong with it is not said: it is a secret.
        let found: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let token = found.as_ref().and_then(|found| found["token"].as_str().or(found["access_token"].as_str()));
        let header = token.and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok());
        let mut header = header.ok_or_else(|| self.odd(what, "there is no token in it".to_owned()))?;
        header.set_sensitive(true);
        Ok(header)
    }

    fn login(&self) -> Result<Login, RegistryError> {
        credentials::find(self.variables, self.reference.host, self.reference.path)
    }

    fn refused(&self, login: Login) -> RegistryError {
        RegistryError::Refused { host: self.host(), path: self.reference.path.to_owned(), advice: login.advice }
    }

    fn status(&self, status: StatusCode, body: &[u8]) -> RegistryError {
        // The code is one of a list in the specification; a message could be anything.
        let said: Option<Value> = serde_json::from_slice(body).ok();
        let code = said.as_ref().and_then(|said| said["errors"][0]["code"].as_str());
        let is_code =
            |code: &&str| code.len() < 64 && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        let code = code.filter(is_code).map(str::to_owned);
        RegistryError::Status { host: self.host(), status: status.as_u16(), code }
    }
}

/// How the URLs of a registry begin. On this machine it may speak plainly, as most there do; that is tried first, and
/// without any credentials.
async fn base(http: &Http, host: &str) -> Result<String, RegistryError> {
    let secure = format!("https://{host}");
    let uri = requests::checked(&secure, &secure)?;
    if !uri.host().is_some_and(requests::is_loopback) {
        return Ok(secure);
    }
    let plain = format!("http://{host}");
    let ping: Uri = requests::checked(&format!("{plain}/v2/"), &plain)?;
    let wanted = Wanted { accept: "*/*", authorization: None, limit: MANIFEST, what: "its version" };
    match requests::once(http, &ping, wanted).await {
        // So servers answer that expect TLS.
        Ok(answer) if answer.status == StatusCode::BAD_REQUEST => Ok(secure),
        Err(Failed::Http(error)) if matches!(error.kind(), HttpErrorKind::Request | HttpErrorKind::Decode) => {
            Ok(secure)
        }
        Ok(_) => Ok(plain),
        Err(failed) => Err(failed.told(&ping, wanted)),
    }
}

fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().fold("sha256:".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes what is written");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_written_as_registries_do() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(b""), empty);
        assert!(is_digest(empty));
    }
}
