//! The main loop: a configuration goes from an operator to running nodes, and the rollout completes on what they report.

use crate::harness::{Agent, Dev, Facts, SAMPLE, eventually};
use serde_json::{Value, json};

/// Writes a configuration and compiles it with the CLI.
pub fn compile(dev: &Dev, version: &str, source: &str) -> Value {
    let file = dev.dir.path().join(format!("{version}.kdl"));
    std::fs::write(&file, source).unwrap();
    dev.cli_json(&["bundle", "create", version, "--file", file.to_str().unwrap()])
}

/// Agents whose command notes in a file which bundle it was run for.
pub fn agents(dev: &Dev, count: usize) -> Vec<Agent> {
    let note = "echo $PILOTHOUSE_BUNDLE_VERSION >> \"$PILOTHOUSE_BUNDLE_DIR/../../activations\"";
    (1..=count).map(|i| Agent::start(dev, &format!("proxy-{i}"), &["/bin/sh", "-c", note])).collect()
}

pub fn wait_online(dev: &Dev, count: u64) {
    eventually("the nodes are online", || {
        let stats = dev.api("GET", "/api/v1/projects/demo/nodes/stats", None);
        if stats.body["online"] == count { Ok(()) } else { Err(stats.text) }
    });
}

pub fn rollout_state(dev: &Dev, id: &str) -> Value {
    dev.api("GET", &format!("/api/v1/projects/demo/rollouts/{id}"), None).body
}

/// Waits until the rollout's state is one of `states`.
pub fn wait_state(dev: &Dev, id: &str, states: &[&str]) -> Value {
    eventually(&format!("the rollout becomes one of {states:?}"), || {
        let body = rollout_state(dev, id);
        let state = body["rollout"]["state"].as_str().unwrap_or_default().to_owned();
        if states.contains(&state.as_str()) { Ok(body) } else { Err(body.to_string()) }
    })
}

pub fn start_rollout(dev: &Dev, body: &Value) -> String {
    let reply = dev.api("POST", "/api/v1/projects/demo/rollouts", Some(body));
    assert_eq!(reply.status, 201, "{}", reply.text);
    reply.body["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_rolling_rollout_completes_on_what_the_nodes_report() {
    let dev = Dev::start();
    let mut facts = Facts::subscribe(&dev);
    let agents = agents(&dev, 3);
    wait_online(&dev, 3);
    let bundle = compile(&dev, "v1", SAMPLE);
    let bundle_id = bundle["id"].as_str().or(bundle["bundle"]["id"].as_str()).unwrap().to_owned();
    let id = start_rollout(&dev, &json!({"bundle_id": bundle_id, "batch_size": 1}));
    let done = wait_state(&dev, &id, &["completed", "failed", "cancelled"]);
    assert_eq!(done["rollout"]["state"], "completed", "{done}");
    assert_eq!(done["steps"].as_array().unwrap().len(), 3, "one node a step: {done}");
    assert_eq!(done["progress"], json!({"total": 3, "pending": 0, "active": 3, "failed": 0, "deferred": 0}));

    for agent in &agents {
        assert_eq!(agent.current_config().unwrap(), SAMPLE, "{}", agent.name);
        let activations = std::fs::read_to_string(agent.dir.join("activations")).unwrap();
        assert_eq!(activations, "v1\n", "the command of {} ran once", agent.name);
    }
    let completed = facts.wait_for(&format!("rollout.{id}.completed"));
    assert_eq!(completed["type"], "rollout.completed");
    assert_eq!(completed["data"]["updated"], 3);
    assert_eq!(completed["actor"], "system");
    let of = |ending: &str| facts.seen.iter().filter(|(subject, _, _)| subject.ends_with(ending)).count();
    assert_eq!(of(".step_started"), 3, "{:?}", facts.subjects());
    assert_eq!(of(".bundle_switched"), 3, "{:?}", facts.subjects());
    let positions: Vec<u64> = facts.seen.iter().map(|(_, position, _)| *position).collect();
    assert!(positions.is_sorted_by(|a, b| a < b) && positions[0] > 0, "every fact once, in order: {positions:?}");
}

#[test]
fn labels_choose_and_a_later_rollout_moves_on_from_the_first() {
    let dev = Dev::start();
    let agents = agents(&dev, 2);
    wait_online(&dev, 2);
    compile(&dev, "v1", SAMPLE);
    let second = SAMPLE.replace("127.0.0.1:9000", "127.0.0.1:9001");
    compile(&dev, "v2", &second);
    let output = dev.cli(&["rollout", "create", "--bundle", "v1", "--strategy", "all_at_once", "--watch"]);
    assert!(output.status.success(), "{output:?}\n{}", dev.log_tail());
    let output = dev.cli(&["rollout", "create", "--bundle", "v2", "--label", "env=test", "--watch"]);
    assert!(output.status.success(), "{output:?}\n{}", dev.log_tail());
    for agent in &agents {
        assert_eq!(agent.current_config().unwrap(), second);
    }
    let none = dev.cli(&["rollout", "create", "--bundle", "v1", "--label", "env=nowhere"]);
    assert_eq!(none.status.code(), Some(1), "{none:?}");
    assert!(String::from_utf8_lossy(&none.stderr).contains("matches no node"), "{none:?}");
}

#[test]
fn an_agent_serves_its_last_bundle_while_the_control_plane_is_away() {
    let mut dev = Dev::start();
    let mut agents = agents(&dev, 1);
    wait_online(&dev, 1);
    compile(&dev, "v1", SAMPLE);
    let output = dev.cli(&["rollout", "create", "--bundle", "v1", "--watch"]);
    assert!(output.status.success(), "{output:?}");
    dev.kill9();
    agents[0].kill9();
    agents[0].restart();
    eventually("the restarted agent has its bundle", || {
        agents[0].current_config().and_then(|text| if text == SAMPLE { Ok(()) } else { Err(text) })
    });
    dev.restart(&[]);
    wait_online(&dev, 1);
    let node = dev.cli_json(&["node", "show", "proxy-1"]);
    assert_eq!(node["node"]["active_bundle_id"], node["node"]["expected_bundle_id"], "{node}");
}
