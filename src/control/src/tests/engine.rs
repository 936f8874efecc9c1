//! The rollout engine, end to end with nodes that know nothing but the node API.

use super::stage::{BASE_URL, PATIENCE, Stage, code};
use crate::{ControlSettings, NodeIdentity};
use contract::{LatestBundle, Operation};
use serde_json::{Value, json};
use std::time::Instant;

pub(super) struct Fake {
    pub identity: NodeIdentity,
    pub running: Option<String>,
    /// Says of every bundle that it does not work.
    pub stubborn: bool,
    /// Looks at offers and takes none.
    pub idle: bool,
}

pub(super) async fn fleet(stage: &Stage, count: usize) -> Vec<Fake> {
    let mut fleet = Vec::new();
    for n in 0..count {
        let (identity, _) = stage.node(&format!("n{n}")).await;
        stage.beat(&identity, json!({"health": {"status": "healthy"}})).await.unwrap();
        fleet.push(Fake { identity, running: None, stubborn: false, idle: false });
    }
    fleet
}

impl Fake {
    pub async fn live(&mut self, stage: &Stage) {
        let mut beat = json!({"health": {"status": "healthy"}});
        if let LatestBundle::Offer(offer) = stage.control.latest_bundle(&self.identity, BASE_URL).await.unwrap() {
            if self.stubborn {
                beat["activation"] =
                    json!({"bundle_id": offer.bundle_id, "status": "failed", "error": "it does not start"});
            } else if !self.idle {
                self.running = Some(offer.bundle_id);
            }
        }
        if let Some(running) = &self.running {
            beat["active_bundle_id"] = json!(running);
        }
        stage.beat(&self.identity, beat).await.unwrap();
    }
}

/// Lets the fleet live until the rollout is in `state`.
pub(super) async fn live_until(stage: &Stage, fleet: &mut [Fake], rollout: &str, state: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        for node in fleet.iter_mut() {
            node.live(stage).await;
        }
        let shown = stage.ask(Operation::RolloutShow).id(rollout).send().await.body;
        if shown["rollout"]["state"] == state {
            return shown;
        }
        assert!(Instant::now() < deadline, "not {state}: {shown}");
    }
}

async fn change(stage: &Stage, operation: Operation, rollout: &str) -> u16 {
    stage.ask(operation).id(rollout).send().await.status
}

#[tokio::test]
async fn a_rollout_goes_step_by_step_to_its_end() {
    let stage = Stage::start().await;
    let mut fleet = fleet(&stage, 5).await;
    let bundle = stage.bundle("v1").await;
    let rollout = stage.rollout(json!({"bundle_id": bundle, "batch_size": 2})).await;
    let shown = live_until(&stage, &mut fleet, &rollout, "completed").await;
    let steps = shown["steps"].as_array().unwrap();
    assert_eq!(steps.iter().map(|step| step["node_ids"].as_array().unwrap().len()).collect::<Vec<_>>(), [2, 2, 1]);
    assert!(steps.iter().all(|step| step["state"] == "completed"));
    let progress = json!({"total": 5, "pending": 0, "active": 5, "failed": 0, "deferred": 0});
    assert_eq!(shown["progress"], progress);
    assert!(fleet.iter().all(|node| node.running.as_deref() == Some(bundle.as_str())));
    assert_eq!(stage.count("rollout.step_started").await, 3);
    for operation in [Operation::RolloutPause, Operation::RolloutResume, Operation::RolloutCancel] {
        assert_eq!(change(&stage, operation, &rollout).await, 409, "{}", operation.name());
    }
}

#[tokio::test]
async fn a_failed_activation_pauses_and_an_operator_goes_on() {
    let stage = Stage::start().await;
    let mut fleet = fleet(&stage, 3).await;
    fleet[1].stubborn = true;
    let bundle = stage.bundle("v1").await;
    let rollout = stage.rollout(json!({"bundle_id": bundle})).await;
    let shown = live_until(&stage, &mut fleet, &rollout, "paused").await;
    let error = &shown["rollout"]["error"];
    assert_eq!((&error["reason"], &error["message"]), (&json!("activation_failed"), &json!("it does not start")));
    assert_eq!(error["node_ids"], json!([fleet[1].identity.id.to_string()]));
    assert_eq!(shown["waiting_for"], "an operator to resume or cancel it");
    assert_eq!(fleet[2].running, None, "nobody after it was touched");
    fleet[1].stubborn = false;
    assert_eq!(change(&stage, Operation::RolloutResume, &rollout).await, 200);
    let shown = live_until(&stage, &mut fleet, &rollout, "completed").await;
    assert_eq!(shown["steps"][1]["attempt"], 1);
}

#[tokio::test]
async fn a_cancelled_rollout_takes_back_what_nobody_took() {
    let stage = Stage::start().await;
    let mut fleet = fleet(&stage, 2).await;
    fleet[1].idle = true;
    let bundle = stage.bundle("v1").await;
    let rollout = stage.rollout(json!({"bundle_id": bundle, "strategy": "all_at_once"})).await;
    let deadline = Instant::now() + PATIENCE;
    while fleet[0].running.is_none() {
        assert!(Instant::now() < deadline);
        for node in &mut fleet {
            node.live(&stage).await;
        }
    }
    assert_eq!(change(&stage, Operation::RolloutCancel, &rollout).await, 200);
    fleet[1].idle = false;
    fleet[1].live(&stage).await;
    assert_eq!(fleet[1].running, None);
    let shown = stage.ask(Operation::NodeShow).id("n1").send().await.body;
    assert_eq!(shown["node"]["expected_bundle_id"], Value::Null);
    let next = stage.rollout(json!({"bundle_id": bundle})).await;
    live_until(&stage, &mut fleet, &next, "completed").await;
}

/// Time alone ends it: no fact and no heartbeat arrives.
#[tokio::test]
async fn a_deadline_passes_in_silence() {
    let stage = Stage::start().await;
    let mut fleet = fleet(&stage, 1).await;
    fleet[0].idle = true;
    let bundle = stage.bundle("v1").await;
    let body = json!({"bundle_id": bundle, "progress_deadline_seconds": 1});
    let rollout = stage.rollout(body).await;
    let failed = |rollout: &Value| rollout["state"] == "failed";
    let shown = stage.until_shown(Operation::RolloutShow, &rollout, "rollout", failed).await;
    assert_eq!(shown["error"]["reason"], "step_deadline_exceeded");
}

#[tokio::test]
async fn a_rollout_that_nobody_resumes_is_cancelled() {
    let stage = Stage::with(ControlSettings { rollout_paused_max_s: 1, ..ControlSettings::default() }).await;
    fleet(&stage, 1).await;
    let bundle = stage.bundle("v1").await;
    let rollout = stage.rollout(json!({"bundle_id": bundle})).await;
    assert_eq!(change(&stage, Operation::RolloutPause, &rollout).await, 200);
    let cancelled = |rollout: &Value| rollout["state"] == "cancelled";
    let shown = stage.until_shown(Operation::RolloutShow, &rollout, "rollout", cancelled).await;
    assert_eq!(shown["error"]["reason"], "paused_too_long");
}

#[tokio::test]
async fn two_rollouts_never_fight_over_a_node() {
    let stage = Stage::start().await;
    let other = stage.beside().await;
    let mut fleet = fleet(&stage, 2).await;
    fleet.iter_mut().for_each(|node| node.idle = true);
    let bundle = stage.bundle("v1").await;
    other.control.wait_for(stage.control.position()).await.unwrap();
    let body = json!({"bundle_id": bundle});
    let on_second = json!({"type": "node_ids", "node_ids": [fleet[1].identity.id.to_string()]});
    let narrow = json!({"bundle_id": bundle, "target_selector": on_second});
    let (first, second) = tokio::join!(
        stage.ask(Operation::RolloutCreate).body(body.clone()).send(),
        other.ask(Operation::RolloutCreate).body(narrow.clone()).send(),
    );
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!((statuses, stage.count("rollout.created").await), ([201, 409], 1));
    let answer = stage.ask(Operation::RolloutCreate).body(body).send().await;
    assert_eq!((answer.status, code(&answer)), (409, "conflict"));
}

#[tokio::test]
async fn a_selector_that_means_nobody_is_refused() {
    let stage = Stage::start().await;
    let bundle = stage.bundle("v1").await;
    let stranger = "01890000-0000-7000-8000-000000000000";
    for selector in [json!({"type": "all"}), json!({"type": "node_ids", "node_ids": [stranger]})] {
        let body = json!({"bundle_id": bundle, "target_selector": selector});
        let answer = stage.ask(Operation::RolloutCreate).body(body).send().await;
        assert_eq!(answer.status, 422);
        assert!(answer.body["error"].get("target_selector").is_some(), "{}", answer.body);
    }
}
