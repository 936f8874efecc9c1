//! Replacing a node's key: a lost answer locks nobody out, and an operator's word counts at once and everywhere.

use super::stage::{Stage, code};
use crate::{Control, NodeCredential, NodeIdentity};
use contract::{Operation, ReplaceKey};
use domain::node::{self, KeyRotated};
use domain::{Aggregate, Event, Position};
use serde_json::json;

use crate::execute::{Decision, Fact, Meta};

async fn opens(control: &Control, node: &NodeIdentity, key: &str) -> bool {
    control.authenticate_node(&node.id.to_string(), NodeCredential::Key(key)).await.is_ok()
}

#[tokio::test]
async fn the_old_key_ends_when_the_new_one_is_used() {
    let stage = Stage::start().await;
    let (node, old) = stage.node("a").await;
    let answer = stage.control.rotate_node_key(&node, ReplaceKey::default()).await.unwrap();
    let new = answer.node_key.unwrap();
    assert!(answer.previous_valid_until.is_some() && new != old);
    assert!(opens(&stage.control, &node, &old).await, "the answer may have been lost");
    assert!(opens(&stage.control, &node, &new).await);
    assert!(!opens(&stage.control, &node, &old).await);
    assert!(opens(&stage.control, &node, &new).await);
    assert_eq!(stage.count("node.key_rotated").await, 1);
    assert!(!stage.facts().await.iter().any(|fact| format!("{fact:?}").contains(&new)), "the key is in no fact");
}

#[tokio::test]
async fn however_many_answers_get_lost_the_key_that_the_node_has_stays_good() {
    let stage = Stage::start().await;
    let (node, old) = stage.node("a").await;
    let mut last = String::new();
    for _ in 0..3 {
        last = stage.control.rotate_node_key(&node, ReplaceKey::default()).await.unwrap().node_key.unwrap();
        assert!(opens(&stage.control, &node, &old).await);
    }
    assert!(opens(&stage.control, &node, &last).await);
    assert!(!opens(&stage.control, &node, &old).await);
}

#[tokio::test]
async fn a_new_key_is_known_on_every_replica_without_waiting() {
    let stage = Stage::start().await;
    let other = stage.beside().await;
    let (node, old) = stage.node("a").await;
    assert!(opens(&other.control, &node, &old).await);
    for round in 0..10 {
        let (here, there) = if round % 2 == 0 { (&stage, &other) } else { (&other, &stage) };
        let new = here.control.rotate_node_key(&node, ReplaceKey::default()).await.unwrap().node_key.unwrap();
        assert!(opens(&there.control, &node, &new).await, "round {round}");
    }
}

#[tokio::test]
async fn an_operator_ends_key_and_tokens_at_once() {
    let stage = Stage::start().await;
    let other = stage.beside().await;
    let (node, old) = stage.node("a").await;
    let unused = stage.control.rotate_node_key(&node, ReplaceKey::default()).await.unwrap().node_key.unwrap();
    let token = stage.control.issue_token(&node).await.unwrap().token;
    let second = jiff::Timestamp::now().as_second();
    stage.until("the token is older", || jiff::Timestamp::now().as_second() > second).await;
    let answer = stage.ask(Operation::NodeRotateKey).id("a").key("k").send().await;
    let new = answer.body["node_key"].as_str().unwrap().to_owned();
    other.control.wait_for(Position(answer.position)).await.unwrap();
    for replica in [&other, &stage] {
        for dead in [&old, &unused] {
            assert!(!opens(&replica.control, &node, dead).await);
        }
        let by_token = replica.control.authenticate_node(&node.id.to_string(), NodeCredential::Token(&token)).await;
        assert!(by_token.is_err());
        assert!(opens(&replica.control, &node, &new).await);
    }
    let again = stage.ask(Operation::NodeRotateKey).id("a").key("k").send().await;
    assert_eq!((&again.body["replayed"], again.body.get("node_key")), (&json!(true), None));
    assert!(opens(&stage.control, &node, &new).await, "a repeat takes nothing away");
    let fresh = stage.control.issue_token(&node).await.unwrap().token;
    let by_token = stage.control.authenticate_node(&node.id.to_string(), NodeCredential::Token(&fresh)).await;
    assert!(by_token.is_ok());
    let nobody = stage.ask(Operation::NodeRotateKey).id("nobody").send().await;
    assert_eq!((nobody.status, code(&nobody)), (404, "not_found"));
}

#[tokio::test]
async fn of_twins_under_one_key_one_shows_the_key_that_works() {
    let stage = Stage::start().await;
    let other = stage.beside().await;
    let (node, _) = stage.node("a").await;
    other.control.catch_up().await.unwrap();
    for round in 0..5 {
        let key = format!("k{round}");
        let calls = [&stage, &other, &stage, &other];
        let calls = calls.map(|replica| replica.ask(Operation::NodeRotateKey).id("a").key(&key).send());
        let answers = futures_util::future::join_all(calls).await;
        let shown: Vec<&str> = answers.iter().filter_map(|answer| answer.body["node_key"].as_str()).collect();
        assert_eq!(shown.len(), 1, "{answers:?}");
        assert!(opens(&other.control, &node, shown[0]).await);
    }
    assert_eq!(stage.count("node.key_rotated").await, 5);
}

#[tokio::test]
async fn between_the_fact_and_the_record_only_a_key_that_the_node_replaced_itself_is_good() {
    let stage = Stage::start().await;
    for (name, reset) in [("a", false), ("b", true)] {
        let (node, old) = stage.node(name).await;
        // The replica dies after the fact.
        let lost = KeyRotated { key_id: "nk_lost".to_owned(), reset, public_key: None };
        let meta = Meta::once(domain::Actor::System);
        let rotated = stage.control.commit(&meta, |state| {
            let known = state.nodes.get(node.id).unwrap();
            let aggregate = Aggregate::Node { org: known.org.clone(), project: known.project.clone(), id: known.id };
            let event = Event::Node(node::Event::KeyRotated(lost.clone()));
            Ok(Decision::Append(Box::new(Fact::next(aggregate, known.position, event)), ()))
        });
        rotated.await.unwrap();
        assert_eq!(opens(&stage.control, &node, &old).await, !reset, "{name}");
        let answer = stage.ask(Operation::NodeRotateKey).id(name).send().await;
        assert!(opens(&stage.control, &node, answer.body["node_key"].as_str().unwrap()).await);
        assert!(!opens(&stage.control, &node, &old).await);
    }
}
