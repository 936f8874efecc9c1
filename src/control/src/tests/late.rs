//! Nodes that return after a rollout went on without them.

use super::engine::{fleet, live_until};
use super::stage::Stage;
use contract::Operation;
use serde_json::json;

#[tokio::test]
async fn a_deferred_node_gets_the_bundle_when_it_returns() {
    let stage = Stage::start().await;
    let other = stage.beside().await;
    let mut fleet = fleet(&stage, 2).await;
    let bundle = stage.bundle("v1").await;
    stage.goes_offline(fleet[1].identity.id).await;
    let rollout = stage.rollout(json!({"bundle_id": bundle})).await;
    let shown = live_until(&stage, &mut fleet[..1], &rollout, "completed").await;
    assert_eq!((&shown["nodes"][1]["state"], &shown["nodes"][1]["reason"]), (&json!("deferred"), &json!("is offline")));
    let deadline = std::time::Instant::now() + super::stage::PATIENCE;
    while fleet[1].running.is_none() {
        assert!(std::time::Instant::now() < deadline);
        fleet[1].live(&stage).await;
    }
    assert_eq!(fleet[1].running.as_ref(), Some(&bundle));
    other.control.wait_for(stage.control.position()).await.unwrap();
    assert_eq!(stage.count("rollout.late_assigned").await, 1, "two replicas saw it return");
    let detail = stage.ask(Operation::RolloutShow).id(&rollout).send().await.body;
    assert_eq!(detail["rollout"]["state"], "completed");
}

#[tokio::test]
async fn who_asked_to_ignore_late_joiners_gets_none() {
    let stage = Stage::start().await;
    let mut fleet = fleet(&stage, 2).await;
    let (bundle, next) = (stage.bundle("v1").await, stage.bundle("v2").await);
    stage.goes_offline(fleet[1].identity.id).await;
    let rollout = stage.rollout(json!({"bundle_id": bundle, "late_joiners": "ignore"})).await;
    live_until(&stage, &mut fleet[..1], &rollout, "completed").await;
    fleet[1].live(&stage).await;
    let following = stage.rollout(json!({"bundle_id": next, "batch_size": 2})).await;
    live_until(&stage, &mut fleet, &following, "completed").await;
    assert_eq!(stage.count("rollout.late_assigned").await, 0);
    assert_eq!(fleet[1].running.as_ref(), Some(&next));
}
