//! Who asks a registry, and whom it leads to: credentials reach those they are for, and nobody else.

use kale_tests::{
    answers::{Answers, header, path},
    registry::{OCI_MANIFEST, Registry, sha256},
    sandbox::{Sandbox, Told},
    skip::skip,
    tls::Tls,
    tokens::Tokens,
};
use serde_json::{Value, json};
use std::{
    net::TcpListener,
    sync::atomic::{AtomicUsize, Ordering},
};

/// `reader` and `geheim`, as a file of credentials has them, and as htpasswd does, in four rounds.
const PAIR: &str = "cmVhZGVyOmdlaGVpbQ==";
const BASIC: &str = "Basic cmVhZGVyOmdlaGVpbQ==";
const HTPASSWD: &str = "reader:$2b$04$XHCbNLwP1xJRl/g42.p/z.H7AWNySM9uJijYkmxJyTPBfDJ4002vG\n";

fn ask(place: &Sandbox, image: &str) -> Told {
    let container = format!("  - name: main\n    image: {image}\n");
    place.write(
        "m.yaml",
        format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  containers:\n{container}"),
    );
    place.call(["inject", "m.yaml", "--registry", "--no-engine", "--image", "agent:1", "--platform", "linux/amd64"])
}

/// The image is known to run `/entry`; nothing secret was said.
fn runs(place: &Sandbox, image: &str) {
    let told = ask(place, image);
    assert!(told.status == 0 && told.stdout.contains("run, --, /entry]"), "{told}");
    assert!(!told.stderr.contains("geheim") && !told.stderr.contains(PAIR), "{told}");
}

/// It is not, for this reason; nothing secret was said.
fn refused(place: &Sandbox, image: &str, status: i32, says: &[&str]) {
    let told = ask(place, image);
    assert_eq!(told.status, status, "{told}");
    for text in says {
        assert!(told.stderr.contains(text), "'{text}' is not said: {told}");
    }
    assert!(told.stdout.is_empty() && !told.stderr.contains("geheim") && !told.stderr.contains(PAIR), "{told}");
}

/// A file of credentials in the home folder, with this entry for a registry.
fn log_in(place: &Sandbox, host: &str, entry: &Value) {
    place.write(".docker/config.json", json!({"auths": {host: entry}}).to_string());
}

fn push(registry: &Registry) {
    registry.push_image("team/app", "1", OCI_MANIFEST, "linux/amd64", &json!({"Entrypoint": ["/entry"]}));
}

#[test]
fn a_name_and_a_password_open_a_registry() {
    let Some(registry) = Registry::start("a_name_and_a_password_open_a_registry") else { return };
    push(&registry);
    let place = Sandbox::without_store();
    let passwords = place.write("htpasswd", HTPASSWD);
    let registry = registry.with_auth(&json!({"htpasswd": {"realm": "here", "path": passwords}}));
    let (host, image) = (registry.host(), format!("{}/team/app:1", registry.host()));
    refused(&place, &image, 190, &["refuses team/app", &format!("docker login {host}"), "line 6", "container main"]);
    log_in(&place, &host, &json!({ "auth": PAIR }));
    runs(&place, &image);
    log_in(&place, &format!("http://{host}/v2/"), &json!({"username": "reader", "password": "geheim"}));
    runs(&place, &image);
    log_in(&place, &host, &json!({"username": "reader", "password": "geheim2"}));
    refused(&place, &image, 190, &["config.json do not suffice"]);
    log_in(&place, &host, &json!({"auth": PAIR, "identitytoken": "geheim"}));
    refused(&place, &image, 190, &["identity token"]);
    log_in(&place, &host, &json!({ "auth": "geheim" }));
    refused(&place, &image, 190, &["config.json cannot be used", "is no base64"]);
    log_in(&place, "127.0.0.1:1", &json!({ "auth": PAIR }));
    refused(&place, &image, 190, &["no credentials for it were found"]);
    place.write(".docker/config.json", json!({"credHelpers": {host.as_str(): "pass"}}).to_string());
    refused(&place, &image, 190, &["docker-credential-pass", "helpers are not run", "REGISTRY_AUTH_FILE"]);
    // The advice holds.
    let auths = json!({"auths": {host: {"auth": PAIR}}});
    let file = place.write("auth.json", auths.to_string()).display().to_string();
    runs(&place.with("REGISTRY_AUTH_FILE", &file), &image);
}

#[test]
fn tokens_open_a_registry() {
    let test = "tokens_open_a_registry";
    let Some(registry) = Registry::start(test) else { return };
    push(&registry);
    let tokens = match Tokens::start(None) {
        Ok(tokens) => tokens,
        Err(reason) => return skip(test, &reason),
    };
    let registry = registry.with_auth(&tokens.auth());
    let place = Sandbox::without_store();
    runs(&place, &format!("{}/team/app:1", registry.host()));
    // One token for all of an image.
    assert_eq!(tokens.asked(), [(tokens.service().to_owned(), "repository:team/app:pull".to_owned())]);
    let closed = Tokens::start(Some(BASIC)).expect("what was to be had a moment ago");
    let registry = registry.with_auth(&closed.auth());
    let image = format!("{}/team/app:1", registry.host());
    refused(&place, &image, 190, &["refuses team/app", "docker login"]);
    log_in(&place, &registry.host(), &json!({ "auth": PAIR }));
    runs(&place, &image);
}

/// A registry of one image that answers as it should, but for what the test does with a request first.
fn stand_in(
    first: impl Fn(&str, &str) -> Option<(&'static str, Vec<String>, String)> + Send + Sync + 'static,
) -> Answers {
    Answers::start(move |head, host| {
        if let Some(answer) = first(head, host) {
            return answer;
        }
        let (config, manifest) = documents();
        match path(head) {
            "/v2/" => ("200 OK", Vec::new(), "{}".to_owned()),
            "/v2/app/manifests/1" => ("200 OK", Vec::new(), manifest),
            blob if blob == format!("/v2/app/blobs/{}", sha256(config.as_bytes())) => ("200 OK", Vec::new(), config),
            _ => ("404 Not Found", Vec::new(), String::new()),
        }
    })
}

fn documents() -> (String, String) {
    let config = json!({"os": "linux", "architecture": "amd64", "config": {"Entrypoint": ["/entry"]}}).to_string();
    let kind = "application/vnd.oci.image.config.v1+json";
    let manifest = json!({"schemaVersion": 2, "config": {"mediaType": kind, "digest": sha256(config.as_bytes())}});
    (config, manifest.to_string())
}

fn moved(to: String) -> Option<(&'static str, Vec<String>, String)> {
    Some(("307 Temporary Redirect", vec![format!("Location: {to}")], String::new()))
}

#[test]
fn blobs_elsewhere_are_followed_without_credentials() {
    let elsewhere = Answers::start(|_, _| ("200 OK", Vec::new(), documents().0));
    let target = elsewhere.host();
    let registry = stand_in(move |head, _| match (path(head), header(head, "authorization")) {
        (_, None) if path(head) != "/v2/" => {
            Some(("401 Unauthorized", vec!["WWW-Authenticate: Basic realm=\"x\"".to_owned()], String::new()))
        }
        (blob, _) if blob.contains("/blobs/") => moved(format!("http://{target}/bucket?signature=geheim")),
        _ => None,
    });
    let place = Sandbox::without_store();
    log_in(&place, &registry.host(), &json!({ "auth": PAIR }));
    runs(&place, &format!("{}/app:1", registry.host()));
    let heads = elsewhere.heads();
    assert_eq!(heads.len(), 1);
    assert_eq!(path(&heads[0]), "/bucket?signature=geheim");
    assert_eq!(header(&heads[0], "authorization"), None);
    assert!(registry.heads().iter().any(|head| header(head, "authorization") == Some(BASIC)));
}

#[test]
fn whom_a_registry_leads_to_gets_no_credentials_by_asking() {
    let realm = Answers::start(|_, _| ("200 OK", Vec::new(), json!({"token": "x"}).to_string()));
    let wants = format!("WWW-Authenticate: Bearer realm=\"http://{}/token\"", realm.host());
    let elsewhere = Answers::start(move |_, _| ("401 Unauthorized", vec![wants.clone()], String::new()));
    let target = elsewhere.host();
    let registry = stand_in(move |head, _| match path(head) {
        blob if blob.contains("/blobs/") => moved(format!("http://{target}/x")),
        _ => None,
    });
    let place = Sandbox::without_store();
    log_in(&place, &registry.host(), &json!({ "auth": PAIR }));
    refused(&place, &format!("{}/app:1", registry.host()), 190, &["refuses app"]);
    assert_eq!((elsewhere.heads().len(), realm.heads().len()), (1, 0));
}

#[test]
fn redirects_within_a_registry_keep_credentials_and_come_to_an_end() {
    let registry = stand_in(|head, _| match (path(head), header(head, "authorization")) {
        ("/v2/", _) => None,
        (_, None) => Some(("401 Unauthorized", vec!["WWW-Authenticate: Basic realm=x".to_owned()], String::new())),
        ("/v2/loop/manifests/1", _) => moved("/v2/loop/manifests/1".to_owned()),
        ("/v2/app/manifests/1", _) => moved("/moved".to_owned()),
        ("/moved", _) => Some(("200 OK", Vec::new(), documents().1)),
        _ => None,
    });
    let place = Sandbox::without_store();
    log_in(&place, &registry.host(), &json!({ "auth": PAIR }));
    runs(&place, &format!("{}/app:1", registry.host()));
    refused(&place, &format!("{}/loop:1", registry.host()), 190, &["leads on without end"]);
    let loops = registry.heads().iter().filter(|head| path(head) == "/v2/loop/manifests/1").count();
    assert!(loops < 10, "{loops}");
}

#[test]
fn nothing_leads_out_of_tls_nor_by_plain_http_to_other_machines() {
    let test = "nothing_leads_out_of_tls_nor_by_plain_http_to_other_machines";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let plain = format!("http://{}/blob?geheim", listener.local_addr().unwrap());
    let registry = stand_in(move |head, _| match path(head) {
        blob if blob.contains("/blobs/") => moved(plain.clone()),
        "/v2/far/manifests/1" => moved("http://images.example/geheim".to_owned()),
        "/v2/token/manifests/1" => {
            let challenge = "WWW-Authenticate: Bearer realm=\"http://images.example/geheim\"";
            Some(("401 Unauthorized", vec![challenge.to_owned()], String::new()))
        }
        _ => None,
    });
    let place = Sandbox::without_store();
    for name in ["far", "token"] {
        let image = format!("{}/{name}:1", registry.host());
        refused(&place, &image, 190, &["leads to images.example by plain http"]);
    }
    let tls = match Tls::to(registry.port()) {
        Ok(tls) => tls,
        Err(reason) => return skip(test, &reason),
    };
    let trusting = place.with("SSL_CERT_FILE", &tls.authority().display().to_string());
    refused(&trusting, &format!("localhost:{}/app:1", tls.port()), 190, &["by plain http"]);
    assert!(listener.accept().is_err(), "it was followed");
}

#[test]
fn what_goes_away_by_itself_is_waited_for() {
    let left = AtomicUsize::new(2);
    let registry = stand_in(move |head, _| {
        let again = path(head) == "/v2/busy/manifests/1";
        let busy = path(head) == "/v2/app/manifests/1"
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let body = json!({"errors": [{"code": "TOOMANYREQUESTS", "message": "geheim"}]}).to_string();
        (again || busy).then(|| ("429 Too Many Requests", vec!["Retry-After: 0".to_owned()], body))
    });
    let place = Sandbox::without_store();
    runs(&place, &format!("{}/app:1", registry.host()));
    refused(&place, &format!("{}/busy:1", registry.host()), 195, &["answers 429 (TOOMANYREQUESTS)"]);
    let tries = registry.heads().iter().filter(|head| path(head) == "/v2/busy/manifests/1").count();
    assert_eq!(tries, 4);
}

#[test]
fn what_is_too_large_or_no_image_is_refused() {
    let registry = stand_in(|head, _| {
        let body = match path(head) {
            "/v2/large/manifests/1" => "x".repeat(5 << 20),
            "/v2/text/manifests/1" => "<html>".to_owned(),
            "/v2/old/manifests/1" => json!({"schemaVersion": 1, "fsLayers": []}).to_string(),
            "/v2/chart/manifests/1" => {
                let kind = "application/vnd.cncf.helm.config.v1+json";
                json!({"config": {"mediaType": kind, "digest": sha256(b"")}}).to_string()
            }
            "/v2/path/manifests/1" => {
                let kind = "application/vnd.oci.image.config.v1+json";
                json!({"config": {"mediaType": kind, "digest": "sha256:../../x"}}).to_string()
            }
            _ => return None,
        };
        Some(("200 OK", Vec::new(), body))
    });
    let place = Sandbox::without_store();
    for (name, says) in [
        ("large", "more than 4194304 bytes"),
        ("text", "is not understood"),
        ("old", "neither an index nor a manifest"),
        ("chart", "holds a application/vnd.cncf.helm.config.v1+json"),
        ("path", "which is no SHA-256"),
    ] {
        refused(&place, &format!("{}/{name}:1", registry.host()), 190, &[says]);
    }
}
