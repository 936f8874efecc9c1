//! What no client should send. Everything here is answered with a 4xx in the contract's shape.

use super::bench::{Answered, Bench};
use crate::{EdgeConfig, LimitsConfig};
use axum::body::Body;
use contract::{Limiter, ROUTES};
use serde_json::json;

/// Bodies that no route takes as they are.
fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(10_000), close.repeat(10_000)).into_bytes();
    vec![
        ("not JSON", b"name=proxy-1".to_vec()),
        ("cut off", br#"{"name": "#.to_vec()),
        ("two values", b"{} {}".to_vec()),
        ("a list", b"[]".to_vec()),
        ("null", b"null".to_vec()),
        ("a number", b"1e999".to_vec()),
        ("a text", br#""x""#.to_vec()),
        ("deep lists", deep("[", "]")),
        ("deep objects", deep(r#"{"a":"#, "}")),
        ("bad UTF-8", b"{\"name\": \"\xff\xfe\"}".to_vec()),
        ("half a surrogate", br#"{"name": "\ud800"}"#.to_vec()),
        ("a NUL", b"{\"name\": \"a\0b\"}".to_vec()),
        ("a byte order mark", b"\xef\xbb\xbf{}".to_vec()),
        ("8 MiB", vec![b' '; 8 << 20]),
        ("NaN", br#"{"name": NaN}"#.to_vec()),
    ]
}

fn assert_refused(answered: &Answered, what: &str) {
    assert!((400..500).contains(&answered.status), "{what}: {} {:?}", answered.status, answered.body);
    answered.code();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_with_a_body_refuses_bad_ones() {
    // Each body is to be judged, not counted.
    let limits = LimitsConfig {
        node_burst: u32::MAX,
        api_burst: u32::MAX,
        registration_burst: u32::MAX,
        enrollment_burst: u32::MAX,
        ..LimitsConfig::default()
    };
    let bench = Bench::with(EdgeConfig { limits, ..EdgeConfig::default() }).await;
    let (id, key) = bench.node("proxy-1").await;
    for route in ROUTES.iter().filter(|route| route.is_mutation()) {
        let path = route.path.replace("{slug}", "demo").replace("{id}", &id);
        for (what, body) in bodies() {
            let ask = match route.limiter {
                Limiter::Node => bench.ask(route.method.as_str(), &path).header("x-zentinel-node-key", key.clone()),
                _ => bench.operator(route.method.as_str(), &path),
            };
            let answered = ask.text(body).send().await;
            assert_refused(&answered, &format!("{} {what}", route.path));
            assert!(
                route.statuses().contains(&answered.status),
                "{} {what}: undocumented {}",
                route.path,
                answered.status
            );
        }
        let wrong_type = bench.operator(route.method.as_str(), &path).header("x-zentinel-node-key", key.clone());
        if !matches!(route.limiter, Limiter::Node | Limiter::Enrollment) {
            let answered = wrong_type.header("content-type", "text/plain").raw("{}").send().await;
            assert_eq!(answered.code(), "unsupported_media_type", "{}", route.path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_types_are_named_by_field() {
    let bench = Bench::start().await;
    let (id, key) = bench.node("proxy-1").await;
    let cases = [
        ("/api/v1/projects/demo/nodes/register", json!({"name": 5, "labels": [], "ip": {}}), "name"),
        ("/api/v1/projects/demo/nodes/register", json!({"name": "a\u{0}b"}), "name"),
        ("/api/v1/projects/demo/bundles", json!({"version": {}, "config_source": 1}), "config_source"),
        ("/api/v1/projects/demo/rollouts", json!({"bundle_id": true}), "bundle_id"),
        ("/api/v1/projects", json!({"slug": "../etc"}), "slug"),
        ("/api/v1/api-keys", json!({"name": "x", "scopes": ["everything"]}), "scopes"),
    ];
    for (path, body, field) in cases {
        let answered = bench.operator("POST", path).json(body).send().await;
        assert_eq!((answered.status, answered.code().as_str()), (422, "validation_failed"), "{path}");
        assert!(answered.json()["error"][field].is_array(), "{path}: {:?}", answered.body);
    }
    let beat = bench.ask("POST", &format!("/api/v1/nodes/{id}/heartbeat")).header("x-zentinel-node-key", key);
    let beat = beat.json(json!({"health": "fine", "active_bundle_id": "x"})).send().await;
    assert_eq!(beat.json()["error"].as_object().map(|fields| fields.len()), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_cannot_be_tricked() {
    let bench = Bench::start().await;
    let ids = [
        "..%2f..%2fetc",
        "%00",
        "%ff%fe",
        "a%2Fb",
        "%2e%2e",
        "%E0%80%AF",
        "*",
        "%3E",
        "a.b",
        "%",
        "%zz",
        "'%20or%201=1",
    ];
    let long = "x".repeat(10_000);
    for id in ids.into_iter().chain([long.as_str()]) {
        for (method, path) in [
            ("GET", format!("/api/v1/projects/{id}/nodes")),
            ("GET", format!("/api/v1/projects/demo/nodes/{id}")),
            ("DELETE", format!("/api/v1/projects/demo/bundles/{id}")),
            ("POST", format!("/api/v1/projects/{id}/nodes/register")),
            ("GET", format!("/api/v1/downloads/{id}")),
            ("GET", format!("/api/v1/orgs/{id}/jwks.json")),
            ("POST", format!("/api/v1/nodes/{id}/heartbeat")),
        ] {
            let answered = bench.operator(method, &path).send().await;
            assert!(matches!(answered.status, 400 | 404 | 422), "{method} {path:.60}: {}", answered.status);
            assert_refused(&answered, &path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_decide_must_come_once() {
    let bench = Bench::start().await;
    let (path, bearer) = ("/api/v1/projects/demo/nodes", format!("Bearer {}", bench.api_key));
    let twice = |name: &'static str, value: &str| bench.operator("GET", path).header(name, value).header(name, value);
    let malformed = [
        bench.operator("GET", path).header("authorization", bearer.clone()),
        bench.ask("GET", path).header("authorization", b"Bearer \xff\xfe".to_vec()),
        twice("idempotency-key", "a"),
        twice("host", "control.example"),
        twice("x-pilothouse-position", "1"),
        bench.operator("GET", path).header("idempotency-key", ""),
        bench.operator("GET", path).header("idempotency-key", "x".repeat(256)),
        bench.operator("GET", path).header("idempotency-key", "\u{e9}"),
        bench.operator("GET", path).header("x-pilothouse-position", "-1"),
        bench.operator("GET", "/api/v1/projects/demo/nodes?min_position=x"),
        bench.operator("GET", "/api/v1/projects/demo/nodes?limit=1&limit=2"),
    ];
    for (i, ask) in malformed.into_iter().enumerate() {
        let answered = ask.send().await;
        assert_eq!((answered.status, answered.code().as_str()), (400, "malformed_request"), "{i}");
    }
    let many: String = (0..100).map(|i| format!("p{i}=1&")).collect();
    assert_eq!(bench.operator("GET", &format!("{path}?{many}")).send().await.code(), "malformed_request");
    for query in ["limit=0", "limit=1001", "limit=x", "limit=", "status=%00", "after=%ff"] {
        let answered = bench.operator("GET", &format!("{path}?{query}")).send().await;
        assert_eq!(answered.code(), "validation_failed", "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_bodies_are_the_routes_own() {
    let bench = Bench::start().await;
    let (id, key) = bench.node("proxy-1").await;
    let of_bytes = |bytes: usize| format!("{{\"config_kdl\": \"{}\"}}", "x".repeat(bytes));
    for (verb, bytes, status) in [("heartbeat", 70_000, 413), ("config", 1_000_000, 200), ("config", 1_600_000, 413)] {
        let ask = bench.ask("POST", &format!("/api/v1/nodes/{id}/{verb}")).header("x-zentinel-node-key", key.clone());
        let answered = ask.text(of_bytes(bytes)).send().await;
        assert_eq!(answered.status, status, "{verb} {bytes}: {:.200?}", answered.body);
    }
    let packed = bench.operator("POST", "/api/v1/projects").header("content-encoding", "gzip");
    assert_eq!(packed.text("{}").send().await.code(), "unsupported_media_type");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_ends_is_given_up() {
    let config = EdgeConfig { request_timeout: std::time::Duration::from_millis(100), ..Default::default() };
    let bench = Bench::with(config).await;
    let endless = futures_util::stream::pending::<Result<axum::body::Bytes, std::convert::Infallible>>();
    let answered = bench.operator("POST", "/api/v1/projects").text(Body::from_stream(endless)).send().await;
    assert_eq!((answered.status, answered.code().as_str()), (408, "request_timeout"));
}
