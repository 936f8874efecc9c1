//! What a node is told to run, and the tokens it gets.

use super::stage::{BASE_URL, Stage};
use crate::nodes::AUDIENCE;
use crate::{ControlSettings, NodeCredential, NodeIdentity};
use contract::{LatestBundle, Offer, Operation};
use domain::Event;
use domain::rollout;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use trust::{Assignment, AssignmentError, SignedAssignment};

async fn offer(stage: &Stage, node: &NodeIdentity) -> Option<Offer> {
    match stage.control.latest_bundle(node, BASE_URL).await.unwrap() {
        LatestBundle::Offer(offer) => Some(*offer),
        LatestBundle::NoUpdate(answer) => {
            assert_eq!(serde_json::to_value(answer).unwrap(), json!({"no_update": true, "poll_after_s": 30}));
            None
        }
    }
}

/// The assignment, checked with the keys that `node` would have pinned.
fn verified(stage: &Stage, offer: &Offer, at: Timestamp) -> Result<Assignment, AssignmentError> {
    let signed: SignedAssignment = serde_json::from_value(offer.assignment.clone()).unwrap();
    let jwks = stage.control.jwks(None).unwrap();
    let keys: Vec<_> = jwks["keys"].as_array().unwrap().iter().filter(|key| key["use"] == "bundle").collect();
    let pinned = |key: &&serde_json::Value| {
        (key["kid"].as_str().unwrap().to_owned(), key["x"].as_str().unwrap().parse().unwrap())
    };
    trust::verify_assignment(&signed, &keys.iter().map(pinned).collect::<Vec<_>>(), at, 0)
}

/// A node that beats, and a rollout of a bundle to it whose step has started.
async fn assigned(stage: &Stage) -> (NodeIdentity, String, String) {
    let (node, _) = stage.node("a").await;
    stage.beat(&node, json!({"health": {"status": "healthy"}})).await.unwrap();
    let bundle = stage.bundle("v1").await;
    let rollout = stage.rollout(json!({"bundle_id": bundle})).await;
    started(stage, &rollout).await;
    (node, bundle, rollout)
}

async fn started(stage: &Stage, rollout: &str) {
    let id = rollout.parse().unwrap();
    let views = stage.control.views();
    let is_started = || views.read().rollouts.get(id).is_some_and(|rollout| !rollout.steps.is_empty());
    stage.until("a step starts", is_started).await;
}

#[tokio::test]
async fn an_offer_is_all_that_a_node_needs_and_verifies() {
    let stage = Stage::start().await;
    let (node, bundle, _) = assigned(&stage).await;
    let offer = offer(&stage, &node).await.unwrap();
    let assignment = verified(&stage, &offer, Timestamp::now()).unwrap();
    let facts = stage.facts().await;
    let is_start = |event: &Event| matches!(event, Event::Rollout(rollout::Event::StepStarted(_)));
    let step = facts.iter().find(|fact| is_start(&fact.envelope.event)).unwrap();
    assert_eq!((assignment.counter.epoch, assignment.counter.position), (0, step.position.0));
    assert_eq!((assignment.org.as_str(), assignment.project.as_str()), ("default", "demo"));
    assert_eq!((assignment.node_id, &assignment.bundle_id), (node.id.to_string(), &bundle));
    assert_eq!((format!("sha256:{}", assignment.digest), assignment.previous_digest), (offer.checksum, None));

    let url = offer.download_url.strip_prefix(&format!("{BASE_URL}/api/v1/downloads/{}?", assignment.digest)).unwrap();
    let (expires, signature) = url.strip_prefix("expires=").unwrap().split_once("&signature=").unwrap();
    let download = stage.control.download(&assignment.digest, expires, signature).await.unwrap();
    assert_eq!(download.total(), offer.size_bytes);
    let archive = download.read(0..u64::MAX).await.unwrap();
    let key = stage.control.active_key(&node.org, domain::org::KeyUse::Bundle).await.unwrap().unwrap();
    assert_eq!(offer.key_id, key.id);
    assert!(key.key.public().verify(&archive, &offer.signature.parse().unwrap()));
    let changed = stage.control.download(&assignment.digest, "99999999999", signature).await;
    assert_eq!(changed.map(drop).unwrap_err().code.status(), 403);
}

#[tokio::test]
async fn an_offer_is_signed_anew_at_every_question() {
    let stage = Stage::with(ControlSettings { assignment_ttl_s: 60, ..ControlSettings::default() }).await;
    let (node, ..) = assigned(&stage).await;
    let first = offer(&stage, &node).await.unwrap();
    let old = verified(&stage, &first, Timestamp::now()).unwrap();
    assert_eq!(old.expires_at.duration_since(old.issued_at), SignedDuration::from_secs(60));
    let late = old.expires_at + SignedDuration::from_secs(1);
    assert_eq!(verified(&stage, &first, late), Err(AssignmentError::Expired));
    stage.until("the clock moves on", || Timestamp::now().as_millisecond() > old.issued_at.as_millisecond()).await;
    let second = offer(&stage, &node).await.unwrap();
    let new = verified(&stage, &second, Timestamp::now()).unwrap();
    assert!(new.expires_at > old.expires_at);
    assert_eq!((new.counter, new.digest), (old.counter, old.digest));
}

#[tokio::test]
async fn what_is_paused_failed_taken_or_revoked_is_not_offered() {
    let stage = Stage::start().await;
    let (node, bundle, rollout) = assigned(&stage).await;
    assert!(offer(&stage, &node).await.is_some());
    assert_eq!(stage.ask(Operation::RolloutPause).id(&rollout).send().await.status, 200);
    assert_eq!(offer(&stage, &node).await, None, "paused");
    assert_eq!(stage.ask(Operation::RolloutResume).id(&rollout).send().await.status, 200);
    assert!(offer(&stage, &node).await.is_some());

    let failed = json!({"activation": {"bundle_id": bundle, "status": "failed", "error": "no"}});
    stage.beat(&node, failed).await.unwrap();
    assert_eq!(offer(&stage, &node).await, None, "failed");
    let paused = |rollout: &serde_json::Value| rollout["rollout"]["state"] == "paused";
    let deadline = std::time::Instant::now() + super::stage::PATIENCE;
    while !paused(&stage.ask(Operation::RolloutShow).id(&rollout).send().await.body) {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    assert_eq!(stage.ask(Operation::RolloutResume).id(&rollout).send().await.status, 200);
    stage.until("it is tried once more", || retried(&stage, &rollout)).await;
    assert!(offer(&stage, &node).await.is_some());

    stage.beat(&node, json!({"active_bundle_id": bundle, "health": {"status": "healthy"}})).await.unwrap();
    assert_eq!(offer(&stage, &node).await, None, "taken");

    let second = stage.bundle("v2").await;
    stage.until("the first is over", || stage.control.views().read().rollouts.live().next().is_none()).await;
    let rollout = stage.rollout(json!({"bundle_id": second})).await;
    started(&stage, &rollout).await;
    let running = verified(&stage, &offer(&stage, &node).await.unwrap(), Timestamp::now()).unwrap();
    assert!(running.previous_digest.is_some());
    assert_eq!(stage.ask(Operation::BundleRevoke).id(&second).send().await.status, 200);
    assert_eq!(offer(&stage, &node).await, None, "revoked");
}

fn retried(stage: &Stage, rollout: &str) -> bool {
    let state = stage.control.views().read();
    state.rollouts.get(rollout.parse().unwrap()).is_some_and(|rollout| rollout.steps[0].attempt == 1)
}

#[tokio::test]
async fn a_token_says_who_the_node_is() {
    let stage = Stage::start().await;
    let (node, _) = stage.node("a").await;
    let before = Timestamp::now().as_second();
    let answer = stage.control.issue_token(&node).await.unwrap();
    assert_eq!((answer.token_type.as_str(), answer.expires_in), ("Bearer", 43_200));
    let key = stage.control.active_key(&node.org, domain::org::KeyUse::NodeToken).await.unwrap().unwrap();
    let claims = trust::verify_token(&answer.token, &key.key.public(), AUDIENCE, Timestamp::now(), 0).unwrap();
    assert_eq!((claims.sub, claims.prj, claims.org), (node.id.to_string(), "demo".to_owned(), "default".to_owned()));
    assert_eq!((claims.kid, claims.exp - claims.iat), (key.id.clone(), 43_200));
    assert!((before..=before + 30).contains(&claims.iat));
    assert_eq!(answer.expires_at.as_second(), claims.exp);
    let again = stage.control.issue_token(&node).await.unwrap();
    assert_ne!(again.token, answer.token, "every token has an id of its own");
    let id = node.id.to_string();
    let known = stage.control.authenticate_node(&id, NodeCredential::Token(&answer.token)).await;
    assert_eq!(known, Ok(node));
}
