//! Join tokens and policies: who may register, and that a use counts exactly once per node.

use super::stage::{PEER, Stage, code};
use crate::NodeCredential;
use contract::{ApiError, ErrorCode, LatestBundle, Operation};
use domain::Event;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::atomic::Ordering::SeqCst;

fn refused() -> ApiError {
    ApiError::new(ErrorCode::InvalidCredential, "Invalid or expired join token")
}

async fn uses(stage: &Stage, id: &str) -> u64 {
    let answer = stage.ask(Operation::TokenShow).id(id).send().await;
    answer.body["join_token"]["uses"].as_u64().unwrap()
}

#[tokio::test]
async fn a_policy_says_who_may_register() {
    let stage = Stage::start().await;
    let named = |name: &str| json!({ "name": name });
    let (_, token) = stage.join_token(json!({"name": "t"})).await;
    stage.policy("token").await;
    let bare = stage.register(named("a"), None).await.map(drop).unwrap_err();
    assert_eq!(bare.code, ErrorCode::MissingCredential);
    assert!(stage.join(&token, named("a"), None).await.is_ok());
    stage.policy("enrolled").await;
    for token in [None, Some(token.as_str())] {
        let closed = stage.control.register("demo", named("b"), PEER, token, None).await.map(drop).unwrap_err();
        assert_eq!(
            (closed.code, closed.to_string().as_str()),
            (ErrorCode::RegistrationClosed, "this project takes enrolled hosts only")
        );
    }
    stage.policy("open").await;
    stage.policy("open").await;
    assert!(stage.register(named("b"), None).await.is_ok());
    assert_eq!(stage.count("project.registration_changed").await, 3);
}

#[tokio::test]
async fn a_new_project_asks_for_a_token_unless_something_else_is_said() {
    let stage = Stage::start().await;
    let create = async |body: Value| stage.ask(Operation::ProjectCreate).body(body).send().await;
    assert_eq!(create(json!({"slug": "a"})).await.body["registration"], "token");
    assert_eq!(create(json!({"slug": "b", "registration": "open"})).await.body["registration"], "open");
    let wrong = create(json!({"slug": "c", "registration": "closed"})).await;
    assert_eq!((wrong.status, &wrong.body["error"]["registration"].is_array()), (422, &true));
    let empty = stage.ask(Operation::ProjectUpdate).body(json!({})).send().await;
    assert_eq!((empty.status, code(&empty)), (422, "validation_failed"));
}

#[tokio::test]
async fn a_token_is_shown_once_and_stamps_its_labels() {
    let stage = Stage::start().await;
    let body = json!({"name": "rack 7", "labels": {"env": "production", "rack": "7"}});
    let (id, token) = stage.join_token(body).await;
    assert_eq!((token.len(), &token[..4]), (47, "pjt_"));
    let shown = stage.ask(Operation::TokenShow).id(&id).send().await.body;
    assert_eq!(shown["join_token"]["token_prefix"], token[..12]);
    let listed = stage.ask(Operation::TokenList).send().await.body;
    assert_eq!((&listed["total"], &listed["join_tokens"][0]), (&json!(1), &shown["join_token"]));
    assert!(!stage.facts().await.iter().any(|fact| format!("{fact:?}").contains(&token)), "in no fact");

    let body = json!({"name": "n", "labels": {"env": "dev", "zone": "a"}});
    let (joined, position) = stage.join(&token, body, None).await.unwrap();
    let facts = stage.facts().await;
    let fact = facts.iter().find(|fact| fact.position == position).unwrap();
    assert!(matches!(fact.envelope.event, Event::Node(_)));
    assert_eq!(fact.envelope.actor.to_string(), format!("join_token:{id}"));
    let node = stage.ask(Operation::NodeShow).id(&joined.node_id).send().await.body["node"].clone();
    assert_eq!(node["labels"], json!({"env": "production", "rack": "7", "zone": "a"}));
    assert_eq!((&node["join_token_id"], &node["approved"]), (&json!(id), &json!(true)));
}

#[tokio::test]
async fn whatever_is_wrong_with_a_token_it_is_refused_alike_and_in_an_open_project_too() {
    let stage = Stage::start().await;
    let other = stage.beside().await;
    stage.ask(Operation::ProjectCreate).body(json!({"slug": "other"})).send().await;
    let foreign = stage.ask(Operation::TokenCreate).project("other").body(json!({"name": "t"})).send().await;
    let foreign = foreign.body["token"].as_str().unwrap().to_owned();
    let (revoked_id, revoked) = stage.join_token(json!({"name": "t"})).await;
    let revocation = stage.ask(Operation::TokenRevoke).id(&revoked_id).send().await;
    assert!(revocation.body["join_token"]["revoked_at"].is_string());
    other.control.wait_for(domain::Position(revocation.position)).await.unwrap();
    let again = stage.ask(Operation::TokenRevoke).id(&revoked_id).send().await;
    assert_eq!((again.status, stage.count("join_token.revoked").await), (200, 1));
    let soon = Timestamp::now() + SignedDuration::from_millis(300);
    let (_, expired) = stage.join_token(json!({"name": "t", "expires_at": soon})).await;
    stage.until("the token expires", || Timestamp::now() > soon + SignedDuration::from_millis(2)).await;
    let (_, used_up) = stage.join_token(json!({"name": "t", "uses_max": 1})).await;
    stage.join(&used_up, json!({"name": "first"}), None).await.unwrap();
    let facts = stage.facts().await.len();
    for policy in ["open", "token"] {
        for token in ["", "x", &trust::new_secret(), &foreign, &revoked, &expired, &used_up] {
            for replica in [&stage, &other] {
                let answer = replica.join(token, json!({"name": "n"}), None).await.map(drop);
                assert_eq!(answer, Err(refused()), "{policy} {token}");
            }
        }
        if policy == "open" {
            assert_eq!(stage.facts().await.len(), facts);
            stage.policy("token").await;
        }
    }
}

#[tokio::test]
async fn fifty_nodes_race_for_ten_uses_on_two_replicas() {
    let first = Stage::start().await;
    let second = first.beside().await;
    let (id, token) = first.join_token(json!({"name": "t", "uses_max": 10})).await;
    first.policy("token").await;
    let calls = (0..50).map(|n| [&first, &second][n % 2].join(&token, json!({"name": format!("n{n}")}), None));
    let (won, lost): (Vec<_>, Vec<_>) = join_all(calls).await.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (10, 40));
    assert!(lost.into_iter().all(|answer| answer.map(drop) == Err(refused())));
    assert_eq!((first.count("node.registered").await, first.count("join_token.used").await), (10, 10));
    first.control.catch_up().await.unwrap();
    assert_eq!(uses(&first, &id).await, 10);
    for (joined, _) in won.into_iter().flatten() {
        let key = joined.node_key.unwrap();
        let known = second.control.authenticate_node(&joined.node_id, NodeCredential::Key(&key)).await;
        assert!(known.is_ok(), "{known:?}");
    }
}

#[tokio::test]
async fn a_repeat_and_a_lost_answer_use_nothing_twice() {
    let stage = Stage::start().await;
    let other = stage.beside().await;
    let (id, token) = stage.join_token(json!({"name": "t", "uses_max": 2})).await;
    stage.store.days.answers_lost.store(1, SeqCst);
    let (lost, _) = stage.join(&token, json!({"name": "lost"}), None).await.unwrap();
    assert!(lost.node_key.is_some(), "our own fact is recognised");
    let body = json!({"name": "n"});
    let (first, position) = stage.join(&token, body.clone(), Some("k")).await.unwrap();
    for replica in [&stage, &other] {
        replica.control.catch_up().await.unwrap();
        let (again, same) = replica.join(&token, body.clone(), Some("k")).await.unwrap();
        assert_eq!((&again.node_id, again.replayed, again.node_key, same), (&first.node_id, true, None, position));
    }
    let next = stage.join(&token, json!({"name": "m"}), None).await.map(drop);
    assert_eq!((next, uses(&stage, &id).await), (Err(refused()), 2));
    let taken = stage.join_token(json!({"name": "u"})).await;
    let answer = stage.join(&taken.1, body, None).await.map(drop);
    assert_eq!(answer, Err(ApiError::field("name", "has already been taken")));
    assert_eq!(uses(&stage, &taken.0).await, 0, "a refused registration uses nothing");
}

#[tokio::test]
async fn twins_with_the_last_use_are_one_node() {
    let first = Stage::start().await;
    let second = first.beside().await;
    let (id, token) = first.join_token(json!({"name": "t", "uses_max": 1})).await;
    let calls = (0..6).map(|n| [&first, &second][n % 2].join(&token, json!({"name": "n"}), Some("k")));
    let answers: Vec<_> = join_all(calls).await.into_iter().map(|answer| answer.unwrap().0).collect();
    assert!(answers.iter().all(|answer| answer.node_id == answers[0].node_id));
    assert_eq!(answers.iter().filter(|answer| answer.node_key.is_some()).count(), 1);
    first.control.catch_up().await.unwrap();
    assert_eq!((first.count("node.registered").await, uses(&first, &id).await), (1, 1));
}

#[tokio::test]
async fn holders_of_two_tokens_may_choose_the_same_idempotency_key() {
    let stage = Stage::start().await;
    let (_, one) = stage.join_token(json!({"name": "one"})).await;
    let (_, two) = stage.join_token(json!({"name": "two"})).await;
    assert!(stage.join(&one, json!({"name": "a"}), Some("k")).await.is_ok());
    let (other, _) = stage.join(&two, json!({"name": "b"}), Some("k")).await.unwrap();
    assert!(other.node_key.is_some());
}

#[tokio::test]
async fn more_labels_than_a_node_may_have_are_refused() {
    let stage = Stage::start().await;
    let many = |prefix: &str| (0..40).map(|i| (format!("{prefix}{i}"), json!("x"))).collect::<serde_json::Map<_, _>>();
    let (_, token) = stage.join_token(json!({"name": "t", "labels": many("a")})).await;
    let answer = stage.join(&token, json!({"name": "n", "labels": many("b")}), None).await.map(drop);
    let ApiError { code, message } = answer.unwrap_err();
    assert_eq!(code, ErrorCode::ValidationFailed, "{message:?}");
}

#[tokio::test]
async fn a_node_that_needs_approval_beats_and_gets_no_work_until_it_is_approved() {
    let stage = Stage::start().await;
    let (_, token) = stage.join_token(json!({"name": "t", "approval": true})).await;
    let (joined, _) = stage.join(&token, json!({"name": "waiting"}), None).await.unwrap();
    let key = NodeCredential::Key(joined.node_key.as_deref().unwrap());
    let node = stage.control.authenticate_node(&joined.node_id, key).await.unwrap();
    stage.beat(&node, json!({})).await.unwrap();
    let (here, _) = stage.node("here").await;
    stage.beat(&here, json!({})).await.unwrap();
    let shown = stage.ask(Operation::NodeShow).id("waiting").send().await.body["node"].clone();
    assert_eq!((&shown["status"], &shown["approved"]), (&json!("online"), &json!(false)));

    let bundle = stage.bundle("v1").await;
    let selector = json!({"type": "node_ids", "node_ids": [joined.node_id]});
    let body = json!({"bundle_id": bundle, "target_selector": selector});
    let by_id = stage.ask(Operation::RolloutCreate).body(body).send().await;
    assert_eq!((by_id.status, code(&by_id)), (422, "validation_failed"), "{}", by_id.body);
    let rollout = stage.rollout(json!({"bundle_id": bundle, "batch_size": 10})).await;
    let offer = async |node| match stage.control.latest_bundle(node, "http://x").await.unwrap() {
        LatestBundle::Offer(offer) => Some(offer.bundle_id),
        LatestBundle::NoUpdate(_) => None,
    };
    stage.until_shown(Operation::RolloutShow, &rollout, "progress", |progress| progress["pending"] == 1).await;
    assert_eq!((offer(&here).await, offer(&node).await), (Some(bundle.clone()), None));

    for _ in 0..2 {
        let approved = stage.ask(Operation::NodeApprove).id("waiting").send().await;
        assert_eq!((approved.status, &approved.body["node"]["approved"]), (200, &json!(true)));
    }
    assert_eq!(stage.count("node.approved").await, 1);
    stage.beat(&here, json!({"active_bundle_id": bundle})).await.unwrap();
    stage.until_shown(Operation::RolloutShow, &rollout, "progress", |progress| progress["active"] == 1).await;
    stage
        .until("the node joins the live rollout", || {
            stage.control.views().read().nodes.row(node.id).is_some_and(|row| row.desired.is_some())
        })
        .await;
    assert_eq!(offer(&node).await, Some(bundle));
}
