//! The documents' main loop over HTTP: register, token, heartbeat, bundle, rollout, offer, download.

use super::bench::Bench;
use serde_json::{Value, json};

const SOURCE: &str = r#"
system { worker-threads 1 }
listeners { listener "http" { address "127.0.0.1:8080"; protocol "http" } }
routes { route "all" { matches { path-prefix "/" }; upstream "app" } }
upstreams { upstream "app" { target "127.0.0.1:9000" } }
"#;

/// A compiled bundle of `demo`; its id.
async fn compiled(bench: &Bench, version: &str) -> String {
    let path = "/api/v1/projects/demo/bundles";
    let body = json!({"version": version, "config_source": SOURCE});
    let created = bench.operator("POST", path).json(body).send().await;
    assert_eq!(created.status, 201, "{created:?}");
    let id = created.json()["id"].as_str().unwrap().to_owned();
    let shown = bench.until(&format!("{path}/{id}"), |body| body["bundle"]["status"] != "compiling").await;
    assert_eq!(shown["bundle"]["status"], "compiled", "{shown}");
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_registers_gets_a_token_and_beats() {
    let bench = Bench::start().await;
    let (id, key) = bench.node("proxy-1").await;
    let token = bench.ask("POST", &format!("/api/v1/nodes/{id}/token")).header("x-zentinel-node-key", key.clone());
    let token = token.send().await;
    assert_eq!(token.status, 200, "{token:?}");
    let token = token.json();
    assert_eq!((&token["token_type"], &token["expires_in"]), (&json!("Bearer"), &json!(43_200)));
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());

    let beat = bench.ask("POST", &format!("/api/v1/nodes/{id}/heartbeat")).header("authorization", bearer.clone());
    let beat = beat.json(json!({"health": {"cpu_percent": 10}})).send().await;
    assert_eq!(beat.status, 200, "{beat:?}");
    assert_eq!((&beat.json()["status"], &beat.json()["node_id"]), (&json!("ok"), &json!(id)));

    let shown = bench.operator("GET", "/api/v1/projects/demo/nodes/proxy-1").send().await;
    assert_eq!(shown.json()["node"]["status"], "online");
    assert_eq!(shown.json()["node"]["ip"], "192.0.2.1", "the address that the registration came from");
    let none = bench.ask("GET", &format!("/api/v1/nodes/{id}/bundles/latest")).header("authorization", bearer.clone());
    assert_eq!(none.send().await.json(), json!({"no_update": true, "poll_after_s": 30}));

    let (other, _) = bench.node("proxy-2").await;
    let foreign = bench.ask("POST", &format!("/api/v1/nodes/{other}/heartbeat")).header("authorization", bearer);
    assert_eq!(foreign.send().await.code(), "node_mismatch");
    let reports = [
        ("events", json!({"event_type": "startup", "message": "up"}), 201),
        ("config", json!({"config_kdl": ""}), 200),
    ];
    for (verb, body, status) in reports {
        let told = bench.ask("POST", &format!("/api/v1/nodes/{id}/{verb}")).header("x-zentinel-node-key", key.clone());
        assert_eq!(told.json(body).send().await.status, status, "{verb}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_leads_to_the_archives_bytes() {
    let bench = Bench::start().await;
    let (id, key) = bench.node("proxy-1").await;
    let beat = bench.ask("POST", &format!("/api/v1/nodes/{id}/heartbeat")).header("x-zentinel-node-key", key.clone());
    assert_eq!(beat.send().await.status, 200);
    let bundle = compiled(&bench, "v1").await;
    let rollout = bench.operator("POST", "/api/v1/projects/demo/rollouts");
    let rollout = rollout.json(json!({"bundle_id": bundle, "strategy": "all_at_once"})).send().await;
    assert_eq!(rollout.status, 201, "{rollout:?}");
    bench
        .until(&format!("/api/v1/projects/demo/nodes/{id}"), |body| body["node"]["expected_bundle_id"] == bundle)
        .await;

    let offer = bench.ask("GET", &format!("/api/v1/nodes/{id}/bundles/latest")).header("x-zentinel-node-key", key);
    let offer = offer.header("host", "control.example:4000").send().await.json();
    assert_eq!(offer["bundle_id"], bundle);
    let url = offer["download_url"].as_str().unwrap();
    let path = url.strip_prefix("http://control.example:4000").unwrap_or_else(|| panic!("{url}"));
    let size = offer["size_bytes"].as_u64().unwrap() as usize;
    ranges(&bench, path, size, offer["checksum"].as_str().unwrap()).await;

    let changed = path.replace("signature=", "signature=A");
    assert_eq!(bench.ask("GET", &changed).send().await.code(), "invalid_download_url");
    let unsigned = path.split('?').next().unwrap();
    assert_eq!(bench.ask("GET", unsigned).send().await.code(), "invalid_download_url");
}

async fn ranges(bench: &Bench, path: &str, size: usize, checksum: &str) {
    let whole = bench.ask("GET", path).send().await;
    assert_eq!((whole.status, whole.body.len()), (200, size));
    assert_eq!(whole.header("content-type"), "application/zstd");
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let tag = whole.header("etag").to_owned();
    assert_eq!(format!("\"{}\"", checksum.strip_prefix("sha256:").unwrap()), tag);

    let part = bench.ask("GET", path).header("range", "bytes=10-19").header("if-range", tag.clone()).send().await;
    assert_eq!((part.status, part.header("content-range")), (206, format!("bytes 10-19/{size}").as_str()));
    assert_eq!(part.body, whole.body[10..20]);
    let rest = bench.ask("GET", path).header("range", "bytes=20-").send().await;
    assert_eq!((rest.status, &rest.body), (206, &whole.body.slice(20..)));
    assert_eq!(rest.header("content-length"), (size - 20).to_string());
    let stale = bench.ask("GET", path).header("range", "bytes=10-19").header("if-range", "\"other\"").send().await;
    assert_eq!((stale.status, stale.body.len()), (200, size));
    let outside = bench.ask("GET", path).header("range", format!("bytes={size}-")).send().await;
    assert_eq!((outside.status, outside.code().as_str()), (416, "range_not_satisfiable"));
    assert_eq!(outside.header("content-range"), format!("bytes */{size}"));
    let head = bench.ask("HEAD", path).send().await;
    assert_eq!((head.status, head.body.len(), head.header("content-length")), (200, 0, size.to_string().as_str()));
    let stranger = bench.ask("GET", path).header("accept", "application/zstd").send().await;
    assert_eq!(stranger.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_gets_the_first_answer_and_no_secret() {
    let bench = Bench::start().await;
    let register = |name: &str| {
        let ask = bench.ask("POST", "/api/v1/projects/demo/nodes/register").header("idempotency-key", "once");
        ask.json(json!({"name": name}))
    };
    let (first, again) = (register("proxy-1").send().await, register("proxy-1").send().await);
    assert_eq!((first.status, again.status), (201, 201), "{again:?}");
    assert_eq!(first.json()["node_id"], again.json()["node_id"]);
    assert_eq!((again.json()["node_key"].clone(), &again.json()["replayed"]), (Value::Null, &json!(true)));
    assert_eq!(first.header("x-pilothouse-position"), again.header("x-pilothouse-position"));
    assert_eq!(register("proxy-2").send().await.code(), "idempotency_key_reused");
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_and_pages_travel() {
    let bench = Bench::start().await;
    for name in ["a", "b", "c"] {
        bench.node(name).await;
    }
    let path = "/api/v1/projects/demo/nodes";
    let first = bench.operator("GET", &format!("{path}?limit=2")).send().await;
    let position: u64 = first.header("x-pilothouse-position").parse().unwrap();
    assert!(position > 0);
    let next = first.json()["next"].as_str().unwrap().to_owned();
    let second = bench.operator("GET", &format!("{path}?limit=2&after={next}&min_position={position}")).send().await;
    assert_eq!(second.json()["nodes"][0]["name"], "c");
    assert_eq!(second.json()["nodes"].as_array().map(Vec::len), Some(1));
    let labelled = bench.operator("GET", &format!("{path}?labels%5Benv%5D=production")).send().await;
    assert_eq!(labelled.json()["total"], 0);
    let deleted = bench.operator("DELETE", &format!("{path}/a")).send().await;
    assert_eq!((deleted.status, deleted.body.len(), deleted.header("content-type")), (204, 0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confined_key_sees_its_project_and_scope_only() {
    let bench = Bench::start().await;
    let reader = bench.api_key(json!({"name": "r", "project": "demo", "scopes": ["nodes:read"]})).await;
    let ask = |method: &str, path: &str| bench.ask(method, path).header("authorization", format!("Bearer {reader}"));
    assert_eq!(ask("GET", "/api/v1/projects/demo/nodes").send().await.status, 200);
    let refused = ask("GET", "/api/v1/projects/demo/bundles").send().await;
    assert_eq!((refused.status, &refused.json()["error"]), (403, &json!("Insufficient scope. Required: bundles:read")));
    assert_eq!(ask("GET", "/api/v1/projects/other/nodes").send().await.code(), "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_archive_comes_whole_in_pieces() {
    let bench = Bench::start().await;
    let bytes: Vec<u8> = (0..5_000_003u32).map(|n| (n ^ (n >> 7) ^ (n >> 15)) as u8).collect();
    let path = bench.archive(bytes.clone().into()).await;
    let whole = bench.ask("GET", &path).send().await;
    assert_eq!((whole.status, whole.header("content-length")), (200, "5000003"));
    assert!(whole.body == bytes, "the bytes differ");
    let part = bench.ask("GET", &path).header("range", "bytes=1000000-3999999").send().await;
    assert_eq!(part.status, 206);
    assert!(part.body == bytes[1_000_000..4_000_000], "the bytes of the range differ");
    let empty = bench.archive(Vec::new().into()).await;
    let answered = bench.ask("GET", &empty).send().await;
    assert_eq!((answered.status, answered.body.len(), answered.header("content-length")), (200, 0, "0"));
    assert_eq!(bench.ask("GET", &empty).header("range", "bytes=0-").send().await.status, 416);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_travels_in_its_header() {
    let bench = Bench::start().await;
    let token = bench.operator("POST", "/api/v1/projects/demo/join-tokens").json(json!({"name": "t"})).send().await;
    assert_eq!(token.status, 201, "{token:?}");
    let secret = token.json()["token"].as_str().unwrap().to_owned();
    let policy = bench.operator("PATCH", "/api/v1/projects/demo").json(json!({"registration": "token"})).send().await;
    assert_eq!((policy.status, &policy.json()["registration"]), (200, &json!("token")));
    let path = "/api/v1/projects/demo/nodes/register";
    let register = |name: &str| bench.ask("POST", path).json(json!({ "name": name }));
    let bare = register("a").send().await;
    assert_eq!((bare.status, bare.code().as_str()), (401, "missing_credential"));
    let wrong = register("a").header("x-pilothouse-join-token", "pjt_wrong").send().await;
    assert_eq!((wrong.status, &wrong.json()["error"]), (401, &json!("Invalid or expired join token")));
    let twice = register("a").header("x-pilothouse-join-token", secret.as_str());
    let twice = twice.header("x-pilothouse-join-token", secret.as_str()).send().await;
    assert_eq!((twice.status, twice.code().as_str()), (400, "malformed_request"));
    let joined = register("a").header("x-pilothouse-join-token", format!(" {secret} ")).send().await;
    assert_eq!(joined.status, 201, "{joined:?}");
    bench.operator("PATCH", "/api/v1/projects/demo").json(json!({"registration": "enrolled"})).send().await;
    let closed = register("b").header("x-pilothouse-join-token", secret.as_str()).send().await;
    assert_eq!((closed.status, closed.code().as_str()), (403, "registration_closed"));
}
