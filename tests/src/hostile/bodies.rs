//! Bodies that no route takes, whole and declared.

use super::stage::{Call, Stage, one};
use contract::{Limiter, ROUTES};

const MIB: usize = 1 << 20;

fn deep(open: &str, close: &str, depth: usize) -> Vec<u8> {
    format!("{}{}", open.repeat(depth), close.repeat(depth)).into()
}

fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("a form", b"name=proxy-1&x=%00".to_vec()),
        ("cut off", br#"{"name": "#.to_vec()),
        ("two values", b"{} {}".to_vec()),
        ("a list", b"[]".to_vec()),
        ("null", b"null".to_vec()),
        ("a number", b"1e999".to_vec()),
        ("a text", br#""x""#.to_vec()),
        ("10,000 lists", deep("[", "]", 10_000)),
        ("100,000 lists in a field", [br#"{"name": "#, deep("[", "]", 100_000).as_slice(), b"}"].concat()),
        ("10,000 objects", deep(r#"{"name":"#, "}", 10_000)),
        ("100,000 lists, never closed", "[".repeat(100_000).into()),
        ("bad UTF-8", b"{\"name\": \"\xff\xfe\"}".to_vec()),
        ("bad UTF-8 in a name", b"{\"\xc0\xae\": 1}".to_vec()),
        ("half a surrogate", br#"{"name": "\ud800"}"#.to_vec()),
        ("a NUL", b"{\"name\": \"a\0b\"}".to_vec()),
        ("NULs", vec![0; 1000]),
        ("a byte order mark", b"\xef\xbb\xbf{}".to_vec()),
        ("UTF-16", "{}".encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("NaN", br#"{"name": NaN}"#.to_vec()),
        ("a number of 100,000 digits, cut off", [br#"{"name": "#.as_slice(), &vec![b'9'; 40_000]].concat()),
        ("XML", b"<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><x>&a;</x>".to_vec()),
        ("8 MiB of spaces", vec![b' '; 8 * MIB]),
        ("8 MiB of lists", vec![b'['; 8 * MIB]),
    ]
}

fn in_chunks(body: &[u8], size: usize) -> Vec<u8> {
    let mut chunks = Vec::with_capacity(body.len() + body.len() / size * 8 + 8);
    for piece in body.chunks(size) {
        chunks.extend(format!("{:x}\r\n", piece.len()).bytes());
        chunks.extend(piece);
        chunks.extend(b"\r\n");
    }
    chunks.extend(b"0\r\n\r\n");
    chunks
}

#[test]
fn every_route_with_a_body_refuses_bad_ones() {
    let stage = Stage::set(&[]);
    let bodies = bodies();
    stage.abuse(|| {
        for route in ROUTES.iter().filter(|route| route.is_mutation()) {
            let mut call = stage.call(route);
            if !call.headers.contains("Content-Type") {
                call.headers += "Content-Type: application/json\r\n";
            }
            let name = format!("{} {}", route.method.as_str(), route.path);
            let address = stage.address(route);
            // The enrollment document knows one answer to whatever body it does not take.
            let too_large = if route.limiter == Limiter::Enrollment { 400 } else { 413 };
            for (what, body) in &bodies {
                let what = format!("{name}: {what}");
                let answer = one(address, &what, &call.holding(body.as_slice()).bytes());
                assert!(answer.status >= 400, "{what}: {}", answer.head);
                let large = body.len() > 2 * MIB;
                assert!(!large || answer.status == too_large, "{what}: {}", answer.head);
            }
            let chunked = |body: &[u8], size| call.framed("Transfer-Encoding: chunked\r\n", &in_chunks(body, size));
            let answer = one(address, &format!("{name}: 8 MiB in chunks"), &chunked(&vec![b' '; 8 * MIB], 64 * 1024));
            assert_eq!(answer.status, too_large, "{name}");
            let answer = one(address, &format!("{name}: chunks of a byte"), &chunked(&vec![b'['; 20_000], 1));
            assert_eq!(answer.status, 400, "{name}");
            let announced = call.framed(&format!("Content-Length: {}\r\n", 8 * MIB), b"");
            let answer = one(address, &format!("{name}: 8 MiB announced"), &announced);
            assert_eq!(answer.status, too_large, "{name}: nobody waits for what is not taken");
        }
    });
}

/// Whatever is cheap to send and dear to read, from many at once: memory follows the cores, not the clients.
#[test]
fn many_large_bodies_at_once_stay_within_bounds() {
    let stage = Stage::set(&[]);
    let zeros = format!("[{}0]", "0,".repeat(700_000));
    let objects = format!("[{}{{}}]", "{},".repeat(450_000));
    let texts = format!(r#"{{"{}":1}}"#, r#"a":"b","#.repeat(150_000));
    let route = |path: &str| ROUTES.iter().find(|route| route.path == path && route.is_mutation()).unwrap();
    let paths = [
        "/api/v1/nodes/{id}/events",
        "/api/v1/nodes/{id}/metrics",
        "/api/v1/projects/{slug}/bundles",
        "/api/v1/api-keys",
    ];
    let mut requests = Vec::new();
    for call in paths.map(|path| stage.call(route(path))) {
        for value in [&zeros, &objects, &texts] {
            for field in ["events", "metrics", "config_source", "scopes"] {
                requests.push(call.holding(format!(r#"{{"{field}":{value}}}"#)).bytes());
            }
        }
    }
    stage.abuse(|| {
        std::thread::scope(|scope| {
            for bytes in &requests {
                // Nodes may tell more than is known, so that some of it is taken.
                scope.spawn(|| one(stage.http, "one of many", bytes));
            }
        });
    });
}

/// A body on a request that takes none is nobody's business, and no way to another's answer.
#[test]
fn a_body_where_none_belongs_is_left_unread() {
    let stage = Stage::set(&[]);
    stage.abuse(|| {
        for route in ROUTES.iter().filter(|route| !route.is_mutation()) {
            let call = stage.call(route);
            for body in [b"GET /health HTTP/1.1\r\n\r\n".to_vec(), vec![b'x'; 8 * MIB]] {
                let answer = one(stage.address(route), route.path, &call.holding(body).bytes());
                assert_eq!(answer.status, route.success, "{}", route.path);
            }
            let head = Call { method: "HEAD".into(), ..call }.bytes();
            let expected = if route.limiter == Limiter::Enrollment { 405 } else { route.success };
            assert_eq!(one(stage.address(route), route.path, &head).status, expected, "HEAD {}", route.path);
        }
    });
}
