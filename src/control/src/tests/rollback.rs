//! Rolling back, end to end with nodes that know nothing but the node API.

use super::engine::{fleet, live_until};
use super::stage::{PATIENCE, Stage, code};
use contract::Operation;
use serde_json::{Value, json};
use std::time::Instant;

#[tokio::test]
async fn nodes_go_back_to_what_they_ran() {
    let stage = Stage::start().await;
    let mut fleet = fleet(&stage, 3).await;
    let (old, new) = (stage.bundle("v1").await, stage.bundle("v2").await);
    let first = stage.rollout(json!({"bundle_id": old, "batch_size": 3})).await;
    live_until(&stage, &mut fleet, &first, "completed").await;
    fleet[1].stubborn = true;
    let second = stage.rollout(json!({"bundle_id": new})).await;
    live_until(&stage, &mut fleet, &second, "paused").await;
    assert_eq!(fleet[0].running.as_ref(), Some(&new));
    fleet[1].stubborn = false;

    let answer = stage.ask(Operation::RolloutRollback).id(&second).send().await;
    assert_eq!((answer.status, &answer.body["state"]), (200, &json!("cancelled")), "{}", answer.body);
    let deadline = Instant::now() + PATIENCE;
    let rollback = loop {
        for node in &mut fleet {
            node.live(&stage).await;
        }
        let shown = stage.ask(Operation::RolloutShow).id(&second).send().await.body;
        if shown["rollout"]["rollback"]["state"] != "running" {
            break shown["rollout"]["rollback"].clone();
        }
        assert!(Instant::now() < deadline, "{shown}");
    };
    assert_eq!((&rollback["state"], &rollback["left_node_ids"]), (&json!("completed"), &json!([])));
    assert_eq!(rollback["nodes"], json!({"restored": 2, "pending": 0, "left": 0}), "the third was never assigned");
    assert!(fleet.iter().all(|node| node.running.as_ref() == Some(&old)));
    let node = stage.ask(Operation::NodeShow).id("n0").send().await.body;
    assert_eq!(node["node"]["expected_bundle_id"], json!(old));
    let again = stage.ask(Operation::RolloutRollback).id(&second).send().await;
    assert_eq!((again.status, code(&again)), (409, "conflict"));
    let third = stage.rollout(json!({"bundle_id": new, "batch_size": 3})).await;
    live_until(&stage, &mut fleet, &third, "completed").await;
    let over = stage.ask(Operation::RolloutRollback).id(&third).send().await;
    assert_eq!(over.status, 409);
    assert!(over.body["error"].as_str().unwrap().contains("create a rollout of the older bundle"), "{}", over.body);
}

#[tokio::test]
async fn a_first_bundle_has_nothing_before_it() {
    let stage = Stage::start().await;
    let mut fleet = fleet(&stage, 2).await;
    fleet[1].idle = true;
    let bundle = stage.bundle("v1").await;
    let rollout = stage.rollout(json!({"bundle_id": bundle})).await;
    let deadline = Instant::now() + PATIENCE;
    while stage.ask(Operation::RolloutShow).id(&rollout).send().await.body["steps"].as_array().unwrap().len() < 2 {
        assert!(Instant::now() < deadline);
        for node in &mut fleet {
            node.live(&stage).await;
        }
    }
    assert_eq!(stage.ask(Operation::RolloutRollback).id(&rollout).send().await.status, 200);
    let ended = |rollout: &Value| rollout["rollback"]["state"] == "partial";
    let shown = stage.until_shown(Operation::RolloutShow, &rollout, "rollout", ended).await;
    assert_eq!(shown["rollback"]["nodes"], json!({"restored": 0, "pending": 0, "left": 2}));
    fleet[1].idle = false;
    fleet[1].live(&stage).await;
    assert_eq!(fleet[1].running, None, "what it had not taken is taken back");
}
