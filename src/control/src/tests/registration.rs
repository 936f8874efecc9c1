//! Registration: unique names, one node per call, and a key that works for whoever got one.

use super::stage::{PEER, Stage};
use crate::NodeCredential;
use contract::{ApiError, ErrorCode, Registered};
use domain::Event;
use domain::node;
use futures_util::future::join_all;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering::SeqCst;

fn key_of(answer: &Registered) -> &str {
    answer.node_key.as_deref().unwrap()
}

#[tokio::test]
async fn an_open_project_gives_an_identity_and_a_key() {
    let stage = Stage::start().await;
    let body = json!({"name": "proxy-1", "labels": {"env": "production"}, "hostname": "h"});
    let (answer, position) = stage.register(body, None).await.unwrap();
    assert_eq!((answer.poll_interval_s, answer.replayed), (30, false));
    assert_eq!((answer.org.as_str(), answer.project.as_str(), answer.bundle_keys.len()), ("default", "demo", 1));
    assert_eq!(key_of(&answer).len(), 43);
    let identity = stage.control.authenticate_node(&answer.node_id, NodeCredential::Key(key_of(&answer))).await;
    assert_eq!(identity.unwrap().id.to_string(), answer.node_id);
    let facts = stage.facts().await;
    let fact = facts.iter().find(|fact| fact.position == position).unwrap();
    let Event::Node(node::Event::Registered(registered)) = &fact.envelope.event else { panic!("{fact:?}") };
    assert_eq!(registered.ip.as_deref(), Some("192.0.2.7"), "the peer's address where the body names none");
    assert!(!facts.iter().any(|fact| format!("{fact:?}").contains(key_of(&answer))), "the key is in no fact");
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let stage = Stage::start().await;
    stage.node("taken").await;
    for slug in ["nowhere", "Not A Slug", ""] {
        let answer = stage.control.register(slug, json!({"name": "n"}), PEER, None, None).await;
        assert_eq!(answer.map(drop), Err(ApiError::not_found("Project")), "{slug:?}");
    }
    let taken = stage.register(json!({"name": "taken"}), None).await.map(drop);
    assert_eq!(taken, Err(ApiError::field("name", "has already been taken")));
    let nameless = stage.register(json!({}), None).await.map(drop);
    assert_eq!(nameless, Err(ApiError::field("name", "can't be blank")));
    let key = stage.register(json!({"name": "n"}), Some("a\nb")).await.map(drop);
    assert_eq!(key.unwrap_err().code, ErrorCode::MalformedRequest);
}

#[tokio::test]
async fn of_fifty_calls_for_one_name_one_wins_on_two_replicas() {
    let first = Stage::start().await;
    let second = first.beside().await;
    let calls = (0..50).map(|n| [&first, &second][n % 2].register(json!({"name": "same"}), None));
    let answers = join_all(calls).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 49));
    for answer in lost {
        assert_eq!(answer.map(drop), Err(ApiError::field("name", "has already been taken")));
    }
    assert_eq!(first.count("node.registered").await, 1);
}

#[tokio::test]
async fn fifty_names_at_once_are_fifty_nodes_on_two_replicas() {
    let first = Stage::start().await;
    let second = first.beside().await;
    let calls = (0..50).map(|n| [&first, &second][n % 2].register(json!({"name": format!("n{n}")}), None));
    let ids: BTreeSet<String> = join_all(calls).await.into_iter().map(|answer| answer.unwrap().0.node_id).collect();
    assert_eq!((ids.len(), first.count("node.registered").await), (50, 50));
}

/// Never two nodes of one name, and whoever was answered is there with a key that works.
#[tokio::test]
async fn a_store_that_lies_makes_no_twins_and_locks_nobody_out() {
    join_all((0..10).map(async |seed| {
        let stage = Stage::start().await;
        let faulty = stage.beside_faulty(seed);
        let calls = (0..24).map(async |n| {
            let key = format!("key-{}", n / 2);
            let name = json!({"name": format!("n{}", n % 6)});
            faulty.register(name, (n % 3 == 0).then_some(key.as_str())).await
        });
        let answers = join_all(calls).await;
        let mut names = BTreeMap::new();
        for fact in stage.facts().await {
            if let Event::Node(node::Event::Registered(registered)) = &fact.envelope.event {
                let before = names.insert(registered.name.clone(), fact.aggregate.id());
                assert_eq!(before, None, "seed {seed}: two nodes named {}", registered.name);
            }
        }
        for answer in answers {
            match answer {
                Ok((answer, _)) => {
                    assert!(names.values().any(|id| *id == answer.node_id), "seed {seed}: answered and not there");
                    let Some(key) = &answer.node_key else { continue };
                    let known = stage.control.authenticate_node(&answer.node_id, NodeCredential::Key(key)).await;
                    assert!(known.is_ok(), "seed {seed}: a key that opens nothing: {known:?}");
                }
                Err(e) => assert!(matches!(e.code.status(), 422 | 503), "seed {seed}: {e:?}"),
            }
        }
    }))
    .await;
}

#[tokio::test]
async fn a_lost_answer_costs_nobody_the_key() {
    let stage = Stage::start().await;
    for key in [None, Some("with a key")] {
        stage.store.days.answers_lost.store(1, SeqCst);
        let name = format!("n-{}", key.is_some());
        let (answer, _) = stage.register(json!({"name": name}), key).await.unwrap();
        assert!(!answer.replayed);
        let known = stage.control.authenticate_node(&answer.node_id, NodeCredential::Key(key_of(&answer))).await;
        assert_eq!(known.unwrap().id.to_string(), answer.node_id);
    }
    assert_eq!(stage.count("node.registered").await, 2);
}

#[tokio::test]
async fn a_repeat_gives_the_ids_without_the_key() {
    let stage = Stage::start().await;
    let other = stage.beside().await;
    let (first, position) = stage.register(json!({"name": "n", "version": "1"}), Some("k")).await.unwrap();
    let same = json!({"version": "1", "name": "n"});
    for replica in [&stage, &other] {
        replica.control.catch_up().await.unwrap();
        let (again, same_position) = replica.register(same.clone(), Some("k")).await.unwrap();
        assert_eq!((&again.node_id, &again.node_key, again.replayed), (&first.node_id, &None, true));
        assert_eq!((same_position, again.bundle_keys), (position, first.bundle_keys.clone()));
    }
    let reused = stage.register(json!({"name": "n2"}), Some("k")).await.map(drop);
    assert_eq!(reused.unwrap_err().code, ErrorCode::IdempotencyKeyReused);
    assert_eq!(stage.count("node.registered").await, 1);
    let known = stage.control.authenticate_node(&first.node_id, NodeCredential::Key(key_of(&first))).await;
    assert!(known.is_ok(), "a repeat takes nothing away: {known:?}");
}

#[tokio::test]
async fn twins_under_one_key_are_one_node_and_one_of_them_gets_the_key() {
    let first = Stage::start().await;
    let second = first.beside().await;
    for round in 0..5 {
        let (name, key) = (json!({"name": format!("n{round}")}), format!("k{round}"));
        let calls = (0..4).map(|n| [&first, &second][n % 2].register(name.clone(), Some(&key)));
        let answers: Vec<Registered> = join_all(calls).await.into_iter().map(|answer| answer.unwrap().0).collect();
        let ids: BTreeSet<&str> = answers.iter().map(|answer| answer.node_id.as_str()).collect();
        let keys: Vec<&str> = answers.iter().filter_map(|answer| answer.node_key.as_deref()).collect();
        assert_eq!((ids.len(), keys.len()), (1, 1));
        let known = second.control.authenticate_node(&answers[0].node_id, NodeCredential::Key(keys[0])).await;
        assert!(known.is_ok(), "{known:?}");
    }
    assert_eq!(first.count("node.registered").await, 5);
}
