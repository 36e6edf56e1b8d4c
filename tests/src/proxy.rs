//! A proxy that connects where it is told to, and remembers what it was told.

use crate::relay::read_head;
use std::{
    io::{self, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

/// An HTTP proxy on loopback for tunnels. It ends with the process.
#[derive(Clone, Debug)]
pub struct Proxy {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Starts one that leads every tunnel to a port on loopback, whatever name is asked for.
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let proxy = Self { port: listener.local_addr().expect("an address").port(), heads: Arc::default() };
        let heads = Arc::clone(&proxy.heads);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let heads = Arc::clone(&heads);
                thread::spawn(move || drop(tunnel(stream, server, &heads)));
            }
        });
        proxy
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The requests for tunnels, with their headers.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn tunnel(mut client: TcpStream, server: u16, heads: &Mutex<Vec<String>>) -> io::Result<()> {
    let head = String::from_utf8_lossy(&read_head(&mut client)?).into_owned();
    heads.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
    if !head.starts_with("CONNECT ") {
        return client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n");
    }
    if !head.contains("Proxy-Authorization: Basic ") {
        return client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
    }
    let mut upstream = TcpStream::connect(("127.0.0.1", server))?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut from, mut to) = (client.try_clone()?, upstream.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    io::copy(&mut upstream, &mut client)?;
    client.shutdown(Shutdown::Write)
}
