//! kill -9 of the control plane and of nats-server: what was answered is there afterwards, once, and a rollout goes on.

use crate::harness::{Dev, SAMPLE, eventually};
use crate::rollout::{agents, compile, rollout_state, start_rollout, wait_online, wait_state};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::json;

#[test]
fn a_rollout_goes_on_after_the_control_plane_and_nats_server_were_killed() {
    let mut dev = Dev::start();
    let agents = agents(&dev, 3);
    wait_online(&dev, 3);
    let bundle = compile(&dev, "v1", SAMPLE);
    let bundle_id = bundle["id"].as_str().or(bundle["bundle"]["id"].as_str()).unwrap().to_owned();
    let id = start_rollout(&dev, &json!({"bundle_id": bundle_id, "batch_size": 1}));
    let steps_begun = |dev: &Dev, count: usize| {
        eventually(&format!("step {count} began"), || {
            let body = rollout_state(dev, &id);
            let begun = body["steps"].as_array().map_or(0, Vec::len);
            if begun >= count { Ok(()) } else { Err(body.to_string()) }
        });
    };
    steps_begun(&dev, 1);
    dev.kill9();
    dev.restart(&[]);
    steps_begun(&dev, 2);
    kill_process(Pid::from_raw(dev.nats_pid()).unwrap(), Signal::KILL).unwrap();
    let done = wait_state(&dev, &id, &["completed", "failed", "cancelled"]);
    assert_eq!(done["rollout"]["state"], "completed", "{done}\n{}", dev.log_tail());
    assert_eq!(done["steps"].as_array().unwrap().len(), 3, "no step happened twice: {done}");
    for agent in &agents {
        assert_eq!(agent.current_config().unwrap(), SAMPLE);
        let activations = std::fs::read_to_string(agent.dir.join("activations")).unwrap();
        assert_eq!(activations, "v1\n", "{} activated once", agent.name);
    }
}

#[test]
fn what_was_answered_survives_kill_9_and_repeats_are_recognised() {
    let mut dev = Dev::start();
    let mut answered = Vec::new();
    for round in 0..3 {
        for i in 0..20 {
            let name = format!("node-{round}-{i}");
            answered.push((name.clone(), register(&dev, &name, &name)));
        }
        if round == 1 {
            kill_process(Pid::from_raw(dev.nats_pid()).unwrap(), Signal::KILL).unwrap();
        } else {
            dev.kill9();
            dev.restart(&[]);
        }
    }
    eventually("every answered node is there", || {
        let stats = dev.api("GET", "/api/v1/projects/demo/nodes/stats", None);
        if stats.body["total"] == answered.len() as u64 { Ok(()) } else { Err(stats.text) }
    });
    for (name, id) in answered.iter().step_by(7) {
        assert_eq!(&register(&dev, name, name), id, "a repeat gives the first answer");
    }
    let stats = dev.api("GET", "/api/v1/projects/demo/nodes/stats", None);
    assert_eq!(stats.body["total"], answered.len() as u64, "and no second node");
}

/// Returns the id of the node, new or repeated.
fn register(dev: &Dev, name: &str, idempotency_key: &str) -> String {
    let (body, key) = (json!({"name": name}).to_string(), format!("Idempotency-Key: {idempotency_key}"));
    // While nats-server starts anew the answer is 503, and repeating with the same key is what it says to do.
    eventually("the registration is answered", || {
        let reply = dev.curl(
            &["-X", "POST", "-H", "Content-Type: application/json", "-H", &key, "--data-binary", &body],
            "/api/v1/projects/demo/nodes/register",
        );
        match reply.body["node_id"].as_str() {
            Some(id) if reply.status == 201 => Ok(id.to_owned()),
            _ => Err(format!("{} {}", reply.status, reply.text)),
        }
    })
}

#[test]
fn dev_leaves_no_process_behind() {
    let mut dev = Dev::start();
    let nats = dev.nats_pid();
    assert_eq!(dev.stop(), Some(0), "{}", dev.log_tail());
    let gone = |pid: i32| {
        eventually("nats-server is gone", || match test_kill_process(Pid::from_raw(pid).unwrap()) {
            Ok(()) => Err(format!("process {pid} runs")),
            Err(_) => Ok(()),
        });
    };
    gone(nats);
    dev.restart(&[]);
    let nats = dev.nats_pid();
    dev.kill9();
    gone(nats);
}
