//! What images run, as their registry says: a real one on loopback, asked only where that was said.

use kale_tests::{
    registry::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Registry},
    sandbox::{Sandbox, Told},
    skip::skip,
    tls::Tls,
};
use serde_json::json;
use std::{io::ErrorKind, net::TcpListener, time::Instant};

const IMAGE: &str = "registry.example/kale-agent:1";

fn pod(images: &[String]) -> String {
    let container = |(index, image): (usize, &String)| format!("  - name: c{index}\n    image: {image}\n");
    let containers: String = images.iter().enumerate().map(container).collect();
    format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n{containers}")
}

/// Has the agent look these images up, and nothing else be known of them.
fn inject(place: &Sandbox, images: &[String], more: &[&str]) -> Told {
    place.write("m.yaml", pod(images));
    let options = ["inject", "m.yaml", "-o", "out.yaml", "--no-engine", "--image", IMAGE];
    place.call([&options[..], more].concat())
}

/// The image runs this, and its registry's digest is told.
fn runs(place: &Sandbox, image: &str, more: &[&str], command: &str, digest: &str) {
    let told = inject(place, &[image.to_owned()], &[&["--registry"], more].concat());
    assert_eq!(told.status, 0, "{image}: {told}");
    let out = place.read("out.yaml");
    assert!(out.contains(&format!("run, --, {command}]  # kale-agent: from the image")), "{image}: {out}");
    assert!(told.stderr.contains(&format!("note: {image} is ")), "{told}");
    assert!(told.stderr.contains(&format!("@{digest} for ")), "{told}");
}

/// It is not known, for these reasons; nothing was written.
fn fails(place: &Sandbox, image: &str, more: &[&str], status: i32, says: &[&str]) {
    let told = inject(place, &[image.to_owned()], &[&["--registry"], more].concat());
    assert_eq!(told.status, status, "{image}: {told}");
    for text in ["container c0", image, "--image-index", "--image-archive", "--registry"].iter().chain(says) {
        assert!(told.stderr.contains(text), "'{text}' is not said: {told}");
    }
    assert!(!place.path("out.yaml").exists(), "{told}");
}

#[test]
fn tags_and_digests_are_looked_up() {
    let Some(registry) = Registry::start("tags_and_digests_are_looked_up") else { return };
    let host = registry.host();
    // No proxy stands in front of this machine: it would be told in plain words what is asked.
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Sandbox::without_store().with("HTTP_PROXY", &format!("http://{}", proxy.local_addr().unwrap()));
    for kind in [OCI_MANIFEST, DOCKER_MANIFEST] {
        let entry = json!({"Entrypoint": ["/entry", "$HOME"], "Cmd": ["a"]});
        let image = registry.push_image("team/app", "1.2", kind, "linux/amd64", &entry);
        let digest = &image.manifest;
        let command = "/entry, $HOME";
        runs(&place, &format!("{host}/team/app:1.2"), &[], command, digest);
        assert!(place.read("out.yaml").contains("args: [a]  # kale-agent: from the image"));
        runs(&place, &format!("{host}/team/app@{digest}"), &[], command, digest);
        runs(&place, &format!("{host}/team/app:nothing@{digest}"), &[], command, digest);
    }
    registry.push_image("plain", "latest", OCI_MANIFEST, "linux/amd64", &json!({"Cmd": ["/only"]}));
    // Twice the same image, in two words for it, is asked for once.
    let images = [format!("{host}/plain"), format!("{host}/plain:latest"), format!("{host}/team/app:1.2")];
    let told = inject(&place, &images, &["--registry", "--json"]);
    let said: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(said["notes"].as_array().unwrap().len(), 2, "{told}");
    assert!(said["steps"].as_array().unwrap().iter().all(|step| step["injected"] == true), "{told}");
    proxy.set_nonblocking(true).unwrap();
    assert!(proxy.accept().is_err(), "the proxy was asked");
}

#[test]
fn an_index_is_searched_for_a_platform() {
    let Some(registry) = Registry::start("an_index_is_searched_for_a_platform") else { return };
    let place = Sandbox::without_store();
    for (image_kind, kind) in [(OCI_MANIFEST, OCI_INDEX), (DOCKER_MANIFEST, DOCKER_LIST)] {
        let push = |platform: &str, command: &str| {
            registry.push_image("many", "", image_kind, platform, &json!({"Entrypoint": [command]}))
        };
        let [attestation, amd, arm, other] = [
            push("unknown/unknown", "/attestation"),
            push("linux/amd64", "/amd"),
            push("linux/arm64", "/arm"),
            push("linux/s390x", "/other"),
        ];
        let image = format!("{}/many:1", registry.host());
        let all = [("unknown/unknown", &attestation), ("linux/arm64/v8", &arm), ("linux/amd64", &amd)];
        let index = registry.push_index("many", "1", kind, &all);
        let own = if cfg!(target_arch = "aarch64") { "/arm" } else { "/amd" };
        runs(&place, &image, &[], own, &index);
        runs(&place, &image, &["--platform", "linux/arm64"], "/arm", &index);
        runs(&place, &image, &["--platform", "linux/x86_64"], "/amd", &index);
        std::fs::remove_file(place.path("out.yaml")).unwrap();
        let says = ["linux/arm64/v8, linux/amd64, and not for linux/riscv64", "--platform"];
        fails(&place, &image, &["--platform", "linux/riscv64"], 190, &says);
        // What is in it alone fits neither.
        registry.push_index("many", "1", kind, &[("unknown/unknown", &attestation), ("linux/s390x", &other)]);
        fails(&place, &image, &["--platform", "linux/amd64"], 190, &["has many@sha256:", "for linux/s390x, and"]);
    }
    let told = inject(&place, &[], &["--registry", "--platform", "linux"]);
    assert!(told.status == 190 && told.stderr.contains("linux/amd64"), "{told}");
}

#[test]
fn what_is_not_what_its_name_says_is_refused() {
    let Some(registry) = Registry::start("what_is_not_what_its_name_says_is_refused") else { return };
    let place = Sandbox::without_store();
    let host = registry.host();
    let push = |name: &str| {
        // Repositories share what is the same.
        let command = json!({"Entrypoint": ["/entry"], "Cmd": [name]});
        registry.push_image(name, "1", OCI_MANIFEST, "linux/amd64", &command)
    };
    let image = push("config");
    registry.damage(&image.config, "/entry", "/other");
    fails(&place, &format!("{host}/config:1"), &[], 195, &["something else than", &image.config, "damaged"]);
    let image = push("manifest");
    registry.damage(&image.manifest, "\"size\":", "\"sizE\":");
    for reference in [":1", &format!("@{}", image.manifest)] {
        let name = format!("{host}/manifest{reference}");
        fails(&place, &name, &[], 195, &["something else than", &image.manifest]);
    }
    let image = push("index");
    let index = registry.push_index("index", "1", OCI_INDEX, &[("linux/amd64", &image)]);
    registry.damage(&index, "linux", "Linux");
    fails(&place, &format!("{host}/index:1"), &[], 195, &["something else than", &index]);
    let image = push("entry");
    registry.push_index("entry", "1", OCI_INDEX, &[("linux/amd64", &image)]);
    registry.damage(&image.manifest, "application/", "Application/");
    let amd = ["--platform", "linux/amd64"];
    fails(&place, &format!("{host}/entry:1"), &amd, 195, &["something else than", &image.manifest]);
}

#[test]
fn what_is_not_there_is_said() {
    let Some(registry) = Registry::start("what_is_not_there_is_said") else { return };
    let place = Sandbox::without_store();
    let host = registry.host();
    registry.push_image("app", "1", OCI_MANIFEST, "linux/amd64", &json!({}));
    let none = format!("{host}/app@sha256:{}", "0".repeat(64));
    for image in [&format!("{host}/app:2"), &format!("{host}/none/such"), &none] {
        fails(&place, image, &[], 190, &[&format!("the registry {host} has no "), "line 7"]);
    }
    for image in ["$(params.image)", "registry.example/../../x", "registry.example/a@sha512:00"] {
        fails(&place, image, &[], 190, &["it has no name that a registry could be asked for"]);
    }
    // Nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    fails(&place, &format!("127.0.0.1:{port}/app"), &[], 195, &["was not reached", "Connection refused"]);
    let told = inject(&place, &[format!("{host}/app:1")], &["--registry"]);
    assert!(told.status == 190 && told.stderr.contains("neither has its image"), "{told}");
}

#[test]
fn by_tls_the_registry_has_to_be_trusted() {
    let test = "by_tls_the_registry_has_to_be_trusted";
    let Some(registry) = Registry::start(test) else { return };
    let tls = match Tls::to(registry.port()) {
        Ok(tls) => tls,
        Err(reason) => return skip(test, &reason),
    };
    let image = registry.push_image("app", "1", OCI_MANIFEST, "linux/amd64", &json!({"Entrypoint": ["/entry"]}));
    let name = format!("localhost:{}/app:1", tls.port());
    fails(&Sandbox::without_store(), &name, &[], 195, &["certificate is not trusted", "SSL_CERT_FILE"]);
    let trusting = Sandbox::without_store().with("SSL_CERT_FILE", &tls.authority().display().to_string());
    runs(&trusting, &name, &[], "/entry", &image.manifest);
    let broken = Sandbox::without_store().with("SSL_CERT_FILE", "none.pem");
    fails(&broken, &name, &[], 190, &["none.pem"]);
}

#[test]
fn without_leave_nobody_is_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let place = Sandbox::without_store().with("HTTPS_PROXY", &proxy).with("HTTP_PROXY", &proxy);
    for image in [format!("{}/app:1", listener.local_addr().unwrap()), "registry.example/app:1".to_owned()] {
        let told = inject(&place, &[image], &[]);
        assert!(told.status == 190 && told.stderr.contains("--registry"), "{told}");
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "somebody was asked");
        // Nor where something else knows it.
        place.write("index.yaml", format!("{}/app:1: {{cmd: [a]}}\n", listener.local_addr().unwrap()));
    }
    let image = format!("{}/app:1", listener.local_addr().unwrap());
    let told = inject(&place, &[image], &["--registry", "--image-index", "index.yaml"]);
    assert_eq!(told.status, 0, "{told}");
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "somebody was asked");
}

#[test]
fn who_does_not_answer_is_an_error_within_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Sandbox::without_store();
    let begin = Instant::now();
    let image = format!("{}/app:1", listener.local_addr().unwrap());
    fails(&place, &image, &[], 195, &["did not answer within"]);
    let took = begin.elapsed().as_secs();
    assert!((1..25).contains(&took), "{took} seconds");
}
