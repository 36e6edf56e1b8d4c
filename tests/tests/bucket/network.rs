//! The way to a bucket: TLS, whom it trusts, and proxies.

use kale_tests::{
    proxy::Proxy,
    relay::Relay,
    sandbox::Sandbox,
    server::{BUCKET, S3Server},
    skip::skip,
    tls::Tls,
    tree,
};

/// A server behind TLS, and a folder that knows the way there but not whom to trust.
fn behind_tls(test: &str) -> Option<(S3Server, Tls, Sandbox)> {
    let server = S3Server::start(test)?;
    let tls = Tls::to(server.port()).map_err(|why| skip(test, &why)).ok()?;
    let variables = server.variables().into_iter().filter(|(name, _)| name != "AWS_ALLOW_HTTP");
    let place = variables.fold(Sandbox::without_store(), |place, (name, value)| place.with(&name, &value));
    let place = place.with("KALE_STORE", &store()).with("AWS_ENDPOINT_URL", &endpoint(&tls, "localhost"));
    Some((server, tls, place))
}

fn store() -> String {
    format!("s3://{BUCKET}/store")
}

fn endpoint(tls: &Tls, host: &str) -> String {
    format!("https://{host}:{}", tls.port())
}

/// Bytes go there and come back the same.
fn works(place: &Sandbox) {
    place.ok(["init", &store()]);
    let noise = tree::noise(3, 9 << 20);
    place.write("noise", &noise);
    place.ok(["save", "noise", "noise"]);
    place.ok(["load", "noise", "back"]);
    assert!(std::fs::read(place.path("back")).expect("it was restored") == noise);
}

#[test]
fn an_authority_of_its_own_is_trusted_if_it_is_named() {
    let Some((_server, tls, place)) = behind_tls("an_authority_of_its_own_is_trusted_if_it_is_named") else { return };
    let untrusted = place.fails(195, ["init", &store()]);
    assert!(untrusted.contains("name the file of its authority with SSL_CERT_FILE"), "{untrusted}");
    let empty = place.write("empty.pem", "");
    let place = place.with("SSL_CERT_FILE", empty.to_str().expect("a plain path"));
    assert!(place.fails(195, ["init", &store()]).contains("it has no certificates"));
    let place = place.with("SSL_CERT_FILE", tls.authority().to_str().expect("a plain path"));
    works(&place);
    // The certificate is another name's.
    let place = place.with("AWS_ENDPOINT_URL", &endpoint(&tls, "127.0.0.1"));
    assert!(place.fails(195, ["ls"]).contains("its certificate does not hold for it"));
}

#[test]
fn https_goes_through_a_proxy_as_a_tunnel() {
    let Some((_server, tls, place)) = behind_tls("https_goes_through_a_proxy_as_a_tunnel") else { return };
    let proxy = Proxy::to(tls.port());
    let place = place
        .with("SSL_CERT_FILE", tls.authority().to_str().expect("a plain path"))
        .with("HTTPS_PROXY", &format!("http://user:word@127.0.0.1:{}", proxy.port()));
    works(&place);
    let heads = proxy.heads();
    let asked = format!("CONNECT localhost:{} HTTP/1.1\r\n", tls.port());
    // "user:word" in base64.
    let who = "Proxy-Authorization: Basic dXNlcjp3b3Jk\r\n";
    assert!(!heads.is_empty() && heads.iter().all(|head| head.starts_with(&asked) && head.contains(who)), "{heads:?}");
    let place = place.with("HTTPS_PROXY", &format!("http://127.0.0.1:{}", proxy.port()));
    let refused = place.fails(195, ["ls"]);
    assert!(refused.contains("407 Proxy Authentication Required"), "{refused}");
    let tunnels = proxy.heads().len();
    let place = place.with("NO_PROXY", "localhost");
    place.ok(["ls"]);
    assert_eq!(proxy.heads().len(), tunnels, "what is close is reached without the proxy");
}

#[test]
fn http_goes_through_a_proxy_that_knows_the_name() {
    let Some(server) = S3Server::start("http_goes_through_a_proxy_that_knows_the_name") else { return };
    let relay = Relay::to(server.port());
    let place =
        server.variables().iter().fold(Sandbox::without_store(), |place, (name, value)| place.with(name, value));
    let place = place
        .with("KALE_STORE", &store())
        .with("AWS_ENDPOINT_URL", "http://bucket.invalid:81")
        .with("http_proxy", &format!("http://127.0.0.1:{}", relay.port()));
    works(&place);
    let seen = relay.seen();
    assert!(!seen.is_empty() && seen.iter().all(|first| first.contains(" http://bucket.invalid:81/")), "{seen:?}");
}
