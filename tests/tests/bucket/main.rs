//! Stores in buckets, on a real S3 server.

mod faults;
mod network;
mod steps;

use kale_agent::store::{
    Created, Transport,
    bucket::{Bucket, Place, Variables},
    contract::{contract, contract_with},
};
use kale_protocol::{id::PackId, layout};
use kale_tests::{
    google::{self, Google},
    sandbox::{Sandbox, Told},
    server::{BUCKET, S3Server},
};
use std::{
    cell::Cell,
    ffi::OsStr,
    io::Write,
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

fn bucket(server: &S3Server, prefix: &str) -> Bucket {
    let place: Place = format!("s3://{BUCKET}/{prefix}").parse().expect("a constant place");
    Bucket::open(place, &server.variables()).expect("a bucket")
}

/// A call of the agent with its store in a bucket.
fn call<A: AsRef<OsStr>>(
    place: &Sandbox,
    variables: &[(String, String)],
    store: &str,
    arguments: impl IntoIterator<Item = A>,
) -> Told {
    let mut agent = place.agent();
    agent.envs(variables.iter().cloned()).env("KALE_STORE", store).args(arguments);
    Told::of(&agent.output().expect("the agent starts"))
}

/// Rounds of each race: the server has its racers wait for whole seconds.
const ROUNDS: u8 = 2;

#[test]
fn the_contract() {
    let Some(server) = S3Server::start("the_contract") else { return };
    let made = Cell::new(0);
    contract_with(ROUNDS, || {
        made.set(made.get() + 1);
        Arc::new(bucket(&server, &format!("contract/{}", made.get())))
    });
}

#[test]
fn the_contract_on_google() {
    let Some(server) = Google::start("the_contract_on_google") else { return };
    let made = Cell::new(0);
    contract(|| {
        made.set(made.get() + 1);
        let place: Place =
            format!("gs://{}/contract/{}", google::BUCKET, made.get()).parse().expect("a constant place");
        Arc::new(Bucket::open(place, &server.variables()).expect("a bucket"))
    });
}

/// Not that exactly one is told so: servers do not keep the condition on a completion as they keep it on a creation, and
/// it is not relied on, since no two writers draw the same name for a pack.
#[test]
fn of_many_who_publish_long_objects_one_is_there_whole_and_was_told_so() {
    let Some(server) = S3Server::start("of_many_who_publish_long_objects_one_is_there_whole_and_was_told_so") else {
        return;
    };
    let medium = bucket(&server, "long");
    let key = layout::pack(&PackId([7; 16]));
    let told: Vec<Created> = thread::scope(|scope| {
        let racers: Vec<_> = (1..=4)
            .map(|racer: u8| {
                let (medium, key) = (&medium, &key);
                scope.spawn(move || {
                    let mut writer = medium.writer(key).expect("a writer");
                    (0..20).for_each(|_| writer.write(&[racer; 1 << 20]).expect("written"));
                    writer.publish().expect("published or told")
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().expect("no panic")).collect()
    });
    let object = medium.read(&key, u64::MAX).expect("there");
    assert!(object.len() == 20 << 20 && object.iter().all(|byte| *byte == object[0]));
    assert_eq!(told[usize::from(object[0]) - 1], Created::New, "{told:?}");
    // Read in pieces, on many threads and through what is read ahead.
    thread::scope(|scope| {
        for worker in 0..4 {
            let (medium, key, object) = (&medium, &key, &object);
            scope.spawn(move || {
                for at in (0..80).filter(|at| at % 4 == worker) {
                    let mut piece = vec![0; 256 << 10];
                    medium.read_at(key, at * (256 << 10), &mut piece).expect("read");
                    assert_eq!(piece[0], object[0]);
                }
            });
        }
    });
}

#[test]
fn without_credentials_nobody_is_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener that does not wait");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let place = Sandbox::without_store();
    let variables: Vec<(String, String)> = [
        ("AWS_METADATA_ENDPOINT", endpoint.as_str()),
        ("AWS_ENDPOINT_URL", &endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("GCE_METADATA_HOST", &endpoint["http://".len()..]),
        ("GCE_METADATA_IP", &endpoint["http://".len()..]),
        ("IDENTITY_ENDPOINT", &endpoint),
        ("AZURE_MSI_ENDPOINT", &endpoint),
        ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
        ("AZURE_ENDPOINT", &endpoint),
        ("http_proxy", &endpoint),
        ("https_proxy", &endpoint),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    for store in ["s3://bucket/store", "gs://bucket/store", "az://bucket/store"] {
        for arguments in [["ls", "--quiet"], ["init", store]] {
            let told = call(&place, &variables, store, arguments);
            assert_eq!(told.status, 191, "{told}");
            assert!(told.stderr.contains(&format!("no credentials for {store}: set ")), "{told}");
        }
    }
    assert!(listener.accept().is_err(), "somebody was asked for credentials");
}

#[test]
fn errors_say_what_to_do() {
    let Some(server) = S3Server::start("errors_say_what_to_do") else { return };
    let place = Sandbox::without_store();
    let store = format!("s3://{BUCKET}/store");
    let store = store.as_str();
    let (right, reader) = (server.variables(), server.variables_of_reader());
    let with = |name: &str, value: &str| {
        let mut variables = right.clone();
        variables.retain(|(there, _)| there != name);
        variables.push((name.to_owned(), value.to_owned()));
        variables
    };
    let nobody = format!("http://127.0.0.1:{}", unused_port());
    let cases: [(&str, Variables, &str, i32, &str); 8] = [
        ("ls", right.clone(), store, 191, "is not a kale store"),
        ("init", server.variables_as("kaleaccess", "wrong"), store, 195, "check AWS_SECRET_ACCESS_KEY"),
        ("init", server.variables_as("nobody", "wrong"), store, 195, "check AWS_ACCESS_KEY_ID"),
        ("init", reader, store, 195, "may not do that"),
        ("ls", right.clone(), "s3://none-such/store", 191, "no bucket 'none-such'"),
        ("ls", with("AWS_ENDPOINT_URL", &nobody), store, 195, "cannot be reached"),
        ("ls", with("AWS_ENDPOINT_URL", "http://none-such.invalid"), store, 195, "cannot be resolved"),
        ("ls", with("AWS_ALLOW_HTTP", "false"), store, 195, "AWS_ALLOW_HTTP=true"),
    ];
    for (verb, variables, store, status, text) in cases {
        let begin = Instant::now();
        let arguments = if verb == "init" { vec![verb, store] } else { vec![verb] };
        let told = call(&place, &variables, store, arguments);
        assert_eq!(told.status, status, "{text}: {told}");
        assert!(told.stderr.contains(text), "{text}: {told}");
        assert!(!told.stderr.contains("kalesecret"), "{told}");
        assert!(begin.elapsed() < Duration::from_secs(30), "{text}: {:?}", begin.elapsed());
    }
}

fn unused_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

#[test]
fn a_server_that_overwrites_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(thread::spawn(|| forgetful(stream)))));
    let place = Sandbox::without_store();
    let variables: Vec<(String, String)> = [
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
        ("AWS_ENDPOINT_URL", &format!("http://localhost:{port}")),
        ("AWS_ALLOW_HTTP", "true"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let told = call(&place, &variables, "s3://bucket/store", ["init", "s3://bucket/store"]);
    assert_eq!(told.status, 191, "{told}");
    assert!(told.stderr.contains("ignores If-None-Match"), "{told}");
}

/// Answers one connection's requests as a server that knows no conditions: writes succeed, and only the probe is there.
fn forgetful(mut stream: TcpStream) {
    use std::io::{BufRead, BufReader, Read};
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    loop {
        let (mut first, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if first.is_empty() {
                first = line;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        let probe = first.contains("kale-probe");
        let (status, content) = match first.split(' ').next() {
            Some("GET") if probe => ("200 OK", "second"),
            Some("PUT") => ("200 OK", ""),
            Some("POST") => ("200 OK", "<DeleteResult></DeleteResult>"),
            Some("DELETE") => ("204 No Content", ""),
            _ => ("404 Not Found", ""),
        };
        let length =
            if status.starts_with("204") { String::new() } else { format!("Content-Length: {}\r\n", content.len()) };
        let head = "ETag: \"x\"\r\nLast-Modified: Tue, 24 Nov 2026 10:00:00 GMT\r\n";
        write!(stream, "HTTP/1.1 {status}\r\n{head}{length}\r\n{content}").expect("an answer");
    }
}
