//! Nodes that wait for their offers, and clients that listen to facts, over the real thing.

use crate::harness::{Agent, Dev, SAMPLE, eventually};
use crate::rollout::{compile, start_rollout, wait_online, wait_state};
use serde_json::json;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Far less than the 30 s between two questions of an agent that does not wait.
const SOON: Duration = Duration::from_secs(15);

fn wait_waiting(dev: &Dev, nodes: usize) {
    let line = format!("pilothouse_nodes_waiting {nodes}\n");
    eventually(&format!("{nodes} nodes wait"), || {
        let text = dev.curl(&[], "/metrics").text;
        if text.contains(&line) { Ok(()) } else { Err(text.lines().filter(|l| l.contains("waiting")).collect()) }
    });
}

#[test]
fn agents_that_wait_get_two_bundles_in_a_row_without_waiting_for_an_interval() {
    let mut dev = Dev::start();
    let agents: Vec<Agent> = (1..=2).map(|i| Agent::start_waiting(&dev, &format!("proxy-{i}"), &[])).collect();
    wait_online(&dev, 2);
    for (version, port) in [("v1", 9000), ("v2", 9001), ("v3", 9002)] {
        let source = SAMPLE.replace("127.0.0.1:9000", &format!("127.0.0.1:{port}"));
        let bundle = compile(&dev, version, &source);
        let id = bundle["id"].as_str().or(bundle["bundle"]["id"].as_str()).unwrap().to_owned();
        wait_waiting(&dev, 2);
        let began = Instant::now();
        let rollout = start_rollout(&dev, &json!({"bundle_id": id, "strategy": "all_at_once"}));
        let done = wait_state(&dev, &rollout, &["completed", "failed", "cancelled"]);
        assert_eq!(done["rollout"]["state"], "completed", "{done}");
        assert!(began.elapsed() < SOON, "{version} took {:?}", began.elapsed());
        assert!(agents.iter().all(|agent| agent.current_config().unwrap() == source), "{version}");
    }
    wait_waiting(&dev, 2);
    let began = Instant::now();
    assert_eq!(dev.stop(), Some(0));
    assert!(began.elapsed() < SOON, "those who wait do not hold up the stop");
}

#[test]
fn a_client_hears_the_facts_of_a_rollout() {
    let dev = Dev::start();
    let _agent = Agent::start_waiting(&dev, "proxy-1", &[]);
    wait_online(&dev, 1);
    let bundle = compile(&dev, "v1", SAMPLE);
    let id = bundle["id"].as_str().or(bundle["bundle"]["id"].as_str()).unwrap().to_owned();
    let heard = dev.dir.path().join("heard");
    let bearer = format!("Authorization: Bearer {}", dev.file.get("api_key"));
    let mut listening = Command::new("curl")
        .args(["-sN", "--max-time", "60", "-H", &bearer, &dev.url("/api/v1/projects/demo/stream?kind=rollout")])
        .stdout(std::fs::File::create(&heard).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let read = || std::fs::read_to_string(&heard).unwrap();
    eventually("the stream is open", || if read().contains("retry: ") { Ok(()) } else { Err(read()) });
    let rollout = start_rollout(&dev, &json!({"bundle_id": id, "strategy": "all_at_once"}));
    eventually("the end is told", || if read().contains("event: rollout.completed\n") { Ok(()) } else { Err(read()) });
    listening.kill().unwrap();
    listening.wait().unwrap();
    let text = read();
    let events: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let expected = ["rollout.created", "rollout.step_started", "rollout.step_completed", "rollout.completed"];
    assert_eq!(events, expected, "{text}");
    assert_eq!(text.matches(&format!(".rollout.{rollout}.")).count(), 4, "{text}");
}
