//! What those see who watch the process: metrics that any scraper reads, one line in the log for each request, and no secret
//! in either.

mod exposition;

use crate::harness::{Agent, Dev, SAMPLE, eventually};
use crate::rollout::{compile, start_rollout, wait_online, wait_state};
use exposition::Exposition;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const JSON_LOG: (&str, &str) = ("PILOTHOUSE_LOG_FORMAT", "json");
const ALL_LOG: (&str, &str) = ("PILOTHOUSE_LOG_LEVEL", "debug");
/// Series of one replica: fixed by the table of routes.
const SERIES_MAX: usize = 2_000;

fn scrape(dev: &Dev) -> Exposition {
    let reply = dev.curl(&[], "/metrics");
    assert_eq!(reply.status, 200);
    Exposition::parse(&reply.text).unwrap_or_else(|e| panic!("{e}\n{}", reply.text))
}

fn register(dev: &Dev, name: &str) -> (String, String) {
    let body = json!({"name": name}).to_string();
    let arguments = ["-X", "POST", "-H", "Content-Type: application/json", "--data-binary", &body];
    let reply = dev.curl(&arguments, "/api/v1/projects/demo/nodes/register");
    assert_eq!(reply.status, 201, "{}", reply.text);
    let text = |field: &str| reply.body[field].as_str().unwrap().to_owned();
    (text("node_id"), text("node_key"))
}

fn beat(dev: &Dev, id: &str, key: &str) {
    let header = format!("X-Zentinel-Node-Key: {key}");
    let reply = dev.curl(&["-X", "POST", "-H", &header], &format!("/api/v1/nodes/{id}/heartbeat"));
    assert_eq!(reply.status, 200, "{}", reply.text);
}

/// Every line of the log as an object.
fn log_lines(dev: &Dev) -> Vec<Value> {
    let text = std::fs::read_to_string(dev.dir.path().join("dev.log")).unwrap();
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let lines: Vec<Value> = text.lines().map(parse).collect();
    for line in &lines {
        let has = |name: &str| line[name].is_string();
        assert!(line.is_object() && has("timestamp") && has("level") && has("message") && has("target"), "{line}");
    }
    lines
}

#[test]
fn metrics_are_well_formed_counted_and_bounded() {
    let dev = Dev::start();
    let (id, key) = register(&dev, "proxy-1");
    let before = scrape(&dev);
    let (list, path) = ("/api/v1/projects/{slug}/nodes", "/api/v1/projects/demo/nodes");
    beat(&dev, &id, &key);
    for _ in 0..3 {
        assert_eq!(dev.api("GET", path, None).status, 200);
    }
    assert_eq!(dev.curl(&[], path).status, 401);
    // Nothing that a client sends becomes a label.
    for i in 0..50 {
        let strange = format!("/api/v1/projects/secret-{i}/nodes");
        assert_eq!(dev.api("GET", &strange, None).status, 404);
        dev.curl(&["-X", &format!("BREW{i}")], &format!("/nowhere-{i}"));
    }
    let after = scrape(&dev);
    let grown = |name: &str, labels: &[(&str, &str)]| after.value(name, labels) - before.value(name, labels);
    let requests = "pilothouse_http_requests_total";
    assert_eq!(grown(requests, &[("route", list), ("method", "GET"), ("status", "2xx")]), 3.0);
    assert_eq!(grown(requests, &[("route", list), ("method", "GET"), ("status", "4xx")]), 51.0);
    assert_eq!(grown(requests, &[("route", "unmatched"), ("method", "any"), ("status", "4xx")]), 50.0);
    assert_eq!(grown("pilothouse_http_request_duration_seconds_count", &[("route", list), ("method", "GET")]), 54.0);
    assert!(grown("pilothouse_http_connections_total", &[("scheme", "http")]) >= 105.0);
    assert_eq!(after.value("pilothouse_fleet_nodes", &[("status", "online")]), 1.0);
    assert!(after.value("pilothouse_views_position", &[]) > 0.0);

    assert_eq!(before.series(), after.series(), "requests make no series");
    assert!(after.series().len() < SERIES_MAX, "{} series", after.series().len());
    for (name, value) in after.label_values() {
        let template = value.starts_with('/');
        assert!(template || value.len() <= 20, "{name}={value:?} is no value of a fixed list");
        assert!(!value.contains(&id) && !value.contains("secret"), "{name}={value:?}");
    }
}

#[test]
fn every_request_is_one_line_and_frequent_ones_are_none() {
    let dev = Dev::start_with(&[JSON_LOG]);
    let (id, key) = register(&dev, "proxy-1");
    for _ in 0..5 {
        beat(&dev, &id, &key);
        assert_eq!(dev.curl(&[], "/health").status, 200);
    }
    let bearer = format!("Authorization: Bearer {}", dev.file.get("api_key"));
    let cases: [(&[&str], &str, &str, &str, u64); 5] = [
        (&["-H", &bearer], "/api/v1/projects/demo/nodes?limit=1", "GET", "/api/v1/projects/{slug}/nodes", 200),
        (&["-H", &bearer], "/api/v1/projects/nowhere/nodes", "GET", "/api/v1/projects/{slug}/nodes", 404),
        (&["-H", "Authorization: Bearer guess"], "/api/v1/api-keys", "GET", "/api/v1/api-keys", 401),
        (&["-X", "POST", "-H", &bearer], "/api/v1/projects", "POST", "/api/v1/projects", 422),
        (&["-X", "BREW"], "/nowhere", "other", "unmatched", 404),
    ];
    for (arguments, path, method, route, status) in cases {
        let request_id = request_id(&dev, arguments, path);
        let found = eventually("the line of the request", || {
            let lines = log_lines(&dev);
            let of = lines.into_iter().filter(|line| line["request_id"] == request_id.as_str()).collect::<Vec<_>>();
            if of.is_empty() { Err("none".to_owned()) } else { Ok(of) }
        });
        let served: Vec<&Value> = found.iter().filter(|line| line["message"] == "request served").collect();
        assert_eq!(served.len(), 1, "{path}: {found:?}");
        let line = served[0];
        assert_eq!((&line["method"], &line["route"], &line["status"]), (&json!(method), &json!(route), &json!(status)));
        assert!(line["level"] == "INFO" && line["duration_ms"].is_number(), "{line}");
    }
    let created = dev.api("POST", "/api/v1/projects", Some(&json!({"slug": "logged"})));
    assert_eq!(created.status, 201);
    let lines = log_lines(&dev);
    let line = lines.iter().find(|line| line["route"] == "/api/v1/projects" && line["status"] == 201);
    assert!(line.is_some_and(|line| line["position"].is_string()), "a mutation's line says where its fact stands");
    for line in &lines {
        let route = line["route"].as_str().unwrap_or_default();
        assert!(!route.ends_with("/heartbeat") && route != "/health" && route != "/ready", "{line}");
        assert!(!line.to_string().contains("nowhere"), "what a client chose is not repeated: {line}");
    }
}

fn request_id(dev: &Dev, arguments: &[&str], path: &str) -> String {
    let output = std::process::Command::new("curl")
        .args(["-s", "-D", "-", "-o", "/dev/null"])
        .args(arguments)
        .arg(dev.url(path))
        .output()
        .unwrap();
    let head = String::from_utf8(output.stdout).unwrap();
    let value = head.lines().find_map(|line| line.strip_prefix("x-request-id: "));
    value.unwrap_or_else(|| panic!("no request id in {head}")).trim().to_owned()
}

#[test]
fn no_secret_reaches_the_log_or_the_metrics() {
    let dev = Dev::start_with(&[JSON_LOG, ALL_LOG]);
    let agent = Agent::start(&dev, "proxy-1", &["/bin/true"]);
    wait_online(&dev, 1);
    let (id, key) = register(&dev, "proxy-2");
    beat(&dev, &id, &key);
    compile(&dev, "v1", SAMPLE);
    let bundle = dev.cli_json(&["bundle", "show", "v1"])["bundle"]["id"].clone();
    let rollout = start_rollout(&dev, &json!({"bundle_id": bundle, "strategy": "all_at_once"}));
    let mut secrets = secrets_of(&dev);
    secrets.insert(key.clone());
    let header = format!("X-Zentinel-Node-Key: {key}");
    let offer = eventually("an offer", || {
        let poll = dev.curl(&["-H", &header], &format!("/api/v1/nodes/{id}/bundles/latest"));
        poll.body["download_url"].as_str().map(str::to_owned).ok_or(poll.text)
    });
    secrets.insert(offer.rsplit_once("signature=").unwrap().1.to_owned());
    let path = offer.strip_prefix(dev.file.get("http_url")).unwrap();
    assert_eq!(dev.curl(&["-o", "/dev/null"], path).text, "");
    assert_eq!(dev.curl(&[], &path.replace("signature=", "signature=A")).status, 403);
    let token = dev.curl(&["-X", "POST", "-H", &header], &format!("/api/v1/nodes/{id}/token")).body;
    secrets.insert(token["token"].as_str().unwrap().to_owned());
    let made = dev.api("POST", "/api/v1/api-keys", Some(&json!({"name": "ci", "scopes": ["nodes:read"]}))).body;
    secrets.insert(made["key"].as_str().unwrap().to_owned());
    // Wrong credentials are somebody's right ones, mistyped.
    let almost = format!("{}x", made["key"].as_str().unwrap());
    let wrong = [format!("Authorization: Bearer {almost}"), format!("X-Zentinel-Node-Key: {almost}")];
    assert_eq!(dev.curl(&["-H", &wrong[0]], "/api/v1/projects").status, 401);
    assert_eq!(dev.curl(&["-H", &wrong[1]], &format!("/api/v1/nodes/{id}/bundles/latest")).status, 401);
    assert_eq!(dev.curl(&["-H", &wrong[0]], &format!("/api/v1/nodes/{id}/bundles/latest")).status, 401);
    let report = json!({"active_bundle_id": bundle}).to_string();
    let report = ["-X", "POST", "-H", &header, "-H", "Content-Type: application/json", "-d", &report];
    assert_eq!(dev.curl(&report, &format!("/api/v1/nodes/{id}/heartbeat")).status, 200);
    wait_state(&dev, &rollout, &["completed"]);
    let credentials = std::fs::read_to_string(agent.dir.join("credentials.json")).unwrap();
    let credentials: Value = serde_json::from_str(&credentials).unwrap();
    secrets.insert(credentials["node_key"].as_str().unwrap().to_owned());
    assert!(secrets.len() > 10, "few secrets were found: {}", secrets.len());

    log_lines(&dev);
    let metrics = dev.curl(&[], "/metrics").text;
    let said =
        ["dev.log", "dev.out", "proxy-1.log"].map(|file| std::fs::read_to_string(dev.dir.path().join(file)).unwrap());
    for (text, place) in
        said.iter().chain([&metrics]).zip(["the log", "standard output", "the agent's log", "the metrics"])
    {
        for secret in &secrets {
            // The panic does not show it either.
            assert!(!text.contains(secret.as_str()), "{place} holds a secret of {} characters", secret.len());
        }
        assert!(!text.contains("signature=") && !text.contains("Bearer "), "{place} holds a credential");
    }
}

/// Words of the files that nobody else may read, and the API key.
fn secrets_of(dev: &Dev) -> BTreeSet<String> {
    let mut secrets = BTreeSet::from([dev.file.get("api_key").to_owned()]);
    collect(&dev.data_dir().join("installation"), &mut secrets);
    secrets
}

fn collect(dir: &Path, secrets: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            collect(&entry.path(), secrets);
        } else if metadata.permissions().mode() & 0o077 == 0 {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            secrets.extend(text.split_whitespace().filter(|word| is_secret(word)).map(str::to_owned));
        }
    }
}

/// Seeds, JWTs, keys in hex or base64; not the public keys beside them, nor the lines around them.
fn is_secret(word: &str) -> bool {
    let is_seed =
        word.len() == 58 && word.starts_with('S') && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let is_hex = word.len() == 64 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let is_base64 = word.len() >= 60 && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=-_.".contains(&b));
    is_seed || is_hex || is_base64
}
