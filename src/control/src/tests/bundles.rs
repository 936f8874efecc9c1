//! Bundles: compiled or refused, taken over, revoked, deleted, verified.

use super::stage::{CONFIG, Stage, code};
use crate::reactors::compile;
use contract::Operation;
use domain::{Actor, Aggregate, BundleId, CommandId, Envelope, Event, Position, bundle};
use jiff::{SignedDuration, Timestamp};
use journal::{Append, Guard, JournalWriter, Outcome};
use serde_json::{Value, json};
use std::sync::atomic::Ordering::SeqCst;

async fn ended(stage: &Stage, id: &str) -> Value {
    stage.until_shown(Operation::BundleShow, id, "bundle", |bundle| bundle["status"] != "compiling").await
}

#[tokio::test]
async fn a_valid_source_becomes_a_signed_archive() {
    let stage = Stage::start().await;
    let id = stage.new_bundle("v1", CONFIG).await;
    let bundle = ended(&stage, &id).await;
    assert_eq!((&bundle["status"], &bundle["signed"]), (&json!("compiled"), &json!(true)));
    assert_eq!(bundle["manifest"][0]["path"], "zentinel.kdl");
    let by_version = stage.ask(Operation::BundleShow).id("v1").send().await;
    assert_eq!(by_version.body["bundle"]["id"], json!(id));
    let download = stage.ask(Operation::BundleDownload).id(&id).send().await.body;
    assert_eq!((&download["checksum"], &download["size"]), (&bundle["checksum"], &bundle["size_bytes"]));
    let same = stage.bundle("v2").await;
    let twin = stage.ask(Operation::BundleShow).id(&same).send().await;
    assert_eq!(twin.body["bundle"]["checksum"], bundle["checksum"], "the same source has the same digest");
}

#[tokio::test]
async fn a_wrong_source_fails_with_its_problems_and_a_too_long_one_is_not_taken() {
    let stage = Stage::start().await;
    let id = stage.new_bundle("v1", "listeners {").await;
    let bundle = ended(&stage, &id).await;
    assert_eq!(
        (&bundle["status"], &bundle["signed"], &bundle["checksum"]),
        (&json!("failed"), &json!(false), &json!(null))
    );
    assert!(!bundle["compiler_output"].as_array().unwrap().is_empty());
    for operation in [Operation::BundleDownload, Operation::BundleVerify, Operation::BundleRevoke] {
        assert_eq!(stage.ask(operation).id(&id).send().await.status, 409, "{}", operation.name());
    }
    let rollout = stage.ask(Operation::RolloutCreate).body(json!({"bundle_id": id})).send().await;
    assert_eq!((rollout.status, code(&rollout)), (409, "conflict"));
    let put = stage.store.days.blobs_put.load(SeqCst);
    let body = json!({"version": "v2", "config_source": "ü".repeat(1024 * 1024 / 2 + 1)});
    let answer = stage.ask(Operation::BundleCreate).body(body).send().await;
    assert_eq!((answer.status, answer.body["error"].get("config_source").is_some()), (422, true));
    assert_eq!(stage.store.days.blobs_put.load(SeqCst), put);
}

/// Id of a bundle that its replica could not compile and has left behind.
async fn left_behind(stage: &Stage) -> String {
    let days = &stage.store.days;
    days.blobs_lost.store(true, SeqCst);
    let id = stage.new_bundle("v1", CONFIG).await;
    stage.until("the compiler looks for the source", || days.blobs_read.load(SeqCst) > 0).await;
    days.blobs_lost.store(false, SeqCst);
    id
}

#[tokio::test]
async fn a_bundle_left_behind_is_taken_over_once() {
    let stage = Stage::start().await;
    let other = stage.beside().await;
    let id = left_behind(&stage).await;
    let place = id.parse().unwrap();
    other.until("the fact is known there", || other.control.views().read().bundles.get(place).is_some()).await;
    let no_age = SignedDuration::ZERO;
    tokio::join!(compile::compile_all(&other.control, no_age), compile::compile_all(&stage.control, no_age));
    assert_eq!(ended(&other, &id).await["status"], "compiled");
    assert_eq!(stage.count("bundle.compiled").await, 1);
}

#[tokio::test]
async fn a_young_bundle_is_left_to_the_replica_that_took_it() {
    let stage = Stage::start().await;
    left_behind(&stage).await;
    let other = stage.beside().await;
    compile::compile_all(&other.control, SignedDuration::from_secs(20)).await;
    other.bundle("another").await;
    assert_eq!(stage.count("bundle.compiled").await, 1, "only the one that was made there");
}

/// Its source is lost; no replica will ever compile it, and nobody has to wait for that.
#[tokio::test]
async fn what_cannot_be_compiled_for_long_has_failed() {
    let stage = Stage::start().await;
    let id = BundleId::from_parts(1, [1; 10]);
    let (org, project) = ("default".parse().unwrap(), "demo".parse().unwrap());
    let aggregate = Aggregate::Bundle { org, project, id };
    let (version, source_digest) = ("old".parse().unwrap(), "a".repeat(64).parse().unwrap());
    let created = Event::Bundle(bundle::Event::Created(bundle::Created { version, source_digest, source_bytes: 1 }));
    let envelope = Envelope {
        command: CommandId([1; 16]),
        index: 0,
        time: Timestamp::now() - SignedDuration::from_mins(11),
        actor: Actor::System,
        request: None,
        event: created,
    };
    let guard = Guard { filter: aggregate.siblings_filter("created"), expected: Position::START };
    let (subject, message_id, body) = (aggregate.subject("created"), envelope.id(), envelope.encode().into());
    let Outcome::Committed { position, .. } =
        stage.store.memory.append(Append { subject, guard, message_id, body }).await
    else {
        panic!("not stored")
    };
    stage.control.wait_for(position).await.unwrap();
    compile::compile_all(&stage.control, SignedDuration::ZERO).await;
    let failed = ended(&stage, &id.to_string()).await;
    assert_eq!((&failed["status"], &failed["compiler_output"][0]["code"]), (&json!("failed"), &json!("not_compiled")));
    assert_eq!(stage.ask(Operation::BundleDelete).id("old").send().await.status, 204);
}

#[tokio::test]
async fn a_revoked_bundle_is_shown_and_not_deployed() {
    let stage = Stage::start().await;
    stage.node("a").await;
    let id = stage.bundle("v1").await;
    let revoked = stage.ask(Operation::BundleRevoke).id(&id).body(json!({"reason": "cve"})).send().await;
    assert_eq!((revoked.status, &revoked.body["bundle"]["status"]), (200, &json!("revoked")));
    assert!(revoked.body["bundle"]["checksum"].is_string());
    let again = stage.ask(Operation::BundleRevoke).id(&id).send().await;
    assert_eq!((again.status, stage.count("bundle.revoked").await), (200, 1));
    let rollout = stage.ask(Operation::RolloutCreate).body(json!({"bundle_id": id})).send().await;
    assert_eq!((rollout.status, &rollout.body["error"]), (409, &json!("Bundle has been revoked")));
    for operation in [Operation::BundleDownload, Operation::BundleVerify] {
        assert_eq!(stage.ask(operation).id(&id).send().await.status, 409);
    }
}

#[tokio::test]
async fn what_was_deployed_or_runs_is_not_deleted() {
    let stage = Stage::start().await;
    let (node, _) = stage.node("a").await;
    let (deployed, running, idle) = (stage.bundle("v1").await, stage.bundle("v2").await, stage.bundle("v3").await);
    stage.rollout(json!({"bundle_id": deployed})).await;
    stage.beat(&node, json!({"active_bundle_id": running})).await.unwrap();
    for id in [&deployed, &running] {
        let answer = stage.ask(Operation::BundleDelete).id(id).send().await;
        assert_eq!((answer.status, code(&answer)), (409, "conflict"));
    }
    assert_eq!(stage.ask(Operation::BundleDelete).id(&idle).send().await.status, 204);
    assert_eq!(stage.ask(Operation::BundleShow).id(&idle).send().await.status, 404);
    assert_eq!(stage.bundle("v3").await.len(), 36, "its version is free again");
}

#[tokio::test]
async fn verify_reads_the_archive_back() {
    let stage = Stage::start().await;
    let id = stage.bundle("v1").await;
    let verify = async || stage.ask(Operation::BundleVerify).id(&id).send().await.body;
    let whole = verify().await;
    assert_eq!((&whole["verified"], &whole["problem"]), (&json!(true), &json!(null)));
    stage.store.days.blobs_damaged.store(true, SeqCst);
    let damaged = verify().await;
    assert_eq!((&damaged["verified"], damaged["problem"].is_string()), (&json!(false), true));
    stage.store.days.blobs_lost.store(true, SeqCst);
    assert_eq!(verify().await["problem"], "the archive is not in the store");
}

#[tokio::test]
async fn a_bundle_that_still_compiles_waits() {
    let stage = Stage::start().await;
    stage.store.days.blobs_lost.store(true, SeqCst);
    let id = stage.new_bundle("v1", CONFIG).await;
    for operation in [Operation::BundleDelete, Operation::BundleRevoke, Operation::BundleDownload] {
        assert_eq!(stage.ask(operation).id(&id).send().await.status, 409, "{}", operation.name());
    }
    let rollout = stage.ask(Operation::RolloutCreate).body(json!({"bundle_id": id})).send().await;
    assert_eq!(rollout.body["error"], "Bundle must be compiled before rollout");
}
