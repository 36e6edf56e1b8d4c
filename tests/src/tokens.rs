//! A server of tokens for a registry, as large registries have one: it signs for what is asked, with its own certificate.

use crate::answers::{Answers, header, path};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

/// Who signs, and for whom.
const ISSUER: &str = "kale-tests";
const SERVICE: &str = "a registry & more";

/// A running server of tokens.
#[derive(Debug)]
pub struct Tokens {
    answers: Answers,
    folder: Arc<TempDir>,
}

impl Tokens {
    /// Starts one that gives tokens to all, or to who shows this `Authorization`. `Err` with the reason where nothing
    /// can be signed.
    pub fn start(wanted: Option<&'static str>) -> Result<Self, String> {
        let folder = Arc::new(tempfile::Builder::new().prefix("kale-tokens-").tempdir().expect("a temporary folder"));
        let key = ["-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "certificate.pem"];
        let made = Command::new("openssl")
            .args(["req", "-x509", "-days", "2", "-subj", "/CN=tokens"])
            .args(key)
            .current_dir(folder.path())
            .output()
            .map_err(|error| format!("no openssl here: {error}"))?;
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let signer = Arc::clone(&folder);
        let answers = Answers::start(move |head, _| {
            if wanted.is_some() && header(head, "authorization") != wanted {
                return ("401 Unauthorized", Vec::new(), String::new());
            }
            let token = token(signer.path(), &parameter(head, "scope"));
            ("200 OK", Vec::new(), json!({ "token": token }).to_string())
        });
        Ok(Self { answers, folder })
    }

    /// What makes a registry want its tokens.
    pub fn auth(&self) -> Value {
        let realm = format!("http://{}/token", self.answers.host());
        let certificate = self.folder.path().join("certificate.pem");
        json!({"token": {"realm": realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": certificate}})
    }

    /// The service and the scope of all requests so far.
    pub fn asked(&self) -> Vec<(String, String)> {
        let heads = self.answers.heads();
        heads.iter().map(|head| (parameter(head, "service"), parameter(head, "scope"))).collect()
    }

    /// The service as the registry names it.
    pub fn service(&self) -> &'static str {
        SERVICE
    }
}

/// A parameter of a request's query.
fn parameter(head: &str, name: &str) -> String {
    let query = path(head).split_once('?').map_or("", |(_, query)| query);
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.find(|(there, _)| *there == name).map_or("", |(_, value)| value);
    let mut parts = value.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push(char::from(u8::from_str_radix(&part[..2], 16).expect("two digits")));
        text.push_str(&part[2..]);
    }
    text
}

fn token(folder: &Path, scope: &str) -> String {
    let certificate = fs::read_to_string(folder.join("certificate.pem")).expect("the certificate");
    let certificate: String = certificate.lines().filter(|line| !line.starts_with("-----")).collect();
    assert!(BASE64_STANDARD.decode(&certificate).is_ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    let parts: Vec<&str> = scope.split(':').collect();
    let [kind, name, actions] = parts[..] else { panic!("no scope: {scope}") };
    let actions: Vec<&str> = actions.split(',').collect();
    let claims = json!({
        "iss": ISSUER, "sub": "somebody", "aud": SERVICE, "jti": "1",
        "iat": now - 60, "nbf": now - 60, "exp": now + 300,
        "access": [{"type": kind, "name": name, "actions": actions}],
    });
    let head = json!({"typ": "JWT", "alg": "RS256", "x5c": [certificate]});
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&head), part(&claims));
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-sign", "key.pem"])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl starts");
    openssl.stdin.take().expect("it is piped").write_all(signed.as_bytes()).expect("openssl takes it");
    let signature = openssl.wait_with_output().expect("openssl ends").stdout;
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}
