//! The registration document's contract, asked with curl over HTTP and HTTPS.

use crate::harness::{Dev, SAMPLE, eventually};
use serde_json::{Value, json};

const JSON: [&str; 2] = ["-H", "Content-Type: application/json"];

fn post(dev: &Dev, path: &str, header: &str, body: &Value) -> crate::harness::Reply {
    let text = body.to_string();
    let mut arguments = vec!["-X", "POST", "--data-binary", &text, "-H", header];
    arguments.extend(JSON);
    dev.curl(&arguments, path)
}

struct Node {
    id: String,
    key: String,
}

impl Node {
    fn register(dev: &Dev, name: &str) -> Node {
        let body = json!({"name": name, "labels": {"env": "production", "region": "us-east-1"}, "version": "1.0.0",
            "ip": "10.0.1.50", "hostname": "proxy-us-east-1.internal"});
        let reply = post(dev, "/api/v1/projects/demo/nodes/register", "X-Test: 1", &body);
        assert_eq!(reply.status, 201, "{}", reply.text);
        let text = |field: &str| reply.body[field].as_str().unwrap().to_owned();
        assert_eq!(reply.body["poll_interval_s"], 30);
        let node = Node { id: text("node_id"), key: text("node_key") };
        assert_eq!((node.id.len(), node.key.len()), (36, 43));
        node
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v1/nodes/{}/{rest}", self.id)
    }

    fn key(&self) -> String {
        format!("X-Zentinel-Node-Key: {}", self.key)
    }
}

#[test]
fn the_documents_calls_work_as_written() {
    let dev = Dev::start();
    let node = Node::register(&dev, "proxy-us-east-1");
    let shown = dev.api("GET", &format!("/api/v1/projects/demo/nodes/{}", node.id), None);
    assert_eq!(shown.body["node"]["status"], "unknown", "{}", shown.text);

    let taken = post(&dev, "/api/v1/projects/demo/nodes/register", "X-Test: 1", &json!({"name": "proxy-us-east-1"}));
    assert_eq!((taken.status, &taken.body["error"]["name"]), (422, &json!(["has already been taken"])));
    let nowhere = post(&dev, "/api/v1/projects/nowhere/nodes/register", "X-Test: 1", &json!({"name": "a"}));
    assert_eq!((nowhere.status, &nowhere.body["error"]), (404, &json!("Project not found")));

    let beat = json!({"health": {"cpu_percent": 12.5, "memory_percent": 45.0}, "metrics": {"requests_per_second": 1500},
        "version": "1.0.1"});
    let reply = post(&dev, &node.path("heartbeat"), &node.key(), &beat);
    assert_eq!((reply.status, &reply.body["status"], &reply.body["node_id"]), (200, &json!("ok"), &json!(node.id)));
    assert!(reply.body["last_seen_at"].is_string() && reply.body["next_heartbeat_s"].is_u64(), "{}", reply.text);
    let poll = dev.curl(&["-H", &node.key()], &node.path("bundles/latest"));
    assert_eq!(poll.text, r#"{"no_update":true,"poll_after_s":30}"#);

    let token = post(&dev, &node.path("token"), &node.key(), &json!({}));
    assert_eq!(
        (token.status, &token.body["token_type"], &token.body["expires_in"]),
        (200, &json!("Bearer"), &json!(43200))
    );
    let bearer = format!("Authorization: Bearer {}", token.body["token"].as_str().unwrap());
    let event = json!({"event_type": "startup", "severity": "info", "message": "Proxy started successfully"});
    let batch = json!({"events": [event, {"event_type": "info", "message": "All upstreams healthy"}]});
    for (body, count) in [(&event, 1), (&batch, 2)] {
        let reply = post(&dev, &node.path("events"), &bearer, body);
        assert_eq!((reply.status, &reply.body), (201, &json!({"status": "ok", "count": count})));
    }
    let metrics = json!({"metrics": [{"service_id": "SERVICE_UUID", "project_id": "demo",
        "period_start": "2026-02-23T10:00:00Z", "period_seconds": 60, "request_count": 1500, "error_count": 3,
        "status_2xx": 1450, "status_4xx": 47, "status_5xx": 3}]});
    let reply = post(&dev, &node.path("metrics"), &bearer, &metrics);
    assert_eq!(reply.body, json!({"status": "ok", "metrics_ingested": 1, "logs_ingested": 0}), "{}", reply.text);
    let waf = json!({"events": [{"rule_type": "crs", "rule_id": "942100", "action": "blocked", "severity": "high",
        "client_ip": "1.2.3.4", "method": "POST", "path": "/login", "timestamp": "2026-02-23T10:00:00Z",
        "matched_data": "1 OR 1=1", "metadata": {"category": "sql_injection"}}]});
    let reply = post(&dev, &node.path("waf-events"), &bearer, &waf);
    assert_eq!(reply.body, json!({"status": "ok", "events_ingested": 1}), "{}", reply.text);
    let config = json!({"config_kdl": "route \"/api/*\" { upstream \"http://api:8080\" }"});
    let reply = post(&dev, &node.path("config"), &bearer, &config);
    assert_eq!(reply.body["config_hash"].as_str().map(str::len), Some(64), "{}", reply.text);

    reads_back(&dev, &node.id, &config["config_kdl"]);

    // What the heartbeat left out has not been erased; what it said has changed.
    let node_body = dev.api("GET", &format!("/api/v1/projects/demo/nodes/{}", node.id), None).body["node"].clone();
    assert_eq!(node_body["version"], "1.0.1");
    assert_eq!((&node_body["status"], &node_body["hostname"]), (&json!("online"), &json!("proxy-us-east-1.internal")));
    assert_eq!(node_body["health"]["cpu_percent"], 12.5);
}

/// What the node reported, as an operator sees it: with the CLI, and over HTTP page by page or for the whole project.
fn reads_back(dev: &Dev, node: &str, config: &Value) {
    let events = dev.cli_json(&["node", "events", "proxy-us-east-1"]);
    let messages = |body: &Value| -> Vec<Value> {
        body["events"].as_array().unwrap().iter().map(|event| event["message"].clone()).collect()
    };
    let reported = ["Proxy started successfully", "Proxy started successfully", "All upstreams healthy"];
    assert_eq!(messages(&events), reported, "{events}");
    let path = format!("/api/v1/projects/demo/nodes/{node}/events");
    let page = dev.api("GET", &format!("{path}?limit=2"), None);
    assert_eq!(messages(&page.body), reported[..2], "{}", page.text);
    let rest = dev.api("GET", &format!("{path}?after={}", page.body["next"].as_str().unwrap()), None);
    assert_eq!((messages(&rest.body), &rest.body["next"]), (vec![json!(reported[2])], &Value::Null), "{}", rest.text);
    let metrics = dev.cli_json(&["node", "metrics", node]);
    let shown = &metrics["metrics"][0];
    assert_eq!((&shown["values"]["request_count"], &shown["verified"]), (&json!(1500), &json!(false)), "{metrics}");
    let all = dev.api("GET", "/api/v1/projects/demo/waf-events", None);
    let shown = &all.body["waf_events"][0];
    assert_eq!((&shown["node_id"], &shown["rule_id"]), (&json!(node), &json!("942100")), "{}", all.text);
    let before = dev.api("GET", "/api/v1/projects/demo/events?until=2026-01-01T00:00:00Z", None);
    assert_eq!((before.status, &before.body["events"]), (200, &json!([])), "{}", before.text);
    let output = dev.cli(&["node", "config", "proxy-us-east-1"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), config.as_str().unwrap(), "{output:?}");
}

#[test]
fn credentials_are_checked_as_the_document_says() {
    let dev = Dev::start();
    let (node, other) = (Node::register(&dev, "a"), Node::register(&dev, "b"));
    let beat = |header: &str| post(&dev, &node.path("heartbeat"), header, &json!({}));
    let missing = beat("X-Test: 1");
    assert_eq!(missing.status, 401);
    assert!(missing.body["error"].as_str().unwrap().starts_with("Missing authentication. Provide"), "{}", missing.text);
    let wrong = beat("X-Zentinel-Node-Key: wrong");
    assert_eq!((wrong.status, &wrong.body["error"]), (401, &json!("Invalid node key")));
    assert_eq!(beat(&other.key()).status, 403, "another node's key");
    let garbage = beat("Authorization: Bearer garbage");
    assert_eq!((garbage.status, &garbage.body["error"]), (401, &json!("Authentication failed")));
    let token = post(&dev, &other.path("token"), &other.key(), &json!({}));
    let bearer = format!("Authorization: Bearer {}", token.body["token"].as_str().unwrap());
    assert_eq!(beat(&bearer).status, 403, "another node's token");
    let (head, signature) = bearer.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    assert_eq!(beat(&forged).status, 401);

    assert!(dev.cli(&["node", "delete", &node.id, "--yes"]).status.success());
    let deleted = beat(&node.key());
    assert_eq!(deleted.status, 401, "{}", deleted.text);
    let again = Node::register(&dev, "a");
    assert_ne!(again.id, node.id, "the name is free again");
    let gone = post(&dev, "/api/v1/nodes/not-an-id/heartbeat", &node.key(), &json!({}));
    assert_eq!(gone.status, 404, "{}", gone.text);
}

#[test]
fn an_offer_leads_to_the_bytes_it_names_and_ranges_work() {
    let dev = Dev::start();
    let node = Node::register(&dev, "a");
    assert_eq!(post(&dev, &node.path("heartbeat"), &node.key(), &json!({})).status, 200);
    crate::rollout::compile(&dev, "v1", SAMPLE);
    let bundle = dev.cli_json(&["bundle", "show", "v1"])["bundle"].clone();
    crate::rollout::start_rollout(&dev, &json!({"bundle_id": bundle["id"]}));
    let offer = eventually("an offer", || {
        let poll = dev.curl(&["-H", &node.key()], &node.path("bundles/latest"));
        if poll.body["bundle_id"].is_string() { Ok(poll.body) } else { Err(poll.text) }
    });
    assert_eq!((&offer["bundle_id"], &offer["checksum"]), (&bundle["id"], &bundle["checksum"]));
    let url = offer["download_url"].as_str().unwrap();
    let file = dev.dir.path().join("archive");
    let out = file.to_str().unwrap();
    let fetch = |arguments: &[&str], url: &str| {
        let status = std::process::Command::new("curl")
            .args(["-s", "-o", out, "-w", "%{http_code}"])
            .args(arguments)
            .arg(url)
            .output()
            .unwrap();
        (String::from_utf8(status.stdout).unwrap(), std::fs::read(&file).unwrap_or_default())
    };
    let (status, whole) = fetch(&[], url);
    assert_eq!((status.as_str(), whole.len() as u64), ("200", offer["size_bytes"].as_u64().unwrap()));
    let sum = std::process::Command::new("sha256sum").arg(&file).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    assert_eq!(format!("sha256:{}", sum.split_whitespace().next().unwrap()), offer["checksum"]);
    let (status, part) = fetch(&["-r", "10-19"], url);
    assert_eq!((status.as_str(), part.as_slice()), ("206", &whole[10..20]));
    assert_eq!(fetch(&["-r", "999999999-"], url).0, "416");
    assert_eq!(fetch(&[], &url.replace("signature=", "signature=A")).0, "403");
    let other_time = url.replace("expires=", "expires=9");
    assert_eq!(fetch(&[], &other_time).0, "403");
    // What the node reports ends the offer.
    let beat = json!({"active_bundle_id": bundle["id"]});
    assert_eq!(post(&dev, &node.path("heartbeat"), &node.key(), &beat).status, 200);
    let poll = dev.curl(&["-H", &node.key()], &node.path("bundles/latest"));
    assert_eq!(poll.text, r#"{"no_update":true,"poll_after_s":30}"#);
}

#[test]
fn the_second_port_speaks_tls_1_3_alone() {
    let dev = Dev::start();
    let url = format!("{}/health", dev.file.get("https_url"));
    let ca = dev.file.get("ca_cert");
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new("curl").args(["-sS"]).args(arguments).arg(&url).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, body) = run(&["--cacert", ca, "--tlsv1.3"]);
    assert_eq!((code, body.contains("ok")), (Some(0), true), "{body}");
    assert_ne!(run(&["--cacert", ca, "--tls-max", "1.2"]).0, Some(0), "TLS 1.2 is refused");
    assert_ne!(run(&[]).0, Some(0), "the CA is Pilothouse's own");
}
