//! Malformed and ambiguous heads: every row of the table of routes times every case.

use super::raw::{Talk, talk, talk_to_end};
use super::stage::{Call, Stage, one};
use contract::{Access, Limiter, ROUTES, Route};

struct Case {
    what: &'static str,
    bytes: fn(&Call) -> Vec<u8>,
    /// Where it must be refused; elsewhere it may be harmless.
    refused: fn(&Route) -> bool,
}

fn everywhere(_: &Route) -> bool {
    true
}

fn nowhere(_: &Route) -> bool {
    false
}

fn with_api_key(route: &Route) -> bool {
    route.operation.is_some()
}

fn with_credential(route: &Route) -> bool {
    !matches!(route.access, Access::Public | Access::SignedUrl | Access::Challenge)
}

fn takes_idempotency_key(route: &Route) -> bool {
    route.operation.is_some() || route.limiter == Limiter::Registration
}

fn reads_a_body(route: &Route) -> bool {
    route.method == contract::Method::Post
}

fn with_parameter(route: &Route) -> bool {
    route.path.contains('{')
}

fn answers_json(route: &Route) -> bool {
    // What hosts accept while they enroll is not looked at.
    let is_plain = route.access != Access::SignedUrl && route.limiter != Limiter::Enrollment;
    is_plain && route.path != "/metrics" && !route.path.ends_with("/stream")
}

const fn case(what: &'static str, refused: fn(&Route) -> bool, bytes: fn(&Call) -> Vec<u8>) -> Case {
    Case { what, bytes, refused }
}

/// A path whose parameters are all `text`.
fn replaced(call: &Call, text: &str) -> Call {
    let (path, query) = call.path.split_once('?').unwrap_or((&call.path, ""));
    let fixed = |part: &&str| part.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c == '.') || *part == "v1";
    let is_id = |part: &&str| !fixed(part) || *part == "demo" || *part == "default";
    let parts: Vec<&str> = path.split('/').map(|part| if is_id(&part) { text } else { part }).collect();
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    call.to(parts.join("/") + &query)
}

const CASES: &[Case] = &[
    // Headers that decide, twice.
    case("two hosts", everywhere, |c| c.with("Host: other\r\n")),
    case("two credentials", with_credential, |c| c.with(&c.headers)),
    case("another credential first", with_api_key, |c| {
        Call { headers: format!("Authorization: Bearer a\r\n{}", c.headers), ..c.clone() }.bytes()
    }),
    case("two idempotency keys", takes_idempotency_key, |c| c.with("Idempotency-Key: a\r\nIdempotency-Key: a\r\n")),
    case("two content types", reads_a_body, |c| c.with("Content-Type: application/json\r\n")),
    case("two positions", with_api_key, |c| c.with("X-Pilothouse-Position: 1\r\nX-Pilothouse-Position: 1\r\n")),
    // Values.
    case("a credential of bad UTF-8", with_credential, |c| {
        Call { headers: String::new(), ..c.clone() }
            .with_bytes(b"Authorization: Bearer \xff\xfe\r\nX-Zentinel-Node-Key: \xff\r\n")
    }),
    case("a long credential", with_credential, |c| {
        let long = "x".repeat(20_000);
        let headers = format!("X-Zentinel-Node-Key: {long}\r\nAuthorization: Bearer\r\n");
        Call { headers, ..c.clone() }.bytes()
    }),
    case("no credential", with_credential, |c| Call { headers: String::new(), ..c.clone() }.bytes()),
    case("an empty idempotency key", takes_idempotency_key, |c| c.with("Idempotency-Key: \r\n")),
    case("a long idempotency key", takes_idempotency_key, |c| {
        c.with(&format!("Idempotency-Key: {}\r\n", "k".repeat(256)))
    }),
    case("an idempotency key of bad UTF-8", takes_idempotency_key, |c| c.with_bytes(b"Idempotency-Key: \xff\xfe\r\n")),
    case("a negative position", with_api_key, |c| c.with("X-Pilothouse-Position: -1\r\n")),
    case("a position beyond 64 bits", with_api_key, |c| c.with("X-Pilothouse-Position: 18446744073709551616\r\n")),
    case("a media type of text", reads_a_body, |c| {
        Call { headers: c.headers.replace("application/json", "text/plain"), ..c.clone() }.bytes()
    }),
    case("a coded body", reads_a_body, |c| c.with("Content-Encoding: gzip\r\n")),
    case("nothing acceptable", answers_json, |c| c.with("Accept: text/html\r\n")),
    case("a wild Accept", nowhere, |c| c.with(&format!("Accept: {}\r\n", "a/b;q=0.1,".repeat(2000)))),
    case("a host that is none", nowhere, |c| {
        String::from_utf8(c.bytes()).unwrap().replace("control.example", "a b/<script>@[::g]:99999").into()
    }),
    case("a wild range", nowhere, |c| c.with("Range: bytes=0-0,1-1,18446744073709551615-\r\n")),
    case("upgrade to a web socket", nowhere, |c| c.with("Connection: upgrade\r\nUpgrade: websocket\r\n")),
    case("upgrade to HTTP/2", nowhere, |c| {
        c.with("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n")
    }),
    case("an unknown expectation", nowhere, |c| c.with("Expect: 200-maybe\r\n")),
    case("an overridden method", nowhere, |c| c.with("X-HTTP-Method-Override: DELETE\r\n")),
    case("a forwarded address", nowhere, |c| c.with("X-Forwarded-For: ' OR 1=1 --\r\nX-Real-IP: ::1\r\n")),
    // The form of headers.
    case("a NUL in a header", everywhere, |c| c.with_bytes(b"X: a\0b\r\n")),
    case("a lone CR in a header", everywhere, |c| c.with("X: a\rY: b\r\n")),
    case("a folded header", everywhere, |c| c.with("X: a\r\n b\r\n")),
    case("a folded first header", everywhere, |c| {
        let text = String::from_utf8(c.bytes()).unwrap();
        text.replacen("\r\nHost", "\r\n Folded: x\r\nHost", 1).into()
    }),
    case("a space before the colon", everywhere, |c| c.with("X : a\r\n")),
    case("a header without a colon", everywhere, |c| c.with("X\r\n")),
    case("a header without a name", everywhere, |c| c.with(": a\r\n")),
    case("a name of bad UTF-8", everywhere, |c| c.with_bytes(b"X\xff: a\r\n")),
    case("a thousand headers", everywhere, |c| c.with(&"X: a\r\n".repeat(1000))),
    case("64 KiB of one header", everywhere, |c| c.with(&format!("X: {}\r\n", "a".repeat(64 << 10)))),
    case("no host", everywhere, |c| {
        String::from_utf8(c.bytes()).unwrap().replace("Host: control.example\r\n", "").into()
    }),
    case("lines that end with LF", nowhere, |c| {
        let text = String::from_utf8(c.holding("").bytes()).unwrap();
        text.replace("\r\n", "\n").into()
    }),
    // Paths.
    case("a NUL in the path", everywhere, |c| c.to(format!("{}\0", c.path)).bytes()),
    case("an encoded NUL", with_parameter, |c| replaced(c, "%00").bytes()),
    case("an encoded NUL at the end", everywhere, |c| c.to(c.path.replace('?', "%00?") + "%00").bytes()),
    case("two dots", everywhere, |c| c.to(format!("/api/..{}", c.path)).bytes()),
    case("encoded dots", with_parameter, |c| replaced(c, "%2e%2e").bytes()),
    case("an encoded traversal", with_parameter, |c| replaced(c, "..%2f..%2f..%2fetc%2fpasswd").bytes()),
    case("backslashes", with_parameter, |c| replaced(c, "..\\..\\").bytes()),
    case("two slashes", everywhere, |c| c.to(format!("/{}", c.path)).bytes()),
    case("an encoded slash", with_parameter, |c| replaced(c, "demo%2Fdemo").bytes()),
    case("a slash at the end", everywhere, |c| c.to(c.path.replace('?', "/?") + "/").bytes()),
    case("overlong UTF-8", with_parameter, |c| replaced(c, "%C0%AE%C0%AE").bytes()),
    case("encoded bad UTF-8", with_parameter, |c| replaced(c, "%ff%fe").bytes()),
    case("a broken escape", with_parameter, |c| replaced(c, "%zz%").bytes()),
    case("bare bad UTF-8", everywhere, |c| {
        let marked = c.to(format!("{}@@", c.path)).bytes();
        let at = marked.windows(2).position(|part| part == b"@@").unwrap();
        [&marked[..at], b"\xff\xfe", &marked[at + 2..]].concat()
    }),
    case("SQL", with_parameter, |c| replaced(c, "'%20OR%201=1--").bytes()),
    case("a subject's wildcard", with_parameter, |c| replaced(c, "*").bytes()),
    case("a subject of several tokens", with_parameter, |c| replaced(c, "demo.%3E").bytes()),
    case("a template's parameter", with_parameter, |c| replaced(c, "%7Bslug%7D").bytes()),
    case("10 KB of one parameter", with_parameter, |c| replaced(c, &"a".repeat(10_000)).bytes()),
    case("70 KB of path", everywhere, |c| c.to(format!("{}/{}", c.path, "a".repeat(70_000))).bytes()),
    case("ten thousand slashes", everywhere, |c| c.to(format!("{}{}", c.path, "/".repeat(10_000))).bytes()),
    case("a space in the path", everywhere, |c| c.to(format!("{} x", c.path)).bytes()),
    case("a query of bad UTF-8", nowhere, |c| c.to(format!("{}?after=%ff&status=%00&limit=%E0%80", c.path)).bytes()),
    case("a thousand parameters", with_api_key, |c| c.to(format!("{}?{}", c.path, "a=b&".repeat(1000))).bytes()),
    case("a parameter twice", with_api_key, |c| c.to(format!("{}?limit=1&limit=2", c.path)).bytes()),
    case("a fragment", nowhere, |c| c.to(format!("{}#x", c.path)).bytes()),
    // The request line.
    case("the form for proxies", nowhere, |c| c.to(format!("http://evil.example{}", c.path)).bytes()),
    case("a foreign scheme", nowhere, |c| c.to(format!("gopher://user:pass@evil{}", c.path)).bytes()),
    case("the form of CONNECT", everywhere, |c| c.to("evil.example:443").bytes()),
    case("CONNECT", everywhere, |c| Call { method: "CONNECT".into(), ..c.to("evil.example:443") }.bytes()),
    case("an asterisk", everywhere, |c| Call { method: "OPTIONS".into(), ..c.to("*") }.bytes()),
    case("an empty target", everywhere, |c| c.to("").bytes()),
    case("a method that is none", everywhere, |c| Call { method: "G\0T".into(), ..c.clone() }.bytes()),
    case("a method of lower case", everywhere, |c| Call { method: c.method.to_lowercase(), ..c.clone() }.bytes()),
    case("10 KB of method", everywhere, |c| Call { method: "A".repeat(10_000), ..c.clone() }.bytes()),
    case("TRACE", everywhere, |c| Call { method: "TRACE".into(), ..c.clone() }.bytes()),
    case("HTTP/1.0", nowhere, |c| String::from_utf8(c.bytes()).unwrap().replacen("HTTP/1.1", "HTTP/1.0", 1).into()),
    case("HTTP/2.0", everywhere, |c| String::from_utf8(c.bytes()).unwrap().replacen("HTTP/1.1", "HTTP/2.0", 1).into()),
    case("HTTP/1.1 of lower case", everywhere, |c| {
        String::from_utf8(c.bytes()).unwrap().replacen("HTTP/1.1", "http/1.1", 1).into()
    }),
    case("HTTP/0.9", everywhere, |c| format!("{} {}\r\n\r\n", c.method, c.path).into()),
    case("no HTTP at all", everywhere, |_| b"\x00\x01\x02\x03\xff\xfe garbage\r\n\r\n".to_vec()),
    case("TLS on the plain port", everywhere, |_| b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03".to_vec()),
    // The length of the body.
    case("a negative length", everywhere, |c| c.framed("Content-Length: -1\r\n", b"{}")),
    case("a signed length", everywhere, |c| c.framed("Content-Length: +2\r\n", b"{}")),
    case("a length in hex", everywhere, |c| c.framed("Content-Length: 0x2\r\n", b"{}")),
    case("a length beyond 64 bits", everywhere, |c| c.framed("Content-Length: 18446744073709551616\r\n", b"{}")),
    case("the largest length", reads_a_body, |c| c.framed("Content-Length: 18446744073709551615\r\n", b"{}")),
    case("a huge length", reads_a_body, |c| c.framed("Content-Length: 9223372036854775807\r\n", b"{}")),
    case("two lengths", everywhere, |c| c.framed("Content-Length: 2\r\nContent-Length: 3\r\n", b"{} ")),
    case("a list of lengths", everywhere, |c| c.framed("Content-Length: 2, 3\r\n", b"{} ")),
    case("an empty length", everywhere, |c| c.framed("Content-Length: \r\n", b"{}")),
    case("a coding other than chunked", everywhere, |c| c.framed("Transfer-Encoding: gzip\r\n", b"{}")),
    case("an unknown coding last", everywhere, |c| c.framed("Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n")),
    case("an unknown coding first", everywhere, |c| c.framed("Transfer-Encoding: x, chunked\r\n", b"0\r\n\r\n")),
    case("chunked twice", everywhere, |c| {
        c.framed("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n")
    }),
    case("chunked, disguised", everywhere, |c| c.framed("Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n")),
    case("chunked with a control character", everywhere, |c| {
        c.framed("Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n")
    }),
    case("chunked under HTTP/1.0", everywhere, |c| {
        let text = String::from_utf8(c.framed("Transfer-Encoding: chunked\r\n", b"0\r\n\r\n")).unwrap();
        text.replacen("HTTP/1.1", "HTTP/1.0", 1).into()
    }),
    case("a chunk of no size", reads_a_body, |c| c.framed("Transfer-Encoding: chunked\r\n", b"zz\r\n{}\r\n0\r\n\r\n")),
    case("a chunk of negative size", reads_a_body, |c| {
        c.framed("Transfer-Encoding: chunked\r\n", b"-2\r\n{}\r\n0\r\n\r\n")
    }),
    case("a chunk beyond 64 bits", reads_a_body, |c| {
        c.framed("Transfer-Encoding: chunked\r\n", b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n")
    }),
    case("a chunk longer than its size", reads_a_body, |c| {
        c.framed("Transfer-Encoding: chunked\r\n", b"1\r\n{}\r\n0\r\n\r\n")
    }),
    case("64 KiB of a chunk's extension", reads_a_body, |c| {
        let extended = format!("2;x={}\r\n{{}}\r\n0\r\n\r\n", "a".repeat(64 << 10));
        c.framed("Transfer-Encoding: chunked\r\n", extended.as_bytes())
    }),
    case("64 KiB of trailers", nowhere, |c| {
        let trailed = format!("2\r\n{{}}\r\n0\r\n{}\r\n", "X: a\r\n".repeat(11_000));
        c.framed("Transfer-Encoding: chunked\r\n", trailed.as_bytes())
    }),
];

#[test]
fn every_route_refuses_malformed_heads() {
    let stage = Stage::set(&[]);
    let spared = |route: &Route| route.method == contract::Method::Delete || route.path.ends_with("/revoke");
    stage.abuse(|| {
        // Those that destroy come last: a harmless variant of theirs succeeds.
        for route in ROUTES.iter().filter(|route| !spared(route)).chain(ROUTES.iter().filter(|route| spared(route))) {
            let call = stage.call(route);
            for case in CASES {
                let what = format!("{} {}: {}", route.method.as_str(), route.path, case.what);
                let answer = one(stage.address(route), &what, &(case.bytes)(&call));
                assert!(answer.status >= 400 || !(case.refused)(route), "{what}: {}", answer.head);
                assert!(!answer.head.contains("evil.example"), "{what}: {}", answer.head);
            }
        }
    });
}

/// Two servers in a row must not come to see different requests: what is ambiguous ends the connection.
#[test]
fn nothing_can_be_smuggled() {
    let stage = Stage::set(&[]);
    let route = ROUTES.iter().find(|route| route.path == "/api/v1/projects" && reads_a_body(route)).unwrap();
    let call = stage.call(route);
    let hidden = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    let chunked = format!("0\r\n\r\n{hidden}");
    let (te, cl) = ("Transfer-Encoding: chunked\r\n", format!("Content-Length: {}\r\n", chunked.len()));
    let attempts = [
        ("a length before chunked", call.framed(&format!("{cl}{te}"), chunked.as_bytes())),
        ("chunked before a length", call.framed(&format!("{te}{cl}"), chunked.as_bytes())),
        ("two codings", call.framed(&format!("{te}Transfer-Encoding: identity\r\n"), chunked.as_bytes())),
        ("chunked in quotes", call.framed("Transfer-Encoding: \"chunked\"\r\n", chunked.as_bytes())),
        ("a space before the colon", call.framed(&format!("Transfer-Encoding : chunked\r\n{cl}"), chunked.as_bytes())),
        ("two lengths", call.framed(&format!("Content-Length: 0\r\n{cl}"), chunked.as_bytes())),
    ];
    stage.abuse(|| {
        for (what, bytes) in attempts {
            let Talk { answers, closed, .. } = talk_to_end(stage.http, &bytes);
            assert_eq!((answers.len(), closed), (1, true), "{what}: {answers:?}");
            assert!((400..500).contains(&answers[0].status), "{what}: {answers:?}");
            answers[0].check(what);
        }
        let twice = [call.framed("Content-Length: 2\r\n", b"[]"), hidden.into()].concat();
        let answers = talk_to_end(stage.http, &[twice, b"Connection: close\r\n\r\n".to_vec()].concat()).answers;
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [400, 200, 400], "what is plain stays apart");
        let preface = talk(stage.http, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        assert!(preface.closed && preface.answers.is_empty(), "HTTP/2 is not spoken: {preface:?}");
    });
}

#[test]
fn requests_in_a_row_are_answered_in_their_order() {
    let stage = Stage::set(&[]);
    let route = |path: &str| ROUTES.iter().find(|route| route.path == path).unwrap();
    let (nodes, health) = (stage.call(route("/api/v1/projects/{slug}/nodes")), stage.call(route("/health")));
    let mut bytes = Vec::new();
    for _ in 0..100 {
        bytes.extend([nodes.bytes(), health.bytes(), health.to("/nowhere").bytes()].concat());
    }
    stage.abuse(|| {
        let answers = talk_to_end(stage.http, &[bytes, b"garbage\r\n\r\n".to_vec()].concat()).answers;
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [[200, 200, 404].repeat(100), vec![400]].concat());
    });
}
