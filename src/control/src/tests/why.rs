//! Nodes of a rollout page by page, and why nothing happens.

use super::engine::{fleet, live_until};
use super::stage::Stage;
use contract::Operation;
use serde_json::{Value, json};

#[tokio::test]
async fn the_nodes_of_a_rollout_are_told_page_by_page() {
    let stage = Stage::start().await;
    let mut fleet = fleet(&stage, 4).await;
    let bundle = stage.bundle("v1").await;
    let rollout = stage.rollout(json!({"bundle_id": bundle, "batch_size": 4})).await;
    live_until(&stage, &mut fleet, &rollout, "completed").await;
    for name in ["n1", "n2"] {
        assert_eq!(stage.ask(Operation::NodeDelete).id(name).send().await.status, 204);
    }
    let (mut told, mut after) = (Vec::new(), None::<String>);
    loop {
        let mut asking = stage.ask(Operation::RolloutShow).id(&rollout).query("limit", "1");
        if let Some(after) = &after {
            asking = asking.query("after", after);
        }
        let body = asking.send().await.body;
        assert_eq!(body["nodes_total"], 4);
        told.extend(body["nodes"].as_array().unwrap().iter().map(|node| (node["name"].clone(), node["state"].clone())));
        match body["nodes_next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => break,
        }
    }
    let [first, last, gone] = [json!("n0"), json!("n3"), Value::Null];
    let active = |name: &Value| (name.clone(), json!("active"));
    assert_eq!(told, [active(&first), active(&last), active(&gone), active(&gone)], "what it achieved stays told");
    for (field, value) in [("after", "~x"), ("after", "-"), ("limit", "0")] {
        let wrong = stage.ask(Operation::RolloutShow).id(&rollout).query(field, value).send().await;
        assert_eq!((wrong.status, wrong.body["error"].get(field).is_some()), (422, true), "{}", wrong.body);
    }
}

#[tokio::test]
async fn why_tells_what_is_waited_for_and_the_facts_behind_it() {
    let stage = Stage::start().await;
    let mut fleet = fleet(&stage, 2).await;
    let why = async |operation, id: &str| stage.ask(operation).id(id).send().await.body;
    assert_eq!(why(Operation::NodeWhy, "n0").await["predicate"], "nothing_assigned");
    fleet[0].idle = true;
    let bundle = stage.bundle("v1").await;
    let rollout = stage.rollout(json!({"bundle_id": bundle})).await;
    let views = stage.control.views();
    let started = || views.read().rollouts.live().any(|rollout| !rollout.steps.is_empty());
    stage.until("a step starts", started).await;
    let told = why(Operation::RolloutWhy, &rollout).await;
    assert_eq!((&told["predicate"], &told["nodes_total"]), (&json!("nodes_pending"), &json!(1)), "{told}");
    assert_eq!(told["sentence"], "step 0: n0 to report the bundle");
    let node = &told["nodes"][0];
    assert_eq!((&node["name"], &node["says"]), (&json!("n0"), &json!("runs nothing and has not reported the bundle")));
    assert_eq!(node["assigned_position"], told["position"], "the step is the newest fact");
    assert!(node["status_position"].as_u64() < node["assigned_position"].as_u64());
    assert!(told["next_deadline"].is_string());
    let waits = why(Operation::NodeWhy, "n1").await;
    assert_eq!((&waits["predicate"], &waits["rollout_id"]), (&json!("waits_for_step"), &json!(rollout)));
    fleet[0].stubborn = true;
    live_until(&stage, &mut fleet, &rollout, "paused").await;
    let told = why(Operation::RolloutWhy, &rollout).await;
    assert_eq!((&told["predicate"], &told["cause"]["reason"]), (&json!("paused"), &json!("activation_failed")));
    assert!(told["nodes"][0]["failed_position"].as_u64() > told["nodes"][0]["assigned_position"].as_u64());
    assert_eq!(why(Operation::NodeWhy, "n0").await["predicate"], "activation_failed");
}
