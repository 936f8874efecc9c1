//! Two replicas at once, any request to either: no step happens twice, nothing answered is lost, and what one stored the other
//! knows.

use crate::harness::{Agent, Facts, Replicas, SAMPLE, curl, eventually, within};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[test]
fn what_one_replica_stored_the_other_knows_at_once() {
    let two = Replicas::start(2, &[]);
    for i in 0..20 {
        let (one, other) = (i % 2, (i + 1) % 2);
        let body = json!({"name": format!("node-{i}")}).to_string();
        let registered = curl(
            &["-X", "POST", "-H", "Content-Type: application/json", "--data-binary", &body],
            &two.replicas[one].url("/api/v1/projects/demo/nodes/register"),
        );
        assert_eq!(registered.status, 201, "{}", registered.text);
        let (id, key) = (registered.body["node_id"].as_str().unwrap(), registered.body["node_key"].as_str().unwrap());
        let beat = curl(
            &["-X", "POST", "-H", &format!("X-Zentinel-Node-Key: {key}")],
            &two.replicas[other].url(&format!("/api/v1/nodes/{id}/heartbeat")),
        );
        assert_eq!(beat.status, 200, "{}", beat.text);
        let slug = format!("project-{i}");
        let created = two.api(one, "POST", "/api/v1/projects", &[], Some(&json!({"slug": slug})));
        assert_eq!(created.status, 201, "{}", created.text);
        let shown = two.api(other, "GET", &format!("/api/v1/projects/{slug}/nodes"), &[], None);
        assert_eq!(shown.status, 200, "{}", shown.text);
    }
}

#[test]
fn a_read_with_the_writes_position_sees_it_on_the_other_replica() {
    let two = Replicas::start(2, &[]);
    for i in 0..10 {
        let (one, other) = (i % 2, (i + 1) % 2);
        let version = format!("v{i}");
        let body = json!({"version": version, "config_source": SAMPLE});
        let created = two.api(one, "POST", "/api/v1/projects/demo/bundles", &[], Some(&body));
        assert_eq!(created.status, 201, "{}", created.text);
        let position = two.cli(&["bundle", "show", &version, "-o", "json"]);
        assert!(position.status.success(), "{position:?}");
        let id = created.body["id"].as_str().unwrap();
        let shown = two.api(other, "GET", &format!("/api/v1/projects/demo/bundles/{id}"), &[], None);
        assert_eq!(shown.body["bundle"]["version"], version.as_str(), "{}", shown.text);
    }
    let far = two.api(0, "GET", "/api/v1/projects/demo/nodes?min_position=99999999", &[], None);
    assert_eq!(far.status, 400, "a position that nobody has reached: {}", far.text);
}

#[test]
fn a_rollout_over_two_replicas_takes_every_step_once_though_one_is_killed() {
    let mut two = Replicas::start(2, &[]);
    let mut facts = Facts::follow(&two.nats_url(), &two.creds());
    let agents: Vec<Agent> = (0..4)
        .map(|i| {
            let url = two.replicas[i % 2].url("");
            Agent::start_at(&url, two.dir.path(), &format!("proxy-{i}"), &["/bin/true"])
        })
        .collect();
    eventually("four nodes are online", || {
        let stats = two.api(1, "GET", "/api/v1/projects/demo/nodes/stats", &[], None);
        if stats.body["online"] == 4 { Ok(()) } else { Err(stats.text) }
    });
    let file = two.dir.path().join("v1.kdl");
    std::fs::write(&file, SAMPLE).unwrap();
    assert!(two.cli(&["bundle", "create", "v1", "--file", file.to_str().unwrap()]).status.success());
    let created = two.cli(&["rollout", "create", "--bundle", "v1", "--batch-size", "1", "-o", "json"]);
    assert!(created.status.success(), "{created:?}");
    let id = serde_json::from_slice::<Value>(&created.stdout).unwrap()["id"].as_str().unwrap().to_owned();
    facts.wait_for(".step_completed");
    two.kill_replica(0);
    let killed = Instant::now();
    eventually("the other replica goes on", || {
        let body = two.api(1, "GET", &format!("/api/v1/projects/demo/rollouts/{id}"), &[], None).body;
        let moved = body["steps"].as_array().is_some_and(|steps| steps.len() > 1);
        if moved && killed.elapsed() > Duration::from_millis(200) { Ok(()) } else { Err(body.to_string()) }
    });
    two.restart_replica(0, &[]);
    let completed = facts.wait_for(&format!("{id}.completed"));
    assert_eq!(completed["data"]["updated"], 4, "{completed}");
    let mut steps: BTreeMap<u64, usize> = BTreeMap::new();
    for (_, _, fact) in facts.seen.iter().filter(|(subject, _, _)| subject.ends_with(".step_started")) {
        *steps.entry(fact["data"]["step_index"].as_u64().unwrap()).or_default() += 1;
    }
    assert_eq!(steps, BTreeMap::from([(0, 1), (1, 1), (2, 1), (3, 1)]), "{:?}", facts.subjects());
    for agent in &agents {
        assert_eq!(agent.current_config().unwrap(), SAMPLE);
    }
}

/// Whether `cargo xtask test long` asks.
fn is_long() -> bool {
    std::env::var_os("PILOTHOUSE_TEST_LONG").is_some()
}

/// Rounds of the crash test.
fn rounds() -> usize {
    if is_long() { 50 } else { 4 }
}

#[test]
fn every_answered_mutation_is_there_once_though_replicas_are_killed_at_random_moments() {
    let mut two = Replicas::start(2, &[]);
    let mut facts = Facts::follow(&two.nats_url(), &two.creds());
    let urls: Vec<String> = two.replicas.iter().map(|r| r.url("/api/v1/projects/demo/nodes/register")).collect();
    let (stop, next) = (AtomicBool::new(false), AtomicUsize::new(0));
    let answered = std::sync::Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let name = format!("node-{n}");
                    let id = register_somewhere(&urls, n, &name);
                    answered.lock().unwrap().insert(name, id);
                }
            });
        }
        for round in 0..rounds() {
            // Wait for a handful of answers, so that the kill falls into live traffic; which replica varies by round.
            let before = answered.lock().unwrap().len();
            eventually("registrations are answered", || {
                let now = answered.lock().unwrap().len();
                if now >= before + 5 + round % 7 { Ok(()) } else { Err(format!("{now} answered")) }
            });
            two.kill_replica(round % 2);
            two.restart_replica(round % 2, &[]);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let answered = answered.into_inner().unwrap();
    let total = two.api(0, "GET", "/api/v1/projects/demo/nodes/stats", &[], None).body["total"].as_u64().unwrap();
    assert_eq!(total, answered.len() as u64, "every answered node is there, and no other");
    for (name, id) in &answered {
        let fact = facts.wait_for(&format!("node.{id}.registered"));
        assert_eq!(fact["data"]["name"], name.as_str());
    }
    let registered = facts.seen.iter().filter(|(subject, _, _)| subject.ends_with(".registered")).count();
    assert_eq!(registered, answered.len(), "one fact each");
}

/// Registers on one replica, or on the other when that one does not answer; repeats are safe under one key.
fn register_somewhere(urls: &[String], n: usize, name: &str) -> String {
    let (body, key) = (json!({"name": name}).to_string(), format!("Idempotency-Key: {name}"));
    let mut attempt = n;
    eventually("a replica answers", || {
        attempt += 1;
        let reply = curl(
            &["-X", "POST", "-H", "Content-Type: application/json", "-H", &key, "--data-binary", &body],
            &urls[attempt % urls.len()],
        );
        match (reply.status, reply.body["node_id"].as_str()) {
            (201, Some(id)) => Ok(id.to_owned()),
            (0 | 503 | 429, _) => Err(reply.text),
            _ => panic!("{name}: {} {}", reply.status, reply.text),
        }
    })
}

#[test]
fn an_outage_of_everything_makes_no_node_offline() {
    let settings = [("PILOTHOUSE_NODES_OFFLINE_AFTER_S", "4"), ("PILOTHOUSE_NODES_HEARTBEAT_INTERVAL_S", "1")];
    let mut two = Replicas::start(2, &settings);
    let url = two.replicas[0].url("");
    let mut agents: Vec<Agent> =
        (0..3).map(|i| Agent::start_at(&url, two.dir.path(), &format!("proxy-{i}"), &["/bin/true"])).collect();
    let online = |two: &Replicas| {
        let stats = two.api(1, "GET", "/api/v1/projects/demo/nodes/stats", &[], None);
        if stats.body["online"] == 3 { Ok(()) } else { Err(stats.text) }
    };
    eventually("three nodes are online", || online(&two));
    // Everything stands still for longer than the offline time. The agents stop too: how long they wait before they try again
    // is not what is measured here.
    agents.iter_mut().for_each(Agent::kill9);
    two.kill_replica(0);
    two.kill_replica(1);
    two.nats[0].kill9();
    // In the long form until nothing is left of the heartbeats: PULSE keeps ten minutes.
    let outage = Duration::from_secs(if is_long() { 620 } else { 6 });
    let down = Instant::now();
    within(outage + Duration::from_secs(5), "the outage is over", || {
        if down.elapsed() > outage { Ok(()) } else { Err(format!("{:?}", down.elapsed())) }
    });
    two.nats[0].restart();
    two.restart_replica(0, &settings);
    two.restart_replica(1, &settings);
    agents.iter_mut().for_each(Agent::restart);
    let watched = Instant::now();
    eventually("the agents beat again for longer than the offline time", || {
        if watched.elapsed() > Duration::from_secs(6) { online(&two) } else { Err(String::new()) }
    });
    let offline = two.count_facts("fleet.*.*.node.*.offline");
    assert_eq!(offline, 0, "no false offline");
    assert!(two.count_facts("fleet.*.*.node.*.online") >= 3, "facts are counted at all");
}

#[test]
fn the_production_profile_refuses_to_run_on_less_than_it_expects() {
    let one = Replicas::start(1, &[]);
    let refused = |settings: &[(&str, &str)]| {
        let output = one.serve_once(&[&[("PILOTHOUSE_STORAGE_PROFILE", "production")], settings].concat());
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let settings = [("PILOTHOUSE_STORAGE_REPLICAS", "1"), ("PILOTHOUSE_NATS_MONITOR_CREDS", "")];
    let unknown = refused(&settings);
    assert!(unknown.contains("nats.monitor_creds is empty"), "{unknown}");
    let drift = refused(&[("PILOTHOUSE_STORAGE_REPLICAS", "3"), ("PILOTHOUSE_STORAGE_EXPECTED_REPLICAS", "3")]);
    assert!(drift.contains("the streams are not as declared"), "{drift}");
}
