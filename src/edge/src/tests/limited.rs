//! Who is limited by what.

use super::bench::Bench;
use crate::{EdgeConfig, LimitsConfig};
use serde_json::json;

/// A rate so low that no token comes back during a test.
async fn with_bursts(node: u32, api: u32, registration: u32) -> Bench {
    let limits = LimitsConfig {
        node_per_s: 1,
        node_burst: node,
        api_per_s: 1,
        api_burst: api,
        registration_per_s: 1,
        registration_burst: registration,
        ..LimitsConfig::default()
    };
    Bench::with(EdgeConfig { limits, ..EdgeConfig::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_key_has_a_bucket_of_its_own() {
    let bench = with_bursts(100, 3, 100).await;
    let path = "/api/v1/projects";
    for left in [2, 1, 0] {
        let answered = bench.operator("GET", path).send().await;
        assert_eq!((answered.status, answered.header("x-ratelimit-limit")), (200, "3"));
        assert_eq!(answered.header("x-ratelimit-remaining"), left.to_string());
        assert!(answered.header("x-ratelimit-reset").parse::<i64>().unwrap() > 1_700_000_000);
    }
    let refused = bench.operator("GET", path).send_from("192.0.2.9").await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
    assert_eq!(refused.header("x-ratelimit-remaining"), "0");
    let reset = refused.header("x-ratelimit-reset");
    assert_eq!(refused.json()["error"], format!("Rate limit exceeded. Try again after {reset}."));
    assert_eq!(refused.json()["retry_after"].to_string(), refused.header("retry-after"));
    let other = bench.api_key(json!({"name": "other"})).await;
    let other = bench.ask("GET", path).header("authorization", format!("Bearer {other}")).send().await;
    assert_eq!(other.status, 200, "another key is another client");
    let metrics = bench.ask("GET", "/metrics").send().await;
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(text.contains(r#"pilothouse_http_rate_limited_total{class="api"} 1"#), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_are_limited_by_address_and_lock_nobody_else_out() {
    let bench = with_bursts(100, 5, 100).await;
    let (id, key) = bench.node("proxy-1").await;
    let guess = |n: usize| bench.ask("GET", "/api/v1/projects").header("authorization", format!("Bearer guess-{n}"));
    let mut statuses = Vec::new();
    for n in 0..8 {
        statuses.push(guess(n).send_from("2001:db8::1").await.status);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429, 429]);
    let beat =
        |key: &str| bench.ask("POST", &format!("/api/v1/nodes/{id}/heartbeat")).header("x-zentinel-node-key", key);
    assert_eq!(beat("wrong").send_from("2001:db8::2").await.status, 429, "the same site, another of its addresses");
    assert_eq!(beat("wrong").send_from("2001:db8:0:1::2").await.status, 401);
    assert_eq!(beat(&key).send_from("2001:db8::2").await.status, 200, "those who prove who they are go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_and_registrations_have_buckets_of_their_own() {
    let bench = with_bursts(2, 100, 3).await;
    let (id, key) = bench.node("a").await;
    let (other_id, other_key) = bench.node("b").await;
    let beat = |id: &str, key: &str| {
        let ask = bench.ask("POST", &format!("/api/v1/nodes/{id}/heartbeat"));
        ask.header("x-zentinel-node-key", key)
    };
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(beat(&id, &key).send().await.status);
    }
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(beat(&other_id, &other_key).send().await.status, 200);
    let register = |name: &str| bench.ask("POST", "/api/v1/projects/demo/nodes/register").json(json!({"name": name}));
    assert_eq!(register("c").send().await.status, 201);
    let refused = register("d").send().await;
    assert_eq!((refused.status, refused.header("x-ratelimit-limit")), (429, ""), "only the API class tells its counts");
    assert_ne!(refused.header("retry-after"), "");
    assert_eq!(register("d").send_from("192.0.2.2").await.status, 201);
}
