//! Heartbeats: answered when stored, and only what changes is a fact.

use super::stage::Stage;
use contract::{ErrorCode, Operation};
use domain::Event;
use domain::node::{self, Report};
use futures_util::future::join_all;
use serde_json::json;
use std::sync::atomic::Ordering::SeqCst;

#[tokio::test]
async fn what_a_beat_omits_stays_as_it_was() {
    let stage = Stage::start().await;
    let (node, _) = stage.node("a").await;
    let bundle = stage.bundle("v1").await;
    let whole = json!({"active_bundle_id": bundle, "version": "2.0", "hostname": "h", "metadata": {"a": 1},
        "health": {"status": "healthy", "cpu_percent": 3}, "metrics": {"rps": 9}});
    let answer = stage.beat(&node, whole).await.unwrap();
    assert_eq!((answer.status.as_str(), answer.node_id.as_str()), ("ok", node.id.to_string().as_str()));
    assert!((25..=30).contains(&answer.next_heartbeat_s), "{}", answer.next_heartbeat_s);
    let facts = stage.facts().await.len();
    for same in [json!({}), json!({"version": "2.0"}), json!({"active_bundle_id": bundle, "metadata": {"a": 1}})] {
        stage.beat(&node, same).await.unwrap();
    }
    assert_eq!(stage.facts().await.len(), facts, "nothing changed, so nothing is history");
    let shown = stage.ask(Operation::NodeShow).id("a").send().await.body["node"].clone();
    assert_eq!(
        (&shown["status"], &shown["version"], &shown["hostname"]),
        (&json!("online"), &json!("2.0"), &json!("h"))
    );
    assert_eq!((&shown["active_bundle_id"], &shown["metadata"]), (&json!(bundle), &json!({"a": 1})));

    stage.beat(&node, json!({"version": "2.1"})).await.unwrap();
    let last = stage.events().await.pop().unwrap();
    let changed = Report { version: Some("2.1".to_owned()), ..Report::default() };
    assert_eq!(last, Event::Node(node::Event::Changed(changed)));
}

#[tokio::test]
async fn the_first_beat_a_switch_and_a_failure_are_facts() {
    let stage = Stage::start().await;
    let (node, _) = stage.node("a").await;
    let bundle = stage.bundle("v1").await;
    stage.beat(&node, json!({})).await.unwrap();
    stage.beat(&node, json!({"active_bundle_id": bundle})).await.unwrap();
    let failed = json!({"activation": {"bundle_id": bundle, "status": "failed", "error": "no"}});
    stage.beat(&node, failed.clone()).await.unwrap();
    stage.beat(&node, failed).await.unwrap();
    let of_node = |fact: &domain::Recorded| (fact.aggregate.id() == node.id.to_string()).then(|| fact.envelope.clone());
    let facts: Vec<_> = stage.facts().await.iter().filter_map(of_node).collect();
    let names: Vec<&str> = facts.iter().map(|fact| fact.event.name()).collect();
    assert_eq!(names, ["registered", "online", "bundle_switched", "activation_failed"]);
    assert_eq!(facts[1].actor.to_string(), format!("node:{}", node.id));
}

#[tokio::test]
async fn a_flood_of_beats_shares_messages_and_each_is_seen() {
    let stage = Stage::start().await;
    let nodes = join_all((0..60).map(async |n| stage.node(&format!("n{n}")).await.0)).await;
    join_all(nodes.iter().map(|node| stage.beat(node, json!({})))).await;
    let before = stage.store.days.beats_written.load(SeqCst);
    let answers = join_all(nodes.iter().map(|node| stage.beat(node, json!({"health": {"status": "healthy"}})))).await;
    assert!(answers.iter().all(Result::is_ok));
    let messages = stage.store.days.beats_written.load(SeqCst) - before;
    assert!((1..=10).contains(&messages), "60 beats in {messages} messages");
    let seen = || {
        let presence = stage.control.presence().read();
        nodes.iter().all(|node| presence.seen(node.id).is_some_and(|seen| seen.health.is_some()))
    };
    stage.until("every beat comes back from the store", seen).await;
}

#[tokio::test]
async fn a_beat_that_is_not_stored_is_not_answered_well() {
    let stage = Stage::start().await;
    let (node, _) = stage.node("a").await;
    stage.store.days.pulse_fails.store(true, SeqCst);
    for body in [json!({}), json!({}), json!({"version": "2"})] {
        let answer = stage.beat(&node, body).await.map(drop);
        assert_eq!(answer.unwrap_err().code, ErrorCode::Unavailable);
    }
    stage.store.days.pulse_fails.store(false, SeqCst);
    assert!(stage.beat(&node, json!({})).await.is_ok());
}

#[tokio::test]
async fn a_deleted_node_beats_in_vain() {
    let stage = Stage::start().await;
    let (node, _) = stage.node("a").await;
    assert_eq!(stage.ask(Operation::NodeDelete).id("a").send().await.status, 204);
    let answer = stage.beat(&node, json!({"version": "2"})).await.map(drop).unwrap_err();
    assert_eq!((answer.code, answer.to_string().as_str()), (ErrorCode::InvalidCredential, "Node not found"));
}
