//! TLS in front of a server, with a certificate of an authority that nobody knows.

use crate::running::Running;
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

const PROGRAM: &str = include_str!("tls.py");

/// An authority, and a process that speaks TLS on behalf of a server; both end when dropped.
#[derive(Debug)]
pub struct Tls {
    port: u16,
    folder: TempDir,
    _process: Running,
}

impl Tls {
    /// Starts it for a port. `Err` with the reason where no certificates can be made.
    pub fn to(server: u16) -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("kale-tls-").tempdir().expect("a temporary folder");
        make_certificates(folder.path())?;
        let mut python = Command::new("python3");
        python.args(["-c", PROGRAM, "server.pem", "server.key", &server.to_string()]).current_dir(folder.path());
        let process = Running::start(&mut python);
        let port = process.line().parse().expect("it says its port");
        Ok(Self { port, folder, _process: process })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority's certificate.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }
}

/// Makes an authority, and a certificate of its for `localhost`.
fn make_certificates(folder: &Path) -> Result<(), String> {
    std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost\n").expect("a file");
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let authority =
        ["-x509", "-days", "2", "-subj", "/CN=authority", "-keyout", "authority.key", "-out", "authority.pem"];
    let request = ["-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr"];
    let signed = ["x509", "-req", "-in", "server.csr", "-CA", "authority.pem", "-CAkey", "authority.key"];
    let signed_as = ["-CAcreateserial", "-days", "2", "-extfile", "names", "-out", "server.pem"];
    for words in [
        [&["req"], &key[..], &authority].concat(),
        [&["req"], &key[..], &request].concat(),
        [&signed[..], &signed_as].concat(),
    ] {
        let ended = Command::new("openssl").args(&words).current_dir(folder).output();
        let ended = ended.map_err(|error| format!("no openssl here: {error}"))?;
        assert!(ended.status.success(), "openssl {words:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }
    Ok(())
}
