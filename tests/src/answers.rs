//! HTTP as tests need it: one request with its answer, and a server that answers as it is told to.

use crate::{relay::read_head, running::PATIENCE};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The first line and all headers.
    pub head: String,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

/// A header's value in the head of a request or an answer.
pub fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.find(|(there, _)| there.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Asks a server on loopback; whole headers are added.
pub fn ask(port: u16, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server is there");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let more: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nContent-Length: {length}\r\n{more}\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).expect("the server takes it");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let text = String::from_utf8_lossy(&answer);
    let head = text.split("\r\n\r\n").next().unwrap_or_default().to_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head }
}

/// A server on loopback that answers GETs as a function says, and remembers them. It ends with the process.
#[derive(Clone, Debug)]
pub struct Answers {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Answers {
    /// Starts one. The function gets a request's head and the server's own host and port; it gives the status with its
    /// word, more headers, each whole, and the body.
    pub fn start(answer: impl Fn(&str, &str) -> (&'static str, Vec<String>, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let answers = Self { port: listener.local_addr().expect("an address").port(), heads: Arc::default() };
        let (heads, host) = (Arc::clone(&answers.heads), answers.host());
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let Ok(head) = read_head(&mut stream) else { continue };
                let head = String::from_utf8_lossy(&head).into_owned();
                heads.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
                let (status, headers, body) = answer(&head, &host);
                let more: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n{body}");
                // Who has gone away is told nothing.
                let _ = stream.write_all(head.as_bytes());
            }
        });
        answers
    }

    /// Its host and port.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The heads of all requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The path and query of a request.
pub fn path(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}
