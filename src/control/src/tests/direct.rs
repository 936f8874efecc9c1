//! Bundles for nodes without a rollout.

use super::engine::{fleet, live_until};
use super::stage::{Stage, code};
use contract::Operation;
use serde_json::json;

#[tokio::test]
async fn a_directly_assigned_bundle_is_offered_and_a_rollout_takes_over() {
    let stage = Stage::start().await;
    let mut fleet = fleet(&stage, 2).await;
    let (first, second) = (stage.bundle("v1").await, stage.bundle("v2").await);
    let ids: Vec<String> = fleet.iter().map(|node| node.identity.id.to_string()).collect();
    let body = json!({"node_ids": [ids[1], ids[1]]});
    let answer = stage.ask(Operation::BundleAssign).id("v1").body(body).send().await;
    assert_eq!((answer.status, answer.body), (200, json!({"assigned": 1})));
    for node in &mut fleet {
        node.live(&stage).await;
    }
    assert_eq!((&fleet[0].running, &fleet[1].running), (&None, &Some(first.clone())));
    let why = stage.ask(Operation::NodeWhy).id("n1").send().await.body;
    assert_eq!((&why["predicate"], &why["assigned_by"]), (&json!("as_desired"), &json!("operator")), "{why}");
    assert_eq!(stage.ask(Operation::BundleDelete).id(&first).send().await.status, 409, "it was deployed");
    let rollout = stage.rollout(json!({"bundle_id": second, "batch_size": 2})).await;
    live_until(&stage, &mut fleet, &rollout, "completed").await;
    assert!(fleet.iter().all(|node| node.running.as_ref() == Some(&second)));
}

#[tokio::test]
async fn what_may_not_be_assigned_is_refused() {
    let stage = Stage::start().await;
    let fleet = fleet(&stage, 1).await;
    let (bundle, revoked) = (stage.bundle("v1").await, stage.bundle("v2").await);
    assert_eq!(stage.ask(Operation::BundleRevoke).id(&revoked).send().await.status, 200);
    let broken = stage.new_bundle("v3", "listeners {").await;
    stage.until_shown(Operation::BundleShow, &broken, "bundle", |bundle| bundle["status"] == "failed").await;
    let id = fleet[0].identity.id.to_string();
    let assign = async |bundle: &str, nodes: &[&str]| {
        stage.ask(Operation::BundleAssign).id(bundle).body(json!({"node_ids": nodes})).send().await
    };
    for (bundle, told) in
        [(&revoked, "Bundle has been revoked"), (&broken, "Bundle must be compiled before assignment")]
    {
        let answer = assign(bundle, &[&id]).await;
        assert_eq!((answer.status, code(&answer), &answer.body["error"]), (409, "conflict", &json!(told)));
    }
    let (_, secret) = stage.join_token(json!({"name": "rack", "approval": true})).await;
    let unapproved = stage.join(&secret, json!({"name": "waits"}), None).await.unwrap().0.node_id;
    let why = stage.ask(Operation::NodeWhy).id("waits").send().await.body;
    assert_eq!(why["predicate"], "waits_for_approval", "{why}");
    let stranger = "01890000-0000-7000-8000-000000000000";
    for nodes in [&[stranger][..], &[&id, stranger], &[&unapproved], &[], &["n0"]] {
        let answer = assign(&bundle, nodes).await;
        assert_eq!((answer.status, answer.body["error"].get("node_ids").is_some()), (422, true), "{}", answer.body);
    }
    let rollout = stage.rollout(json!({"bundle_id": bundle})).await;
    let owned = assign(&bundle, &[&id]).await;
    assert_eq!(owned.status, 409);
    assert!(owned.body["error"].as_str().unwrap().contains(&rollout), "{}", owned.body);
    assert_eq!(stage.ask(Operation::RolloutCancel).id(&rollout).send().await.status, 200);
    assert_eq!(assign(&bundle, &[&id]).await.status, 200);
    assert_eq!(stage.count("bundle.assigned").await, 1);
}
