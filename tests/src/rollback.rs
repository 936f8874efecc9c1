//! Rollouts that wait, that are taken back, and nodes that come late: with the real agents.

use crate::harness::{Agent, Dev, Facts, SAMPLE, eventually};
use crate::rollout::{agents, compile, rollout_state, start_rollout, wait_online, wait_state};
use serde_json::{Value, json};

fn bundle_id(dev: &Dev, version: &str) -> Value {
    dev.cli_json(&["bundle", "show", version])["bundle"]["id"].clone()
}

fn runs(agent: &Agent, config: &str) {
    eventually(&format!("{} runs it", agent.name), || {
        agent.current_config().and_then(|text| if text == config { Ok(()) } else { Err(text) })
    });
}

#[test]
fn a_rollback_brings_every_node_back() {
    let dev = Dev::start();
    let mut facts = Facts::subscribe(&dev);
    let good = Agent::start(&dev, "proxy-1", &["/bin/true"]);
    let fails = "test \"$PILOTHOUSE_BUNDLE_VERSION\" != v2 || exit 3";
    let bad = Agent::start(&dev, "proxy-2", &["/bin/sh", "-c", fails]);
    wait_online(&dev, 2);
    compile(&dev, "v1", SAMPLE);
    let second = SAMPLE.replace("9000", "9001");
    compile(&dev, "v2", &second);
    let output = dev.cli(&["rollout", "create", "--bundle", "v1", "--watch"]);
    assert!(output.status.success(), "{output:?}");
    let id = start_rollout(&dev, &json!({"bundle_id": bundle_id(&dev, "v2"), "batch_size": 1}));
    wait_state(&dev, &id, &["paused"]);
    runs(&good, &second);
    let why = dev.cli_json(&["rollout", "why", &id]);
    assert_eq!((&why["predicate"], &why["nodes"][0]["name"]), (&json!("paused"), &json!("proxy-2")), "{why}");

    let refused = dev.cli(&["rollout", "rollback", &id]);
    assert_ne!(refused.status.code(), Some(0), "nobody said yes: {refused:?}");
    let output = dev.cli(&["rollout", "rollback", &id, "--yes"]);
    assert!(output.status.success(), "{output:?}");
    facts.wait_for(&format!("rollout.{id}.rollback_ended"));
    runs(&good, SAMPLE);
    runs(&bad, SAMPLE);
    let body = rollout_state(&dev, &id);
    assert_eq!(body["rollout"]["state"], "cancelled", "{body}");
    assert_eq!(body["rollout"]["rollback"]["state"], "completed", "{body}");
    assert_eq!(body["rollout"]["rollback"]["nodes"], json!({"restored": 2, "pending": 0, "left": 0}), "{body}");
    let node = dev.cli_json(&["node", "why", "proxy-1"]);
    assert_eq!((&node["predicate"], &node["assigned_by"]), (&json!("as_desired"), &json!("rollback")), "{node}");
    let again = dev.cli(&["rollout", "rollback", &id, "--yes"]);
    assert_eq!(again.status.code(), Some(5), "{again:?}");
}

#[test]
fn a_pending_rollout_runs_when_it_is_started() {
    let dev = Dev::start();
    let agents = agents(&dev, 1);
    wait_online(&dev, 1);
    compile(&dev, "v1", SAMPLE);
    let created = dev.cli_json(&["rollout", "create", "--bundle", "v1", "--no-start"]);
    let id = created["id"].as_str().unwrap();
    assert_eq!((&created["state"], &created["started_at"]), (&json!("pending"), &Value::Null), "{created}");
    assert_eq!(dev.cli_json(&["rollout", "start", id])["state"], "running");
    wait_state(&dev, id, &["completed"]);
    runs(&agents[0], SAMPLE);
    let shown = dev.cli_json(&["rollout", "show", id, "--nodes"]);
    assert_eq!((&shown["nodes"][0]["name"], &shown["nodes"][0]["state"]), (&json!("proxy-1"), &json!("active")));
}

#[test]
fn a_node_that_was_away_gets_the_bundle_when_it_returns() {
    let dev =
        Dev::start_with(&[("PILOTHOUSE_NODES_OFFLINE_AFTER_S", "3"), ("PILOTHOUSE_NODES_HEARTBEAT_INTERVAL_S", "1")]);
    let mut agents = agents(&dev, 2);
    wait_online(&dev, 2);
    compile(&dev, "v1", SAMPLE);
    agents[1].kill9();
    eventually("the node is offline", || {
        let node = dev.cli_json(&["node", "show", "proxy-2"]);
        if node["node"]["status"] == "offline" { Ok(()) } else { Err(node.to_string()) }
    });
    let id = start_rollout(&dev, &json!({"bundle_id": bundle_id(&dev, "v1")}));
    let done = wait_state(&dev, &id, &["completed", "failed"]);
    assert_eq!((&done["rollout"]["state"], &done["progress"]["active"]), (&json!("completed"), &json!(1)), "{done}");
    agents[1].restart();
    runs(&agents[1], SAMPLE);
}

#[test]
fn a_bundle_is_assigned_without_a_rollout() {
    let dev = Dev::start();
    let agents = agents(&dev, 2);
    wait_online(&dev, 2);
    compile(&dev, "v1", SAMPLE);
    let assigned = dev.cli_json(&["bundle", "assign", "v1", "--node", "proxy-2"]);
    assert_eq!(assigned, json!({"assigned": 1}));
    runs(&agents[1], SAMPLE);
    assert!(agents[0].current_config().is_err(), "the other one was not meant");
}
