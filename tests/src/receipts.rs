//! Receipts: real agents sign what they activated, operators read and verify it, and what nobody signed leaves no fact.

use crate::harness::{Dev, Facts, SAMPLE, eventually};
use crate::rollout::{agents, compile, wait_online};
use contract::ErrorCode;
use serde_json::{Value, json};

/// A heartbeat of the node in the agent's own name.
fn beat(dev: &Dev, credentials: &Value, receipt: &Value) -> (u16, Value) {
    let key = format!("X-Zentinel-Node-Key: {}", credentials["node_key"].as_str().unwrap());
    let body = json!({ "receipt": receipt }).to_string();
    let call = ["-X", "POST", "-H", &key, "-H", "Content-Type: application/json", "--data-binary", &body];
    let reply = dev.curl(&call, &format!("/api/v1/nodes/{}/heartbeat", credentials["node_id"].as_str().unwrap()));
    (reply.status, reply.body)
}

fn count(dev: &Dev, outcome: &str) -> u64 {
    let metrics = dev.curl(&[], "/metrics").text;
    let name = format!("pilothouse_activation_receipts_total{{outcome=\"{outcome}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

/// The receipts of a node as the CLI tells them, once there is one.
fn receipts(dev: &Dev, node: &str) -> Vec<Value> {
    eventually("the node has a receipt", || {
        let body = dev.cli_json(&["node", "receipts", node]);
        let receipts = body["receipts"].as_array().unwrap().clone();
        if receipts.is_empty() { Err(dev.log_tail()) } else { Ok(receipts) }
    })
}

#[test]
fn every_activation_has_a_receipt_and_no_forgery_becomes_one() {
    let dev = Dev::start();
    let mut facts = Facts::subscribe(&dev);
    let mut agents = agents(&dev, 2);
    wait_online(&dev, 2);
    compile(&dev, "v1", SAMPLE);
    let bundle = dev.cli_json(&["bundle", "show", "v1"])["bundle"].clone();
    let output = dev.cli(&["rollout", "create", "--bundle", "v1", "--strategy", "all_at_once", "--watch"]);
    assert!(output.status.success(), "{output:?}\n{}", dev.log_tail());
    let mut kept = Vec::new();
    for agent in &agents {
        let receipts = receipts(&dev, &agent.name);
        assert_eq!(receipts.len(), 1, "{receipts:?}");
        let receipt = receipts[0].clone();
        assert_eq!((&receipt["verified"], &receipt["bundle_id"]), (&json!(true), &bundle["id"]));
        let node = dev.cli_json(&["node", "show", &agent.name])["node"].clone();
        assert_eq!((&receipt["public_key"], &receipt["node_id"]), (&node["public_key"], &node["id"]));
        assert_eq!(receipt["public_key"], agent.credentials()["public_key"]);
        let fact = facts.wait_for(&format!("node.{}.activation_receipt", node["id"].as_str().unwrap()));
        assert_eq!(fact["actor"], json!(format!("node:{}", node["id"].as_str().unwrap())));
        assert_eq!(fact["data"]["payload"], receipt["payload"], "the fact alone proves it");
        kept.push(receipt);
    }
    let table = String::from_utf8(dev.cli(&["node", "receipts", "proxy-1"]).stdout).unwrap();
    assert!(table.lines().next().unwrap().ends_with("VERIFIED") && table.trim_end().ends_with("yes"), "{table}");

    // Beats of their own would repeat nothing, and make the counts hard to tell.
    agents.iter_mut().for_each(|agent| agent.kill9());
    let (mine, other) = (agents[0].credentials(), &kept[1]);
    let receipt = |payload: &Value, signature: &Value, key: &Value| json!({"payload": payload, "signature": signature, "public_key": key});
    let genuine = receipt(&kept[0]["payload"], &kept[0]["signature"], &kept[0]["public_key"]);
    let forged = [
        receipt(&kept[0]["payload"], &other["signature"], &kept[0]["public_key"]),
        receipt(&other["payload"], &kept[0]["signature"], &kept[0]["public_key"]),
        receipt(&other["payload"], &other["signature"], &other["public_key"]),
        receipt(&json!("e30"), &kept[0]["signature"], &kept[0]["public_key"]),
    ];
    let (dropped, repeated) = (count(&dev, "dropped"), count(&dev, "repeated"));
    for receipt in &forged {
        assert_eq!(beat(&dev, &mine, receipt).0, 200, "the heartbeat counts all the same");
    }
    assert_eq!(beat(&dev, &mine, &genuine).0, 200);
    assert_eq!((count(&dev, "dropped") - dropped, count(&dev, "repeated") - repeated), (4, 1));
    let (status, refused) = beat(&dev, &mine, &json!({"payload": 7}));
    assert_eq!((status, refused["code"].as_str()), (422, Some(ErrorCode::ValidationFailed.as_str())), "{refused}");
    let marker = dev.api("POST", "/api/v1/projects", Some(&json!({"slug": "marker"})));
    assert_eq!(marker.status, 201);
    facts.wait_for("project.marker.created");
    let all = facts.subjects().into_iter().filter(|subject| subject.ends_with(".activation_receipt")).count();
    assert_eq!(all, 2, "{:?}", facts.subjects());
}
