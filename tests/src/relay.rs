//! A relay in front of a server, which sees every request and does something at one of them.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

/// When a request meets its fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the server has seen it.
    Before,
    /// After the server has answered, and before anybody has heard of it.
    After,
}

/// What is done besides cutting the connection.
pub type Act = Arc<dyn Fn() + Send + Sync>;

struct Plan {
    nth: usize,
    moment: Moment,
    act: Act,
}

#[derive(Default)]
struct State {
    plan: Option<Plan>,
    changing: usize,
    /// What was met: the method and path of the request.
    hit: Option<String>,
    /// How many requests are answered with a refusal.
    refusals: usize,
    /// First lines of all requests.
    seen: Vec<String>,
}

const REFUSAL: &str = "<Error><Code>SlowDown</Code></Error>";

/// A listener on loopback that hands on what it gets, one request a connection. It ends with the process.
#[derive(Clone)]
pub struct Relay {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Relay {
    /// Starts one in front of a port.
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let relay = Self { port: listener.local_addr().expect("an address").port(), state: Arc::default() };
        let handler = relay.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let handler = handler.clone();
                // A connection that breaks is the client's to notice.
                thread::spawn(move || drop(handler.hand_on(stream, server)));
            }
        });
        relay
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Plans the fate of the `nth` request from now on, from 1, that changes something; nothing else is touched.
    pub fn plan(&self, nth: usize, moment: Moment, act: Act) {
        let mut state = self.lock();
        *state = State { plan: Some(Plan { nth, moment, act }), ..State::default() };
    }

    /// Refuses so many requests from now on as an overloaded server does; nothing else is planned.
    pub fn refuse(&self, requests: usize) {
        *self.lock() = State { refusals: requests, ..State::default() };
    }

    /// The request that met it, if there was one.
    pub fn hit(&self) -> Option<String> {
        self.lock().hit.clone()
    }

    /// First lines of all requests since the last plan.
    pub fn seen(&self) -> Vec<String> {
        self.lock().seen.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hand_on(&self, mut client: TcpStream, server: u16) -> io::Result<()> {
        let head = read_head(&mut client)?;
        let text = String::from_utf8_lossy(&head).into_owned();
        let mut body = vec![0; length(&text)];
        client.read_exact(&mut body)?;
        let first = text.lines().next().unwrap_or_default().to_owned();
        let fate = self.fate_of(&first);
        if self.is_refused() {
            let length = REFUSAL.len();
            return write!(
                client,
                "HTTP/1.1 503 Slow Down\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{REFUSAL}"
            );
        }
        if let Some((Moment::Before, act)) = &fate {
            act();
            return Ok(());
        }
        let mut upstream = TcpStream::connect(("127.0.0.1", server))?;
        // The end of the connection is the end of the answer.
        upstream.write_all(&head[..head.len() - 2])?;
        upstream.write_all(b"Connection: close\r\n\r\n")?;
        upstream.write_all(&body)?;
        let mut answer = Vec::new();
        upstream.read_to_end(&mut answer)?;
        if let Some((Moment::After, act)) = &fate {
            act();
            return Ok(());
        }
        client.write_all(&answer)
    }

    fn is_refused(&self) -> bool {
        let mut state = self.lock();
        let refused = state.refusals > 0;
        state.refusals = state.refusals.saturating_sub(1);
        refused
    }

    fn fate_of(&self, first: &str) -> Option<(Moment, Act)> {
        let mut state = self.lock();
        state.seen.push(first.to_owned());
        if first.starts_with("GET ") || first.starts_with("HEAD ") {
            return None;
        }
        state.changing += 1;
        let plan = state.plan.as_ref().filter(|plan| plan.nth == state.changing)?;
        let fate = (plan.moment, Arc::clone(&plan.act));
        state.hit = Some(first.trim_end_matches(" HTTP/1.1").to_owned());
        Some(fate)
    }
}

/// Reads up to the empty line behind the headers, and no further.
pub(crate) fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(head)
}

fn length(head: &str) -> usize {
    let field = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = field.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next().map_or(0, |(_, value)| value.trim().parse().expect("a length"))
}
