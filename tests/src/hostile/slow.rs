//! Clients that are slow, silent, many, or gone. Time limits are short here; what they are by default says
//! `config/default.toml`.

use super::raw::{PATIENCE, Talk, connect, listen};
use super::stage::{Call, Stage};
use contract::ROUTES;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

const QUICK: [(&str, &str); 2] =
    [("PILOTHOUSE_LIMITS_HEADER_TIMEOUT_S", "1"), ("PILOTHOUSE_LIMITS_REQUEST_TIMEOUT_S", "2")];
/// Both limits, what it takes to notice, and what two busy cores add.
const SOON: Duration = Duration::from_secs(8);

fn stage() -> Stage {
    Stage::set(&QUICK)
}

fn project_call(stage: &Stage) -> Call {
    let route = ROUTES.iter().find(|route| route.path == "/api/v1/projects" && route.is_mutation()).unwrap();
    stage.call(route).holding("")
}

fn https(stage: &Stage) -> SocketAddr {
    stage.dev.file.get("https_url").strip_prefix("https://").unwrap().parse().unwrap()
}

/// What, where, how it starts, what follows again and again, and with which statuses it may end; none: without an answer.
type Case<'a> = (&'a str, SocketAddr, &'a [u8], &'a [u8], &'a [u16]);

/// Sends `start`, then `drip` again and again until the server ends it.
fn dripped(address: SocketAddr, start: &[u8], drip: &[u8]) -> Talk {
    let mut stream = connect(address);
    stream.write_all(start).unwrap();
    // A closed connection is what is waited for.
    listen(&mut stream, false, |_| false, |stream| drop(stream.write_all(drip)))
}

#[test]
fn slow_clients_are_told_and_dropped() {
    let stage = stage();
    let (http, https, call) = (stage.http, https(&stage), project_call(&stage));
    let chunked = call.with("Transfer-Encoding: chunked\r\n");
    let declared = call.framed("Content-Length: 1000\r\n", b"{");
    let huge = call.framed("Content-Length: 8388608\r\n", b"");
    let head = "GET /health HTTP/1.1\r\nHost: x\r\nX: ";
    let flood = format!("{:x}\r\n{}\r\n", 16384, " ".repeat(16384));
    let open = String::from_utf8(chunked.clone()).unwrap() + "ffff";
    let cases: [Case<'_>; 13] = [
        ("a head, letter by letter", http, head.as_bytes(), b"x", &[408]),
        ("a head that stops", http, head.as_bytes(), b"", &[408]),
        ("headers, one by one", http, b"GET /health HTTP/1.1\r\n", b"X: y\r\n", &[408]),
        ("a letter", http, b"G", b"", &[408]),
        ("empty lines", http, b"\r\n", b"\r\n", &[408, 400]),
        ("silence", http, b"", b"", &[]),
        ("a body that does not come", http, &declared, b"", &[408]),
        ("a body, letter by letter", http, &declared, b" ", &[408]),
        ("8 MiB that do not come", http, &huge, b"", &[413]),
        ("chunks, letter by letter", http, &chunked, b"1\r\n \r\n", &[408]),
        ("chunks without end", http, &chunked, flood.as_bytes(), &[408, 413]),
        ("a chunk's size that does not end", http, open.as_bytes(), b"", &[408]),
        ("silence instead of a handshake", https, b"", b"", &[]),
    ];
    stage.abuse(|| {
        std::thread::scope(|scope| {
            for (what, address, start, drip, statuses) in cases {
                scope.spawn(move || {
                    let talk = dripped(address, start, drip);
                    assert!(talk.took < SOON, "{what}: {:?}", talk.took);
                    let told = talk.answers.first().map(|answer| answer.status);
                    assert!(told.map_or(statuses.is_empty(), |status| statuses.contains(&status)), "{what}: {talk:?}");
                    talk.answers.iter().for_each(|answer| answer.check(what));
                });
            }
        });
    });
}

#[test]
fn garbage_instead_of_tls_ends_the_connection() {
    let stage = stage();
    let https = https(&stage);
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let cases: [(&str, &[u8]); 6] = [
        ("plain HTTP", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("half a hello", hello),
        ("zeros", &[0; 4096]),
        ("a record too long", b"\x16\x03\x01\xff\xff\x01\x00\xff\xff"),
        ("an alert", b"\x15\x03\x01\x00\x02\x02\x28"),
        ("SSL 2", b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10"),
    ];
    stage.abuse(|| {
        for (what, bytes) in cases {
            let talk = dripped(https, bytes, b"");
            assert!(talk.took < SOON && talk.answers.is_empty(), "{what}: {talk:?}");
        }
    });
    let metrics = stage.dev.curl(&[], "/metrics").text;
    let counted = metrics.lines().find(|line| line.contains("connections_dropped_total{reason=\"tls\"}"));
    let counted: u32 = counted.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0);
    assert!(counted >= 6, "{metrics}");
}

/// Five hundred who say nothing and a hundred who never read cost a neighbour nothing, and are gone in the end.
#[test]
fn many_idle_connections_harm_nobody() {
    let stage = stage();
    let greedy = "GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20);
    stage.abuse(|| {
        let silent: Vec<TcpStream> =
            (0..500).map(|i| connect(if i % 5 == 0 { https(&stage) } else { stage.http })).collect();
        let mut deaf: Vec<TcpStream> = (0..100).map(|_| connect(stage.http)).collect();
        for stream in &mut deaf {
            stream.write_all(greedy.as_bytes()).unwrap();
        }
        for mut stream in silent {
            assert!(listen(&mut stream, false, |_| false, |_| {}).closed);
        }
        drop(deaf);
    });
}

/// A client that closes its sending half, or all of it, in the middle.
#[test]
fn clients_that_leave_take_nobody_along() {
    let stage = stage();
    let routes: Vec<Call> = ROUTES.iter().map(|route| stage.call(route)).collect();
    stage.abuse(|| {
        for call in &routes {
            let bytes = call.bytes();
            for upto in [1, bytes.len() / 2, bytes.len() - 1, bytes.len()] {
                let mut stream = connect(stage.http);
                stream.write_all(&bytes[..upto]).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                let talk = listen(&mut stream, false, |_| false, |_| {});
                assert!(talk.took < PATIENCE);
                talk.answers.iter().for_each(|answer| answer.check(&call.path));
                let mut stream = connect(stage.http);
                stream.write_all(&bytes[..upto]).unwrap();
                drop(stream);
            }
        }
    });
}
