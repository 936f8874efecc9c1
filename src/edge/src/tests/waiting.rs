//! The long question of a node over HTTP: `wait`, time limits, clients that go away, and a server that stops.

use super::bench::{Bench, PATIENCE};
use super::wire::{Server, answer, exchange, is_closed};
use crate::{EdgeConfig, ListenConfig};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;

async fn until_waiting(bench: &Bench, nodes: usize) {
    let deadline = Instant::now() + PATIENCE;
    while bench.edge.shared.control.waiting() != nodes {
        assert!(Instant::now() < deadline, "{} nodes wait", bench.edge.shared.control.waiting());
        tokio::task::yield_now().await;
    }
}

fn question(id: &str, key: &str, wait: &str) -> String {
    format!(
        "GET /api/v1/nodes/{id}/bundles/latest?wait={wait} HTTP/1.1\r\nhost: x\r\nx-zentinel-node-key: {key}\r\n\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_cannot_be_is_named() {
    let bench = Bench::start().await;
    let (id, key) = bench.node("proxy-1").await;
    for wrong in ["61", "-1", "soon", ""] {
        let asked = bench.ask("GET", &format!("/api/v1/nodes/{id}/bundles/latest?wait={wrong}"));
        let refused = asked.header("x-zentinel-node-key", key.clone()).send().await;
        assert_eq!((refused.status, refused.code().as_str()), (422, "validation_failed"), "{wrong}");
        assert!(refused.json()["error"]["wait"].is_array(), "{:?}", refused.json());
    }
    let asked = bench.ask("GET", &format!("/api/v1/nodes/{id}/bundles/latest?wait=0"));
    let answered = asked.header("x-zentinel-node-key", key).send().await;
    assert_eq!(answered.json(), json!({"no_update": true, "poll_after_s": 30}));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_time_limit_cuts_a_wait_and_a_client_that_goes_away_frees_its_place() {
    let short = Duration::from_millis(100);
    let config = EdgeConfig { request_timeout: short, ..EdgeConfig::default() };
    let listen = ListenConfig { idle_timeout: short, header_timeout: short, ..ListenConfig::default() };
    let server = Server::with(listen, config).await;
    let (id, key) = server.bench.node("proxy-1").await;
    let mut stream = server.connect().await;
    let began = Instant::now();
    let answered = exchange(&mut stream, question(&id, &key, "1").as_bytes()).await;
    assert!(answered.ends_with(r#"{"no_update":true,"poll_after_s":30}"#), "{answered}");
    assert!(began.elapsed() >= Duration::from_secs(1));

    let mut stream = server.connect().await;
    stream.write_all(question(&id, &key, "60").as_bytes()).await.unwrap();
    until_waiting(&server.bench, 1).await;
    let metrics = server.bench.ask("GET", "/metrics").send().await;
    assert!(String::from_utf8_lossy(&metrics.body).contains("pilothouse_nodes_waiting 1\n"));
    drop(stream);
    until_waiting(&server.bench, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_those_who_wait() {
    let mut server = Server::start(ListenConfig::default()).await;
    let (id, key) = server.bench.node("proxy-1").await;
    let mut stream = server.connect().await;
    stream.write_all(question(&id, &key, "60").as_bytes()).await.unwrap();
    until_waiting(&server.bench, 1).await;
    server.stop();
    let answered = answer(&mut stream).await;
    assert!(answered.starts_with("HTTP/1.1 200"), "{answered}");
    assert!(answered.contains(r#""no_update":true"#), "{answered}");
    assert!(is_closed(&mut stream).await);
}
