//! `Idempotency-Key`: one fact and one answer, however often and wherever a request arrives.

use super::stage::{Stage, code, operator};
use super::world::World;
use crate::{Caller, Control};
use contract::{Operation, Route};
use domain::Actor;
use serde_json::Value;
use std::sync::atomic::Ordering::SeqCst;

fn mutations() -> impl Iterator<Item = Operation> {
    Operation::ALL.into_iter().filter(|operation| Route::of(*operation).is_mutation())
}

/// Facts of commands that came with a key.
async fn keyed(stage: &Stage) -> usize {
    stage.facts().await.iter().filter(|fact| fact.envelope.request.is_some()).count()
}

/// What a second answer must share with the first: all but what is shown once, and what went on meanwhile.
fn lasting(operation: Operation, mut body: Value) -> Value {
    let mut fleeting = vec!["key", "token", "node_key", "replayed"];
    if operation == Operation::BundleCreate {
        fleeting.extend(["status", "checksum", "size_bytes", "manifest", "compiler_output", "signed"]);
        fleeting.extend(["signing_key_id", "proxy_version", "updated_at"]);
    }
    if operation == Operation::RolloutRollback {
        fleeting.extend(["rollback", "updated_at"]);
    }
    if let Value::Object(map) = &mut body {
        map.retain(|field, _| !fleeting.contains(&field.as_str()));
    }
    body
}

#[tokio::test]
async fn every_mutation_sent_twice_is_one_fact_with_one_answer() {
    let stage = Stage::start().await;
    let world = World::of(&stage).await;
    for operation in mutations() {
        let (request, key) = (world.request(operation), format!("k-{}", operation.name()));
        let before = keyed(&stage).await;
        let first = stage.ask(operation).request(&request).key(&key).send().await;
        assert_eq!(first.status, Route::of(operation).success, "{}: {}", operation.name(), first.body);
        let again = stage.ask(operation).request(&request).key(&key).send().await;
        assert_eq!((again.status, again.position), (first.status, first.position), "{}", operation.name());
        assert_eq!(lasting(operation, again.body.clone()), lasting(operation, first.body.clone()));
        assert!(
            ["key", "token", "node_key"].iter().all(|shown| again.body.get(*shown).is_none()),
            "what is shown once is not repeated"
        );
        assert_eq!(keyed(&stage).await, before + 1, "{}", operation.name());

        let reused = stage.ask(operation).request(&world.other_request(operation)).key(&key).send().await;
        assert_eq!((reused.status, code(&reused)), (422, "idempotency_key_reused"), "{}", operation.name());
        assert_eq!(keyed(&stage).await, before + 1, "{}", operation.name());
    }
}

#[tokio::test]
async fn twins_on_two_replicas_are_one_fact_for_every_mutation() {
    let stage = Stage::start().await;
    let other = stage.beside().await;
    let world = World::of(&stage).await;
    other.control.wait_for(stage.control.position()).await.unwrap();
    for operation in mutations() {
        let (request, key) = (world.request(operation), format!("k-{}", operation.name()));
        let before = keyed(&stage).await;
        let send = |stage: &Stage| -> (Control, contract::Request) {
            let request = contract::Request { idempotency_key: Some(key.clone()), ..request.clone() };
            (stage.control.clone(), request)
        };
        let calls = [&stage, &other, &stage, &other].map(|stage| {
            let (control, request) = send(stage);
            tokio::spawn(async move { control.perform(&operator(), operation, request, "").await })
        });
        let mut answers = Vec::new();
        for call in calls {
            answers.push(call.await.unwrap());
        }
        for answer in &answers {
            assert_eq!(answer.status, Route::of(operation).success, "{}: {}", operation.name(), answer.body);
            assert_eq!(answer.body["id"], answers[0].body["id"], "{}", operation.name());
            assert_eq!(answer.position, answers[0].position, "{}", operation.name());
        }
        assert_eq!(keyed(&stage).await, before + 1, "{}", operation.name());
        let keys = answers.iter().filter(|answer| answer.body.get("key").is_some()).count();
        assert_eq!(keys, usize::from(operation == Operation::ApiKeyCreate));
    }
}

/// The store did the work and its answer got lost: the caller sees none of it, with a key and without.
#[tokio::test]
async fn a_lost_answer_changes_no_answer() {
    for key in [None, Some("k")] {
        let stage = Stage::start().await;
        let world = World::of(&stage).await;
        for operation in mutations() {
            let before = stage.facts().await.len();
            stage.store.days.answers_lost.store(1, SeqCst);
            let asking = stage.ask(operation).request(&world.request(operation));
            let asking = if let Some(key) = key { asking.key(&format!("{key}-{}", operation.name())) } else { asking };
            let answer = asking.send().await;
            assert_eq!(answer.status, Route::of(operation).success, "{}: {}", operation.name(), answer.body);
            let facts = stage.facts().await;
            let of_operator = |fact: &&domain::Recorded| matches!(fact.envelope.actor, Actor::Operator(_));
            assert_eq!(facts[before..].iter().filter(of_operator).count(), 1, "{}", operation.name());
            if operation == Operation::ApiKeyCreate {
                let secret = answer.body["key"].as_str().expect("the key is shown to who made it");
                assert!(stage.control.authenticate_api_key(secret).await.is_ok());
            }
        }
    }
}

#[tokio::test]
async fn a_key_belongs_to_who_sent_it_and_to_the_operation() {
    let stage = Stage::start().await;
    let world = World::of(&stage).await;
    let body = |name: &str| serde_json::json!({"name": name});
    let first = stage.ask(Operation::ApiKeyCreate).body(body("a")).key("same").send().await;
    let actor = Actor::Operator(format!("U{}", "B".repeat(55)));
    let another = Caller { actor, ..operator() };
    let second = stage.ask(Operation::ApiKeyCreate).body(body("b")).key("same").by(&another).send().await;
    assert_eq!((first.status, second.status), (201, 201));
    assert_ne!(first.body["id"], second.body["id"]);
    let request = world.request(Operation::NodeDelete);
    assert_eq!(stage.ask(Operation::NodeDelete).request(&request).key("same").send().await.status, 204);
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let stage = Stage::start().await;
    for key in ["", "a\u{7}", &"x".repeat(256)] {
        let asking = stage.ask(Operation::ProjectCreate).body(serde_json::json!({"slug": "p"}));
        let answer = asking.key(key).send().await;
        assert_eq!((answer.status, code(&answer)), (400, "malformed_request"), "{key:?}");
    }
    let longest = "ü".repeat(255);
    let asking = stage.ask(Operation::ProjectCreate).body(serde_json::json!({"slug": "p"}));
    assert_eq!(asking.key(&longest).send().await.status, 201);
}

/// A repeat costs no upload.
#[tokio::test]
async fn a_repeated_bundle_is_not_stored_again() {
    let stage = Stage::start().await;
    let body = serde_json::json!({"version": "v1", "config_source": super::stage::CONFIG});
    let send = async |key: Option<&str>| {
        let asking = stage.ask(Operation::BundleCreate).body(body.clone());
        if let Some(key) = key { asking.key(key).send().await } else { asking.send().await }
    };
    let first = send(Some("k")).await;
    let id = first.body["id"].as_str().unwrap();
    stage.until_shown(Operation::BundleShow, id, "bundle", |bundle| bundle["status"] == "compiled").await;
    let put = stage.store.days.blobs_put.load(SeqCst);
    assert_eq!(send(Some("k")).await.body["id"], first.body["id"]);
    assert_eq!(send(None).await.body["error"]["version"][0], "has already been taken");
    assert_eq!(stage.store.days.blobs_put.load(SeqCst), put);
}
