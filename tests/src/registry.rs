//! A registry of images on loopback: Debian's `docker-registry` on a free port, ended by its process.

use crate::{
    answers::ask,
    running::{Killed, PATIENCE},
    skip::skip,
};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    net::TcpListener,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Kinds of content.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Of several platforms.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Docker's own.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's own, of several platforms.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// A running registry; ended when dropped.
#[derive(Debug)]
pub struct Registry {
    process: Killed,
    port: u16,
    folder: TempDir,
}

/// An image that was pushed.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// The manifest's digest.
    pub manifest: String,
    /// The manifest's length.
    pub bytes: usize,
    /// The configuration's digest.
    pub config: String,
}

impl Registry {
    /// Starts an empty one that asks nobody who they are; `None`, said aloud, where the program is not to be had.
    pub fn start(test: &str) -> Option<Self> {
        let there = Command::new("docker-registry").arg("--version").output();
        if !there.is_ok_and(|told| told.status.success()) {
            skip(test, "no registry here: Debian's docker-registry has one");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("kale-registry-").tempdir().expect("a temporary folder");
        let (process, port) = run(&folder, &Value::Null);
        Some(ready(Self { process: Killed(process), port, folder }))
    }

    /// The same registry with the same images, and this `auth` of its settings: it has another port then.
    #[must_use]
    pub fn with_auth(self, auth: &Value) -> Self {
        let Self { process, folder, .. } = self;
        drop(process);
        let (process, port) = run(&folder, auth);
        ready(Self { process: Killed(process), port, folder })
    }

    /// Its host and port.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Pushes content by its digest.
    pub fn push_blob(&self, name: &str, content: &[u8]) -> String {
        let digest = sha256(content);
        let begun = ask(self.port, "POST", &format!("/v2/{name}/blobs/uploads/"), &[], b"");
        assert_eq!(begun.status, 202, "{begun:?}");
        let place = begun.header("location").expect("a place to upload to");
        let path = &place[place.find("/v2/").expect("a path of the registry")..];
        let kind = ["Content-Type: application/octet-stream"];
        let done = ask(self.port, "PUT", &format!("{path}&digest={digest}"), &kind, content);
        assert_eq!(done.status, 201, "{done:?}");
        digest
    }

    /// Pushes a manifest or an index, under a tag or its digest.
    pub fn push_manifest(&self, name: &str, reference: &str, kind: &str, content: &Value) -> String {
        let bytes = content.to_string().into_bytes();
        let kind = format!("Content-Type: {kind}");
        let digest = sha256(&bytes);
        let reference = if reference.is_empty() { &digest } else { reference };
        let done = ask(self.port, "PUT", &format!("/v2/{name}/manifests/{reference}"), &[&kind], &bytes);
        assert_eq!(done.status, 201, "{done:?}");
        digest
    }

    /// Pushes an image that runs these, under a tag, or under none; as OCI or Docker write it.
    pub fn push_image(&self, name: &str, tag: &str, kind: &str, platform: &str, runs: &Value) -> Pushed {
        let (os, architecture) = platform.split_once('/').expect("a platform");
        let config = json!({"os": os, "architecture": architecture, "config": runs, "rootfs": {"type": "layers", "diff_ids": []}});
        let config_bytes = config.to_string().into_bytes();
        let layer = b"no layer that anybody unpacks";
        let config = self.push_blob(name, &config_bytes);
        let of = |media: &str, digest: &str, size: usize| json!({"mediaType": media, "digest": digest, "size": size});
        let media = if kind == OCI_MANIFEST { OCI_CONFIG } else { DOCKER_CONFIG };
        let layer_media = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": kind,
            "config": of(media, &config, config_bytes.len()),
            "layers": [of(layer_media, &self.push_blob(name, layer), layer.len())],
        });
        let bytes = manifest.to_string().len();
        Pushed { manifest: self.push_manifest(name, tag, kind, &manifest), bytes, config }
    }

    /// Pushes an index of images, each for a platform.
    pub fn push_index(&self, name: &str, tag: &str, kind: &str, images: &[(&str, &Pushed)]) -> String {
        let entry = |(platform, image): &(&str, &Pushed)| {
            let parts: Vec<&str> = platform.split('/').collect();
            let mut platform = json!({"os": parts[0], "architecture": parts[1]});
            if let Some(variant) = parts.get(2) {
                platform["variant"] = json!(variant);
            }
            let media = if kind == OCI_INDEX { OCI_MANIFEST } else { DOCKER_MANIFEST };
            json!({"mediaType": media, "digest": image.manifest, "size": image.bytes, "platform": platform})
        };
        let entries: Vec<Value> = images.iter().map(entry).collect();
        self.push_manifest(name, tag, kind, &json!({"schemaVersion": 2, "mediaType": kind, "manifests": entries}))
    }

    /// Changes stored content, as a bad disk would: the length stays.
    pub fn damage(&self, digest: &str, old: &str, new: &str) {
        let hex = digest.strip_prefix("sha256:").expect("a digest");
        let blobs = self.folder.path().join("data/docker/registry/v2/blobs/sha256");
        let path = blobs.join(&hex[..2]).join(hex).join("data");
        let content = fs::read_to_string(&path).expect("the stored content");
        assert!(content.contains(old) && old.len() == new.len(), "{content}");
        fs::write(&path, content.replacen(old, new, 1)).expect("it can be written");
    }
}

/// The digest of content.
pub fn sha256(content: &[u8]) -> String {
    let hex: String = digest(&SHA256, content).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn run(folder: &TempDir, auth: &Value) -> (Child, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let data = folder.path().join("data");
    let mut settings = json!({
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": data}},
        "http": {"addr": format!("127.0.0.1:{port}")},
    });
    if !auth.is_null() {
        settings["auth"] = auth.clone();
    }
    // YAML takes JSON.
    let path = folder.path().join("config.yml");
    fs::write(&path, settings.to_string()).expect("a file of settings");
    let log = File::create(folder.path().join("log")).expect("a log");
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(path).current_dir(folder.path()).stdin(Stdio::null());
    command.stdout(log.try_clone().expect("a log")).stderr(log);
    (command.spawn().expect("the registry starts"), port)
}

/// Returns it when it answers.
fn ready(mut registry: Registry) -> Registry {
    let begin = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", registry.port)).is_err() {
        let ended = registry.process.0.try_wait().expect("it can be waited for");
        let log = || fs::read_to_string(registry.folder.path().join("log")).unwrap_or_default();
        assert!(ended.is_none() && begin.elapsed() < PATIENCE, "the registry does not become ready: {}", log());
        thread::sleep(Duration::from_millis(10));
    }
    registry
}
