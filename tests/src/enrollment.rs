//! A host's whole way in and out again, walked by an independent client written in Python: nothing of it is ours but the
//! document that both follow.

use crate::harness::{Dev, Facts, Host, PATIENCE, eventually};
use crate::subscribers::environment;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a revocation may take to end a live connection.
const REVOKED_WITHIN: Duration = Duration::from_secs(1);

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The Python host.
struct Client {
    state: PathBuf,
}

/// A step that takes its time.
struct Step(Child, BufReader<ChildStdout>);

impl Client {
    fn new(dev: &Dev, id: &str) -> Client {
        let client = Client { state: dev.dir.path().join(format!("{id}.json")) };
        let dev_file = dev.data_dir().join("dev.json");
        client.step("new", &[dev_file.to_str().unwrap(), id]).last();
        client
    }

    fn step(&self, name: &str, arguments: &[&str]) -> Step {
        let mut command = Command::new(environment().join("bin/python"));
        command.arg(here("enroll.py")).arg(name).arg(&self.state).args(arguments);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Step(child, lines)
    }

    fn run(&self, name: &str) -> Value {
        self.step(name, &[]).last()
    }
}

impl Step {
    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("the client said {line:?}: {e}"))
    }

    /// What it says at its end.
    fn last(mut self) -> Value {
        let answer = self.next();
        assert!(self.0.wait().unwrap().success(), "{answer}");
        answer
    }
}

fn state(dev: &Dev, id: &str) -> String {
    dev.cli_json(&["enroll", "show", id])["state"].as_str().unwrap().to_owned()
}

#[test]
fn an_independent_host_walks_the_whole_way() {
    let mut dev = Dev::start();
    let mut facts = Facts::subscribe(&dev);
    let client = Client::new(&dev, "web-01");
    let made = client.run("enroll");
    assert_eq!((&made["status"], &made["body"]["state"]), (&json!(201), &json!("pending")));
    let id = made["body"]["id"].as_str().unwrap().to_owned();
    assert_eq!(client.run("enroll")["body"]["message"], "Enrollment already pending.");
    let mut waiting = client.step("wait", &[]);
    assert_eq!(waiting.next()["heard"], "pending");
    assert_eq!(client.run("creds")["status"], 403);

    let listed = dev.cli_json(&["enroll", "list"]);
    let found = &listed["enrollments"][0];
    assert_eq!(
        (&found["id"], &found["peel_id"], &found["hostname"]),
        (&json!(id), &json!("web-01"), &json!("web-01.example"))
    );
    let wrong = dev.cli(&["enroll", "approve", &id, "--fingerprint", "SHA256:x"]);
    assert_eq!(wrong.status.code(), Some(5), "{}", String::from_utf8_lossy(&wrong.stderr));
    let fingerprint = found["fingerprint"].as_str().unwrap();
    let approve = ["enroll", "approve", &id, "--fingerprint", fingerprint, "--project", "demo", "--label", "env=prod"];
    assert_eq!(dev.cli_json(&approve)["state"], "approved");
    assert_eq!(waiting.last()["states"], json!(["pending", "approved"]));

    let creds = client.run("creds");
    assert_eq!(creds["status"], 200, "{creds}");
    assert_eq!(client.run("creds")["status"], 403);
    let talk = client.run("talk");
    assert_eq!(talk, json!({"heard": "pilothouse.node.v1.web-01.echo", "denied": 4}));
    eventually("the host is active", || match state(&dev, &id).as_str() {
        "active" => Ok(()),
        other => Err(other.to_owned()),
    });
    let node = &creds["body"]["node"];
    let beat = |dev: &Dev| {
        let key = format!("X-Zentinel-Node-Key: {}", node["node_key"].as_str().unwrap());
        let path = format!("/api/v1/nodes/{}/heartbeat", node["node_id"].as_str().unwrap());
        dev.curl(&["-X", "POST", "-H", &key], &path).status
    };
    assert_eq!(beat(&dev), 200);
    assert_eq!(dev.cli_json(&["node", "show", "web-01"])["node"]["labels"], json!({"env": "prod"}));

    let mut staying = client.step("stay", &[]);
    assert_eq!(staying.next()["connected"], true);
    let began = Instant::now();
    let revoked = dev.cli_json(&["enroll", "revoke", &id, "--reason", "decommissioned", "--yes"]);
    assert_eq!((&revoked["state"], &revoked["revoke_reason"]), (&json!("revoked"), &json!("decommissioned")));
    assert_eq!(beat(&dev), 401, "the node's credentials end with it");
    assert_eq!(staying.last()["ended"], true);
    let took = began.elapsed();
    assert!(took < REVOKED_WITHIN + Duration::from_secs(2), "thrown out after {took:?}");
    assert_eq!(client.run("login")["connected"], false);
    assert_eq!(client.run("enroll")["status"], 403, "its key is blocked");
    for event in ["submitted", "approved", "issued", "activated", "revoked"] {
        facts.wait_for(&format!("enrollment.web-01.{event}"));
    }
    drop(facts);
    dev.kill9();
    dev.restart(&[]);
    assert_eq!(client.run("login")["connected"], false, "neither server has forgotten");
    assert_eq!(beat(&dev), 401);
    assert_eq!(state(&dev, &id), "revoked");
}

#[test]
fn rules_let_a_fleet_in_and_a_join_token_makes_room_behind_one_address() {
    let rules = "id=web-* cidr=127.0.0.0/8 project=demo label=env=auto";
    let dev = Dev::start_with(&[("PILOTHOUSE_ENROLLMENT_AUTO_APPROVE", rules)]);
    let token = dev.cli_json(&["token", "create", "--name", "rack"]);
    let header = format!("X-Pilothouse-Join-Token: {}", token["token"].as_str().unwrap());
    for n in 0..12 {
        let host = Host::new(&format!("web-{n}"));
        let nonce = dev.tls_curl(&["-H", &header], &host.nonce_path());
        assert_eq!(nonce.status, 200, "the address alone has ten: {}", nonce.text);
    }
    let host = Host::new("web-a");
    let id = host.enroll(&dev);
    let approved = || dev.tls_curl(&["-H", &header], &format!("/api/v1/enroll/{id}/status"));
    eventually("a rule approves", || match approved() {
        reply if reply.body["state"] == "approved" => Ok(()),
        reply => Err(reply.text),
    });
    let creds = host.creds(&dev, &id);
    assert_eq!((creds.status, creds.body["node"]["project"].as_str()), (200, Some("demo")), "{}", creds.text);
    assert!(host.creds_file(&creds.body).contains("BEGIN NATS USER JWT"));
}

/// As many as a person waits for; the long form looks at the 99th of a hundred.
fn revocations() -> usize {
    if std::env::var_os("PILOTHOUSE_TEST_LONG").is_some() { 100 } else { 10 }
}

#[test]
fn a_revocation_ends_connections_and_credentials_within_a_second() {
    let limits = [("PILOTHOUSE_LIMITS_ENROLLMENT_PER_MIN", "100000"), ("PILOTHOUSE_LIMITS_ENROLLMENT_BURST", "100000")];
    let dev = Dev::start_with(&limits);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut thrown_out, mut refused) = (Vec::new(), Vec::new());
    for n in 0..revocations() {
        let host = Host::new(&format!("web-{n}"));
        let id = host.enroll(&dev);
        let approve =
            dev.tls_api("POST", &format!("/api/v1/enrollments/{id}/approve"), Some(&json!({"project": "demo"})));
        assert_eq!(approve.status, 200, "{}", approve.text);
        let creds = host.creds(&dev, &id);
        let node = &creds.body["node"];
        let (ended, end) = std::sync::mpsc::channel();
        let options = async_nats::ConnectOptions::with_credentials(&host.creds_file(&creds.body)).unwrap();
        let options = options.event_callback(move |event| {
            let ended = ended.clone();
            async move {
                if matches!(event, async_nats::Event::Disconnected) {
                    // Whoever listened may have heard enough.
                    let _ = ended.send(Instant::now());
                }
            }
        });
        let client = runtime.block_on(options.connect(dev.file.get("nats_url"))).unwrap();
        let began = Instant::now();
        assert_eq!(dev.tls_api("POST", &format!("/api/v1/enrollments/{id}/revoke"), None).status, 200);
        let key = format!("X-Zentinel-Node-Key: {}", node["node_key"].as_str().unwrap());
        let path = format!("/api/v1/nodes/{}/heartbeat", node["node_id"].as_str().unwrap());
        assert_eq!(dev.curl(&["-X", "POST", "-H", &key], &path).status, 401);
        refused.push(began.elapsed());
        thrown_out.push(end.recv_timeout(PATIENCE).expect("still connected").saturating_duration_since(began));
        drop(client);
    }
    // With few runs beside other tests, the middle one says more than the slowest.
    let place = if thrown_out.len() < 100 { thrown_out.len() / 2 } else { thrown_out.len() * 99 / 100 - 1 };
    for times in [&mut thrown_out, &mut refused] {
        times.sort();
        assert!(times[place] < REVOKED_WITHIN, "{times:?}");
    }
}

#[test]
fn a_replica_that_dies_between_the_steps_loses_none_of_them() {
    let mut dev = Dev::start();
    let host = Host::new("web-01");
    let id = host.enroll(&dev);
    dev.kill9();
    dev.restart(&[]);
    assert_eq!(host.try_enroll(&dev).body["id"], json!(id), "the request is there");
    assert_eq!(dev.cli_json(&["enroll", "approve", &id])["state"], "approved");
    dev.kill9();
    dev.restart(&[]);
    let proof = format!("Authorization: {}", host.proof(&id));
    let path = format!("/api/v1/enroll/{id}/creds");
    let keyed = ["-H", &proof, "-H", "Idempotency-Key: k"];
    let first = dev.tls_curl(&keyed, &path);
    assert_eq!(first.status, 200, "{}", first.text);
    dev.kill9();
    dev.restart(&[]);
    let again = dev.tls_curl(&keyed, &path);
    assert_eq!((again.status, again.body), (200, first.body), "a lost answer is given again");
    assert_eq!(dev.tls_curl(&["-H", &proof], &path).status, 403);
    assert_eq!(dev.curl(&[], "/api/v1/enroll/nonce").status, 404, "not without TLS");
}
