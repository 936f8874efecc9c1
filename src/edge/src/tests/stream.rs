//! Facts as server-sent events: framing, replay, scopes, tenants, bounds, slow readers, and how a stream ends.

use super::bench::{Bench, PATIENCE};
use super::wire::Server;
use crate::{EdgeConfig, ListenConfig};
use control::ControlSettings;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATH: &str = "/api/v1/projects/demo/stream";
/// How HTTP/1.1 ends a body of unknown length.
const LAST_CHUNK: &str = "0\r\n\r\n";

/// A client of one stream.
struct Reader {
    stream: TcpStream,
    got: String,
}

/// Id, event and data.
type Told = (u64, String, Value);

impl Reader {
    async fn open(server: &Server, key: &str, query: &str, more: &str) -> Reader {
        let mut stream = server.connect().await;
        let head = format!("GET {PATH}{query} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n{more}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut reader = Reader { stream, got: String::new() };
        reader.until("retry: 3000\n\n").await;
        assert!(reader.got.starts_with("HTTP/1.1 200"), "{}", reader.got);
        assert!(reader.got.contains("content-type: text/event-stream\r\n"), "{}", reader.got);
        // The first facts may have come along.
        reader.got = reader.got.split_once("retry: 3000\n\n").unwrap().1.to_owned();
        reader
    }

    /// Reads until this arrived.
    async fn until(&mut self, wanted: &str) {
        let mut piece = [0; 4096];
        let reading = async {
            while !self.got.contains(wanted) {
                let read = self.stream.read(&mut piece).await.unwrap();
                assert!(read > 0, "the stream ended after {}", self.got);
                self.got.push_str(&String::from_utf8_lossy(&piece[..read]));
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("only {} came", self.got));
    }

    async fn next(&mut self) -> Told {
        loop {
            if let Some(at) = self.got.find("id: ") {
                self.got.drain(..at);
                if let Some(end) = self.got.find("\n\n") {
                    let text: String = self.got.drain(..end + 2).collect();
                    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
                    let data = serde_json::from_str(&field("data: ")).unwrap();
                    return (field("id: ").parse().unwrap(), field("event: "), data);
                }
            }
            let length = self.got.len();
            let mut piece = [0; 4096];
            let read =
                tokio::time::timeout(PATIENCE, self.stream.read(&mut piece)).await.expect("no event came").unwrap();
            assert!(read > 0, "the stream ended");
            self.got.push_str(&String::from_utf8_lossy(&piece[..read]));
            assert!(self.got.len() > length);
        }
    }
}

async fn server(settings: ControlSettings) -> Server {
    Server::over(Bench::of(EdgeConfig::default(), settings).await, ListenConfig::default()).await
}

async fn started() -> Server {
    server(ControlSettings::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fact_is_told_with_its_position_type_and_body() {
    let server = started().await;
    let mut reader = Reader::open(&server, &server.bench.api_key, "", "").await;
    let (id, _) = server.bench.node("proxy-1").await;
    let (position, event, data) = reader.next().await;
    assert_eq!(event, "node.registered");
    assert_eq!((&data["position"], &data["type"]), (&json!(position), &json!("node.registered")));
    assert_eq!(data["subject"], format!("fleet.default.demo.node.{id}.registered"));
    assert_eq!(data["data"]["name"], "proxy-1");
    assert!(data["id"].is_string() && data["time"].is_string() && data["actor"].is_string(), "{data}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_comes_again_and_what_is_gone_is_told() {
    let server = server(ControlSettings { stream_facts_max: 3, ..ControlSettings::default() }).await;
    let key = server.bench.api_key.clone();
    let mut reader = Reader::open(&server, &key, "", "").await;
    let mut positions = Vec::new();
    for name in ["a", "b", "c", "d"] {
        server.bench.node(name).await;
        positions.push(reader.next().await.0);
    }
    let after = format!("?after={}", positions[0]);
    let mut again = Reader::open(&server, &key, &after, "").await;
    for position in &positions[1..] {
        assert_eq!(again.next().await.0, *position);
    }
    let header = format!("last-event-id: {}\r\n", positions[1]);
    let mut again = Reader::open(&server, &key, &after, &header).await;
    assert_eq!(again.next().await.0, positions[2], "where it stopped wins over where it once began");

    for gone in [0, positions[3] + 1_000_000] {
        let mut late = Reader::open(&server, &key, &format!("?after={gone}"), "").await;
        let (position, event, data) = late.next().await;
        assert_eq!((event.as_str(), data), ("reset", json!({"position": position})));
        assert!(position >= positions[3]);
        server.bench.node(&format!("late-{gone}")).await;
        assert_eq!(late.next().await.1, "node.registered", "and it goes on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_asked_for_and_is_allowed_is_told() {
    let server = started().await;
    let bench = &server.bench;
    let nodes_only = bench.api_key(json!({"name": "n", "scopes": ["nodes:read"]})).await;
    let bundles_only = bench.api_key(json!({"name": "b", "scopes": ["bundles:read"]})).await;
    let (first, _) = bench.node("first").await;
    let mut of_one = Reader::open(&server, &bench.api_key, &format!("?kind=node&id={first}"), "").await;
    let mut of_bundles = Reader::open(&server, &bundles_only, "", "").await;
    let mut of_nodes = Reader::open(&server, &nodes_only, "", "").await;
    let (second, _) = bench.node("second").await;
    let source = json!({"version": "v1", "config_source": "system { }"});
    assert_eq!(bench.operator("POST", "/api/v1/projects/demo/bundles").json(source).send().await.status, 201);
    let deleted = bench.operator("DELETE", &format!("/api/v1/projects/demo/nodes/{first}")).send().await;
    assert_eq!(deleted.status, 204);
    assert_eq!(of_one.next().await.1, "node.deleted");
    assert_eq!(of_bundles.next().await.1, "bundle.created");
    let (_, event, data) = of_nodes.next().await;
    assert!(event == "node.registered" && data["subject"].as_str().unwrap().contains(&second));
    assert_eq!(of_nodes.next().await.1, "node.deleted", "no bundle in between");

    let ask = async |key: &str, path: &str| {
        let asked = bench.ask("GET", path).header("authorization", format!("Bearer {key}"));
        asked.send().await
    };
    let refused = ask(&nodes_only, &format!("{PATH}?kind=bundle")).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "insufficient_scope"));
    let elsewhere = ask(&bench.api_key, "/api/v1/projects/other/stream").await;
    assert_eq!((elsewhere.status, elsewhere.code().as_str()), (404, "not_found"));
    assert_eq!(bench.operator("POST", "/api/v1/projects").json(json!({"slug": "second"})).send().await.status, 201);
    let confined = bench.api_key(json!({"name": "c", "project": "second"})).await;
    assert_eq!(ask(&confined, PATH).await.status, 404, "a project that the key may not know of");
    let wrong = [("kind=proxy", "kind"), ("id=x", "kind"), ("kind=node&id=x", "id"), ("after=-1", "after")];
    for (query, field) in wrong {
        let refused = ask(&bench.api_key, &format!("{PATH}?{query}")).await;
        assert_eq!(refused.status, 422, "{query}");
        assert!(refused.json()["error"][field].is_array(), "{query}: {:?}", refused.json());
    }
    let malformed = bench.operator("GET", PATH).header("last-event-id", "x").send().await;
    assert_eq!(malformed.code(), "malformed_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn open_streams_are_counted_per_key_and_in_all() {
    let server = server(ControlSettings { streams_max: 3, streams_per_key_max: 2, ..ControlSettings::default() }).await;
    let bench = &server.bench;
    let other = bench.api_key(json!({"name": "other"})).await;
    let first = Reader::open(&server, &bench.api_key, "", "").await;
    let second = Reader::open(&server, &bench.api_key, "", "").await;
    let refused = bench.operator("GET", PATH).send().await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
    assert!(refused.json()["error"].as_str().unwrap().contains("of this API key"));
    assert_eq!(refused.header("retry-after"), "10");
    let third = Reader::open(&server, &other, "", "").await;
    let refused = bench.ask("GET", PATH).header("authorization", format!("Bearer {other}")).send().await;
    assert_eq!(refused.status, 429, "no room on this replica");
    drop((first, second, third));
    let deadline = std::time::Instant::now() + PATIENCE;
    while bench.operator("HEAD", PATH).send().await.status != 200 {
        assert!(std::time::Instant::now() < deadline, "streams of clients that went away are still counted");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_says_that_it_lives_and_ends_with_its_key_or_the_server() {
    let quick = ControlSettings { stream_quiet: Duration::from_millis(50), ..ControlSettings::default() };
    let mut server = server(quick).await;
    let made = server.bench.operator("POST", "/api/v1/api-keys").json(json!({"name": "short"})).send().await.json();
    let mut revoked = Reader::open(&server, made["key"].as_str().unwrap(), "", "").await;
    revoked.until("\n:\nid: ").await;
    let path = format!("/api/v1/api-keys/{}/revoke", made["id"].as_str().unwrap());
    assert_eq!(server.bench.operator("POST", &path).send().await.status, 200);
    revoked.until(LAST_CHUNK).await;
    let mut kept = Reader::open(&server, &server.bench.api_key.clone(), "", "").await;
    server.stop();
    kept.until(LAST_CHUNK).await;
    tokio::time::timeout(PATIENCE, server.serving).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_too_slow_is_told_and_cut_off() {
    let bench = Bench::of(EdgeConfig::default(), ControlSettings { stream_facts_max: 4, ..ControlSettings::default() });
    let bench = bench.await;
    let control = &bench.edge.shared.control;
    let caller = control.authenticate_api_key(&bench.api_key).await.unwrap();
    let mut slow = control.stream(&caller, "demo", &Default::default(), None).await.unwrap();
    bench.node("a").await;
    assert!(matches!(slow.next().await, Some(control::StreamItem::Facts(_))));
    for name in ["b", "c", "d", "e", "f"] {
        bench.node(name).await;
    }
    // The ring is fed a moment after the answer: whoever comes back to the beginning learns when it is.
    let first = Some(control.position().0 - 5);
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let mut late = control.stream(&caller, "demo", &Default::default(), first).await.unwrap();
        if matches!(late.next().await, Some(control::StreamItem::Reset { .. })) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the ring keeps more than it should");
    }
    assert!(matches!(slow.next().await, Some(control::StreamItem::Reset { .. })));
    assert!(slow.next().await.is_none(), "cut off");
}
