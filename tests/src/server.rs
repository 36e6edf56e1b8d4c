//! An S3 server on loopback: SeaweedFS on free ports, ended by its process.

use crate::{
    running::{Killed, PATIENCE},
    skip::skip,
};
use std::{
    env,
    fs::{self, File},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The bucket that is there.
pub const BUCKET: &str = "kale";
const KEY: &str = "kaleaccess";
const SECRET: &str = "kalesecret";
const PORTS: [&str; 10] = [
    "s3.port",
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "admin.port",
    "admin.port.grpc",
];

/// A running server with an empty bucket; ended when dropped.
#[derive(Debug)]
pub struct S3Server {
    process: Killed,
    port: u16,
    folder: TempDir,
}

impl S3Server {
    /// Starts one; `None`, said aloud, where the program is not to be had.
    pub fn start(test: &str) -> Option<Self> {
        let Some(program) = program() else {
            skip(test, "no S3 server here: `make test` installs SeaweedFS below target/venv");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("kale-s3-").tempdir().expect("a temporary folder");
        let settings = folder.path().join("s3.json");
        let identity = serde_json::json!({
            "name": "kale",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        });
        // May list and read, no more.
        let reader = serde_json::json!({
            "name": "reader",
            "credentials": [{"accessKey": "readeraccess", "secretKey": "readersecret"}],
            "actions": ["Read", "List"],
        });
        let all = serde_json::json!({ "identities": [identity, reader] });
        fs::write(&settings, all.to_string()).expect("a file of settings");
        let (process, port) = run(&program, folder.path(), &settings);
        let mut server = Self { process: Killed(process), port, folder };
        while !server.wait() {
            // Whoever looked for a free port at the same time found the same one.
            let (process, port) = run(&program, server.folder.path(), &settings);
            (server.process, server.port) = (Killed(process), port);
        }
        Some(server)
    }

    /// Variables that lead the agent to it, with the right keys.
    pub fn variables(&self) -> Vec<(String, String)> {
        self.variables_as(KEY, SECRET)
    }

    /// The same with the keys of one who may only read.
    pub fn variables_of_reader(&self) -> Vec<(String, String)> {
        self.variables_as("readeraccess", "readersecret")
    }

    /// The same with some keys.
    pub fn variables_as(&self, key: &str, secret: &str) -> Vec<(String, String)> {
        let all = [
            ("AWS_ACCESS_KEY_ID", key),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL", &format!("http://127.0.0.1:{}", self.port)),
            ("AWS_ALLOW_HTTP", "true"),
            // Nobody listens there: a client that looks for credentials by itself fails at once.
            ("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1"),
        ];
        all.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns when it answers, the bucket included; false if it ended since one of its ports was somebody else's by then.
    fn wait(&mut self) -> bool {
        let begin = Instant::now();
        while !self.answers() {
            let ended = self.process.0.try_wait().expect("it can be waited for");
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            if ended.is_some() && log.contains("Port allocation failed") {
                return false;
            }
            assert!(ended.is_none() && begin.elapsed() < PATIENCE, "the S3 server does not become ready: {log}");
            thread::sleep(Duration::from_millis(50));
        }
        true
    }

    /// Whether it refuses us by name: then it knows its keys, and its parts are up.
    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let request = format!("GET /{BUCKET} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        stream.write_all(request.as_bytes()).is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && answer.contains("AccessDenied")
            && fs::read_to_string(self.folder.path().join("log"))
                .is_ok_and(|log| log.contains("All enabled components"))
    }
}

/// The server's program: `KALE_TEST_WEED`, what `make test` installed, or what is on the path.
fn program() -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/venv/bin/weed");
    let named = env::var_os("KALE_TEST_WEED").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|folder| folder.join("weed"));
    named.into_iter().chain([installed]).chain(on_path).find(|path| path.is_file())
}

fn run(program: &Path, folder: &Path, settings: &Path) -> (Child, u16) {
    let listeners = PORTS.map(|_| TcpListener::bind(("127.0.0.1", 0)).expect("a free port"));
    let ports = listeners.map(|listener| listener.local_addr().expect("an address").port());
    let log = File::create(folder.join("log")).expect("a log");
    let mut command = Command::new(program);
    command
        .arg("mini")
        .arg(format!("-dir={}", folder.join("data").display()))
        .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-admin.ui=false", "-webdav=false"])
        .args(["-s3.port.iceberg=0", "-s3.port.lance=0"])
        .arg(format!("-s3.config={}", settings.display()))
        .arg(format!("-bucket={BUCKET}"))
        .args(PORTS.iter().zip(ports).map(|(name, port)| format!("-{name}={port}")))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log"))
        .stderr(log);
    fs::create_dir_all(folder.join("data")).expect("a folder for data");
    (command.spawn().expect("the S3 server starts"), ports[0])
}
