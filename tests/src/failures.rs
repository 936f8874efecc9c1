//! What goes wrong on nodes: the rollout halts, and what ran before goes on running.

use crate::harness::{Agent, Dev, SAMPLE, eventually};
use crate::rollout::{compile, start_rollout, wait_online, wait_state};
use serde_json::{Value, json};

/// Registers a node that never asks for anything but beats once, and returns its id.
fn silent_node(dev: &Dev, name: &str) -> String {
    let body = json!({"name": name}).to_string();
    let reply = dev.curl(
        &["-X", "POST", "-H", "Content-Type: application/json", "--data-binary", &body],
        "/api/v1/projects/demo/nodes/register",
    );
    assert_eq!(reply.status, 201, "{}", reply.text);
    let (id, key) = (reply.body["node_id"].as_str().unwrap(), reply.body["node_key"].as_str().unwrap());
    let beat = dev.curl(
        &[
            "-X",
            "POST",
            "-H",
            &format!("X-Zentinel-Node-Key: {key}"),
            "-H",
            "Content-Type: application/json",
            "-d",
            "{}",
        ],
        &format!("/api/v1/nodes/{id}/heartbeat"),
    );
    assert_eq!(beat.status, 200, "{}", beat.text);
    id.to_owned()
}

fn bundle_id(dev: &Dev, version: &str) -> Value {
    dev.cli_json(&["bundle", "show", version])["bundle"]["id"].clone()
}

#[test]
fn a_bundle_whose_command_fails_halts_the_rollout_and_earlier_nodes_keep_running() {
    let dev = Dev::start();
    // Fails for version v2 alone, and only on the second node.
    let fails = "test \"$PILOTHOUSE_BUNDLE_VERSION\" != v2 || { echo 'no such upstream' >&2; exit 3; }";
    let good = Agent::start(&dev, "proxy-1", &["/bin/true"]);
    let bad = Agent::start(&dev, "proxy-2", &["/bin/sh", "-c", fails]);
    let last = Agent::start(&dev, "proxy-3", &["/bin/true"]);
    wait_online(&dev, 3);
    compile(&dev, "v1", SAMPLE);
    let second = SAMPLE.replace("9000", "9001");
    compile(&dev, "v2", &second);
    let output = dev.cli(&["rollout", "create", "--bundle", "v1", "--strategy", "all_at_once", "--watch"]);
    assert!(output.status.success(), "{output:?}");

    let id = start_rollout(&dev, &json!({"bundle_id": bundle_id(&dev, "v2"), "batch_size": 1}));
    let paused = wait_state(&dev, &id, &["paused", "completed", "failed"]);
    assert_eq!(paused["rollout"]["state"], "paused", "{paused}");
    assert_eq!(paused["rollout"]["error"]["reason"], "activation_failed", "{paused}");
    assert!(paused["rollout"]["error"]["message"].as_str().unwrap().contains("no such upstream"), "{paused}");
    assert_eq!(paused["progress"]["active"], 1, "{paused}");
    assert_eq!(good.current_config().unwrap(), second, "the first node took it and keeps it");
    assert_eq!(bad.current_config().unwrap(), SAMPLE, "the second fell back");
    assert_eq!(last.current_config().unwrap(), SAMPLE, "the third was never asked");
    let node = dev.cli_json(&["node", "show", "proxy-2"]);
    assert_eq!(node["node"]["active_bundle_id"], bundle_id(&dev, "v1"), "{node}");

    let cancelled = dev.cli(&["rollout", "cancel", &id]);
    assert!(cancelled.status.success(), "{cancelled:?}");
    wait_state(&dev, &id, &["cancelled"]);
}

#[test]
fn an_agent_that_never_answers_ends_the_rollout_at_its_deadline() {
    let dev = Dev::start();
    let first = Agent::start(&dev, "proxy-1", &["/bin/true"]);
    wait_online(&dev, 1);
    let silent = silent_node(&dev, "proxy-2");
    compile(&dev, "v1", SAMPLE);
    let id = start_rollout(
        &dev,
        &json!({"bundle_id": bundle_id(&dev, "v1"), "batch_size": 1, "progress_deadline_seconds": 4}),
    );
    let failed = wait_state(&dev, &id, &["failed", "completed", "cancelled"]);
    assert_eq!(failed["rollout"]["state"], "failed", "{failed}");
    assert_eq!(failed["rollout"]["error"]["reason"], "step_deadline_exceeded", "{failed}");
    assert_eq!(failed["rollout"]["error"]["node_ids"], json!([silent]), "{failed}");
    assert_eq!(first.current_config().unwrap(), SAMPLE, "the first node keeps what it took");
}

#[test]
fn a_silent_node_goes_offline_and_comes_back_on_its_next_beat() {
    let dev =
        Dev::start_with(&[("PILOTHOUSE_NODES_OFFLINE_AFTER_S", "3"), ("PILOTHOUSE_NODES_HEARTBEAT_INTERVAL_S", "1")]);
    let mut agent = Agent::start(&dev, "proxy-1", &["/bin/true"]);
    wait_online(&dev, 1);
    agent.kill9();
    eventually("the node is offline", || {
        let node = dev.cli_json(&["node", "show", "proxy-1"]);
        if node["node"]["status"] == "offline" { Ok(()) } else { Err(node.to_string()) }
    });
    agent.restart();
    wait_online(&dev, 1);
}

#[test]
fn pause_holds_offers_back_and_resume_lets_the_rollout_complete() {
    let dev = Dev::start();
    let mut agents = crate::rollout::agents(&dev, 2);
    wait_online(&dev, 2);
    compile(&dev, "v1", SAMPLE);
    // Nobody can take the second step before the pause: its agent is stopped.
    agents[1].kill9();
    let id = start_rollout(&dev, &json!({"bundle_id": bundle_id(&dev, "v1"), "batch_size": 1}));
    eventually("the second step began", || {
        let body = crate::rollout::rollout_state(&dev, &id);
        if body["steps"].as_array().is_some_and(|steps| steps.len() == 2) { Ok(()) } else { Err(body.to_string()) }
    });
    assert!(dev.cli(&["rollout", "pause", &id]).status.success());
    agents[1].restart();
    wait_online(&dev, 2);
    assert!(agents[1].current_config().is_err(), "a paused rollout offers nothing");
    let again = dev.cli(&["rollout", "pause", &id]);
    assert_eq!(again.status.code(), Some(5), "{again:?}");
    assert!(dev.cli(&["rollout", "resume", &id]).status.success());
    let done = wait_state(&dev, &id, &["completed", "failed", "cancelled"]);
    assert_eq!(done["rollout"]["state"], "completed", "{done}");
}
