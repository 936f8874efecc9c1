//! Rollouts that wait to be started.

use super::engine::{fleet, live_until};
use super::stage::{Stage, code};
use crate::ControlSettings;
use contract::Operation;
use serde_json::{Value, json};

#[tokio::test]
async fn a_pending_rollout_waits_holds_nobody_up_and_runs_once_it_is_started() {
    let stage = Stage::start().await;
    let mut fleet = fleet(&stage, 2).await;
    let bundle = stage.bundle("v1").await;
    let pending = stage.rollout(json!({"bundle_id": bundle, "start": false, "batch_size": 2})).await;
    let shown = stage.ask(Operation::RolloutShow).id(&pending).send().await.body;
    assert_eq!((&shown["rollout"]["state"], &shown["rollout"]["started_at"]), (&json!("pending"), &Value::Null));
    assert_eq!(shown["waiting_for"], "an operator to start or cancel it");
    assert!(shown["next_deadline"].is_string(), "and not for ever: {shown}");
    let listed = stage.ask(Operation::RolloutList).query("state", "pending").send().await.body;
    assert_eq!(listed["total"], 1);

    let other = stage.rollout(json!({"bundle_id": bundle, "batch_size": 2})).await;
    let blocked = stage.ask(Operation::RolloutStart).id(&pending).send().await;
    assert_eq!((blocked.status, code(&blocked)), (409, "conflict"));
    assert!(blocked.body["error"].as_str().unwrap().contains(&other), "{}", blocked.body);
    live_until(&stage, &mut fleet, &other, "completed").await;
    assert_eq!(stage.ask(Operation::RolloutStart).id(&pending).send().await.status, 200);
    let shown = live_until(&stage, &mut fleet, &pending, "completed").await;
    assert!(shown["rollout"]["started_at"].is_string());
    assert_eq!(stage.ask(Operation::RolloutStart).id(&pending).send().await.status, 409);
}

#[tokio::test]
async fn a_pending_rollout_is_cancelled_or_refused_when_its_bundle_went_bad() {
    let stage = Stage::start().await;
    fleet(&stage, 1).await;
    let bundle = stage.bundle("v1").await;
    let body = json!({"bundle_id": bundle, "start": false});
    let (first, second) = (stage.rollout(body.clone()).await, stage.rollout(body).await);
    assert_eq!(stage.ask(Operation::RolloutCancel).id(&first).send().await.body["state"], "cancelled");
    assert_eq!(stage.ask(Operation::BundleRevoke).id(&bundle).send().await.status, 200);
    let answer = stage.ask(Operation::RolloutStart).id(&second).send().await;
    assert_eq!((answer.status, &answer.body["error"]), (409, &json!("Bundle has been revoked")));
}

#[tokio::test]
async fn a_rollout_that_nobody_starts_is_cancelled() {
    let stage = Stage::with(ControlSettings { rollout_pending_max_s: 1, ..ControlSettings::default() }).await;
    fleet(&stage, 1).await;
    let bundle = stage.bundle("v1").await;
    let rollout = stage.rollout(json!({"bundle_id": bundle, "start": false})).await;
    let ended = |rollout: &Value| rollout["state"] == "cancelled";
    let shown = stage.until_shown(Operation::RolloutShow, &rollout, "rollout", ended).await;
    assert_eq!(shown["error"]["reason"], "pending_too_long");
}

/// A start, a start of another one and a creation at the same moment, on two replicas: one of them gets the nodes.
#[tokio::test]
async fn only_one_of_many_begins() {
    let stage = Stage::start().await;
    let other = stage.beside().await;
    fleet(&stage, 1).await;
    let bundle = stage.bundle("v1").await;
    let held = json!({"bundle_id": bundle, "start": false});
    let (first, second) = (stage.rollout(held.clone()).await, stage.rollout(held).await);
    other.control.wait_for(stage.control.position()).await.unwrap();
    let (a, b, c) = tokio::join!(
        stage.ask(Operation::RolloutStart).id(&first).send(),
        other.ask(Operation::RolloutStart).id(&second).send(),
        other.ask(Operation::RolloutCreate).body(json!({"bundle_id": bundle})).send(),
    );
    let statuses = [a.status, b.status, c.status];
    assert_eq!(statuses.iter().filter(|status| **status < 300).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 2, "{statuses:?}");
}
