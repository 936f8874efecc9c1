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

/// It returns while another rollout has it, which then leaves it where it was.
#[tokio::test]
async fn a_node_that_returned_into_a_rollout_that_failed_gets_what_it_missed() {
    let stage = Stage::start().await;
    let mut fleet = fleet(&stage, 2).await;
    let (first, second) = (stage.bundle("v1").await, stage.bundle("v2").await);
    stage.goes_offline(fleet[1].identity.id).await;
    let rollout = stage.rollout(json!({"bundle_id": first})).await;
    live_until(&stage, &mut fleet[..1], &rollout, "completed").await;
    let following = stage.rollout(json!({"bundle_id": second})).await;
    fleet[1].idle = true;
    fleet[1].live(&stage).await;
    assert_eq!(stage.count("rollout.late_assigned").await, 0, "the other rollout would take it along");
    assert_eq!(stage.ask(Operation::RolloutCancel).id(&following).send().await.status, 200);
    fleet[1].idle = false;
    let deadline = std::time::Instant::now() + super::stage::PATIENCE;
    while fleet[1].running.as_ref() != Some(&first) {
        assert!(std::time::Instant::now() < deadline);
        fleet[1].live(&stage).await;
    }
    assert_eq!(stage.count("rollout.late_assigned").await, 1);
}

/// The bundle that everybody went back to is not replaced by the one that was missed meanwhile.
#[tokio::test]
async fn what_was_missed_twice_is_settled_by_the_newer_one() {
    let stage = Stage::start().await;
    let mut fleet = fleet(&stage, 2).await;
    let (old, new) = (stage.bundle("v1").await, stage.bundle("v2").await);
    let before = stage.rollout(json!({"bundle_id": old, "batch_size": 2})).await;
    live_until(&stage, &mut fleet, &before, "completed").await;
    stage.goes_offline(fleet[1].identity.id).await;
    for bundle in [&new, &old] {
        let rollout = stage.rollout(json!({"bundle_id": bundle})).await;
        live_until(&stage, &mut fleet[..1], &rollout, "completed").await;
    }
    fleet[1].live(&stage).await;
    let last = stage.rollout(json!({"bundle_id": old, "batch_size": 2})).await;
    live_until(&stage, &mut fleet, &last, "completed").await;
    assert_eq!(fleet[1].running.as_ref(), Some(&old));
    assert_eq!(stage.count("rollout.late_assigned").await, 0);
}

#[tokio::test]
async fn many_that_return_to_two_replicas_are_each_assigned_once() {
    let stage = Stage::start().await;
    let other = stage.beside().await;
    let mut fleet = fleet(&stage, 12).await;
    let bundle = stage.bundle("v1").await;
    for node in &fleet[1..] {
        stage.goes_offline(node.identity.id).await;
    }
    let rollout = stage.rollout(json!({"bundle_id": bundle})).await;
    live_until(&stage, &mut fleet[..1], &rollout, "completed").await;
    let deadline = std::time::Instant::now() + super::stage::PATIENCE;
    while fleet.iter().any(|node| node.running.is_none()) {
        assert!(std::time::Instant::now() < deadline);
        let (here, there) = fleet.split_at_mut(6);
        tokio::join!(
            async {
                for node in here {
                    node.live(&stage).await
                }
            },
            async {
                for node in there {
                    node.live(&other).await
                }
            },
        );
    }
    let assigned: Vec<_> = stage
        .events()
        .await
        .into_iter()
        .filter_map(|event| match event {
            domain::Event::Rollout(domain::rollout::Event::LateAssigned(late)) => Some(late.node_ids),
            _ => None,
        })
        .flatten()
        .collect();
    let distinct: std::collections::BTreeSet<_> = assigned.iter().collect();
    assert_eq!((assigned.len(), distinct.len()), (11, 11));
}
