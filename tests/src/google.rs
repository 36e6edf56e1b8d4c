//! A stand-in for Google Cloud Storage on loopback, where its program is to be had.

use crate::{
    running::{Killed, PATIENCE},
    skip::skip,
};
use std::{
    env,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The bucket that is there.
pub const BUCKET: &str = "kale";

/// A running stand-in with an empty bucket; ended when dropped.
#[derive(Debug)]
pub struct Google {
    process: Killed,
    port: u16,
}

impl Google {
    /// Starts one; `None`, said aloud, where the program or what it needs is not to be had.
    pub fn start(test: &str) -> Option<Self> {
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/venv/bin/python");
        let ready = Command::new(&python).args(["-c", "import aiohttp"]).stderr(Stdio::null()).status();
        let Some(program) = program().filter(|_| ready.is_ok_and(|status| status.success())) else {
            skip(test, "no stand-in for Google here: KALE_TEST_GCS names its program, `make test` installs aiohttp");
            return None;
        };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let process = Command::new(python)
            .arg(program)
            .args([&port.to_string(), BUCKET])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the stand-in starts");
        let mut google = Self { process: Killed(process), port };
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = google.process.0.try_wait().expect("it can be waited for");
            assert!(ended.is_none() && begin.elapsed() < PATIENCE, "the stand-in does not become ready");
            thread::sleep(Duration::from_millis(20));
        }
        Some(google)
    }

    /// Variables that lead the agent to it.
    pub fn variables(&self) -> Vec<(String, String)> {
        let key = serde_json::json!({
            "gcs_base_url": format!("http://127.0.0.1:{}", self.port), "disable_oauth": true,
            "client_email": "", "private_key": "", "private_key_id": "",
        });
        let all = [
            ("GOOGLE_SERVICE_ACCOUNT_KEY", key.to_string()),
            ("GOOGLE_ALLOW_HTTP", "true".to_owned()),
            // Nobody listens there: a client that looks for credentials by itself fails at once.
            ("GCE_METADATA_HOST", "127.0.0.1:1".to_owned()),
        ];
        all.map(|(name, value)| (name.to_owned(), value)).into()
    }
}

/// The stand-in's program: `KALE_TEST_GCS`, or what lies beside the clone.
fn program() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/tools/gcsfake.py");
    let named = env::var_os("KALE_TEST_GCS").map(PathBuf::from);
    named.into_iter().chain([beside]).find(|path| path.is_file())
}
