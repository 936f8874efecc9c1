//! Two replicas over one store at the same time.

use super::stage::{BASE_URL, PATIENCE, Stage};
use crate::execute::{Decision, Fact, Meta};
use crate::reactors::orphans;
use crate::{Bootstrap, NodeCredential};
use contract::{LatestBundle, Operation};
use domain::Event;
use domain::org::{self, KeyUse};
use domain::rollout;
use futures_util::StreamExt;
use futures_util::future::join_all;
use journal::{Bucket, RecordChange, Records};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

#[tokio::test]
async fn a_node_registered_here_is_known_there_at_once() {
    let first = Stage::start().await;
    let second = first.beside().await;
    join_all((0..20).map(async |n| {
        let (answer, position) = first.register(json!({"name": format!("n{n}")}), None).await.unwrap();
        let key = answer.node_key.unwrap();
        let known = second.control.authenticate_node(&answer.node_id, NodeCredential::Key(&key)).await;
        assert_eq!(known.unwrap().id.to_string(), answer.node_id);
        let read = second.ask(Operation::NodeShow).id(&answer.node_id).min_position(position.0).send().await;
        assert_eq!(read.body["node"]["name"], format!("n{n}"));
        let token = first.control.issue_token(&second.node_identity(&answer.node_id)).await.unwrap().token;
        let known = second.control.authenticate_node(&answer.node_id, NodeCredential::Token(&token)).await;
        assert!(known.is_ok(), "{known:?}");
    }))
    .await;
}

impl Stage {
    fn node_identity(&self, id: &str) -> crate::NodeIdentity {
        let id = id.parse().unwrap();
        let (org, project) = ("default".parse().unwrap(), "demo".parse().unwrap());
        crate::NodeIdentity { id, org, project }
    }
}

#[tokio::test]
async fn what_was_created_here_is_found_there_without_a_position() {
    let first = Stage::start().await;
    let second = first.beside().await;
    for n in 0..10 {
        let slug = format!("p{n}");
        assert_eq!(
            first.ask(Operation::ProjectCreate).body(json!({"slug": slug, "registration": "open"})).send().await.status,
            201
        );
        assert_eq!(second.ask(Operation::NodeList).project(&slug).send().await.status, 200);
        let registered = second.control.register(&slug, json!({"name": "n"}), super::stage::PEER, None, None).await;
        assert!(registered.is_ok(), "{:?}", registered.map(drop));
    }
}

#[tokio::test]
async fn no_step_starts_twice_and_no_fact_comes_twice() {
    let first = Stage::start().await;
    let second = first.beside().await;
    let mut nodes = Vec::new();
    for n in 0..8 {
        let (node, _) = first.node(&format!("n{n}")).await;
        first.beat(&node, json!({"health": {"status": "healthy"}})).await.unwrap();
        nodes.push(node);
    }
    let bundle = first.bundle("v1").await;
    let rollout = first.rollout(json!({"bundle_id": bundle})).await;
    let deadline = Instant::now() + PATIENCE;
    let completed = || {
        let state = second.control.views().read();
        let rollout = state.rollouts.get(rollout.parse().unwrap());
        rollout.is_some_and(|rollout| rollout.state == rollout::State::Completed)
    };
    while !completed() {
        assert!(Instant::now() < deadline, "the rollout does not end");
        for (n, node) in nodes.iter().enumerate() {
            let replica = [&first, &second][n % 2];
            let mut beat = json!({"health": {"status": "healthy"}});
            if let LatestBundle::Offer(offer) = replica.control.latest_bundle(node, BASE_URL).await.unwrap() {
                beat["active_bundle_id"] = json!(offer.bundle_id);
            }
            replica.beat(node, beat).await.unwrap();
        }
    }
    let facts = first.facts().await;
    let mut starts = BTreeSet::new();
    let mut assigned = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for fact in &facts {
        assert!(ids.insert(fact.envelope.id()), "one id, two facts: {fact:?}");
        if let Event::Rollout(rollout::Event::StepStarted(step)) = &fact.envelope.event {
            assert!(starts.insert((step.step_index, step.attempt)), "{step:?} started twice");
            step.node_ids.iter().for_each(|id| assert!(assigned.insert(*id), "{id} assigned twice"));
        }
    }
    assert_eq!((starts.len(), assigned.len()), (8, 8));
    let count = |name: &str| facts.iter().filter(|fact| fact.envelope.event.type_name() == name).count();
    let counts = ["rollout.step_completed", "rollout.completed", "bundle.compiled", "node.online"].map(count);
    assert_eq!(counts, [8, 1, 1, 8]);
}

#[tokio::test]
async fn replicas_that_begin_together_agree_on_the_first_facts() {
    let first = Stage::start().await;
    let replicas = [first.beside_faulty(1), first.beside_faulty(2), first.beside().await];
    let wanted = Bootstrap { project: Some("more".parse().unwrap()) };
    let begun = join_all(replicas.iter().map(|replica| replica.control.bootstrap(&wanted))).await;
    assert!(begun[2].is_ok(), "{:?}", begun[2]);
    let created = |event: &Event, of: KeyUse| matches!(event, Event::Org(org::Event::SigningKeyCreated(key)) if key.key_use == of);
    let events = first.events().await;
    for of in [KeyUse::NodeToken, KeyUse::Bundle] {
        assert_eq!(events.iter().filter(|event| created(event, of)).count(), 1);
    }
    assert_eq!((first.count("org.created").await, first.count("project.created").await), (1, 2));
}

/// How many records the bucket holds.
async fn kept(stage: &Stage, bucket: Bucket) -> usize {
    let records = stage.store.memory.watch(bucket);
    records.take_while(|change| std::future::ready(*change != RecordChange::CaughtUp)).count().await
}

/// A lost race leaves no private key behind.
#[tokio::test]
async fn a_key_that_lost_the_race_is_not_kept() {
    let first = Stage::start().await;
    first.control.create_signing_key(first.control.default_org(), KeyUse::Bundle).await.unwrap();
    assert_eq!((kept(&first, Bucket::Secrets).await, first.count("org.signing_key_created").await), (2, 2));
}

/// A store that lies on every side: nothing is lost that was answered, nothing happens twice.
#[tokio::test]
async fn mutations_over_a_store_that_lies_happen_once() {
    join_all((0..6).map(async |seed| {
        let stage = Stage::start().await;
        let faulty = stage.beside_faulty(seed);
        let calls = (0..12).map(async |n: usize| {
            let (slug, key) = (format!("p{}", n % 4), format!("k{n}"));
            let mut made = Vec::new();
            for _ in 0..2 {
                let body = json!({"slug": slug});
                made.push(faulty.ask(Operation::ProjectCreate).body(body).key(&key).send().await);
            }
            (slug, made)
        });
        for (slug, made) in join_all(calls).await {
            let good: Vec<_> = made.iter().filter(|answer| answer.status == 201).collect();
            assert!(made.iter().all(|answer| matches!(answer.status, 201 | 422 | 503)), "seed {seed}: {made:?}");
            if let Some(first) = good.first() {
                assert!(good.iter().all(|answer| answer.body["id"] == first.body["id"]), "seed {seed}");
                let shown = stage.ask(Operation::NodeList).project(&slug).send().await;
                assert_eq!(shown.status, 200, "seed {seed}: {slug} was answered and is not there");
            }
        }
        let created = stage.count("project.created").await;
        assert!(created <= 1 + 4, "seed {seed}: {created}");
    }))
    .await;
}

#[tokio::test]
async fn a_rollout_left_behind_is_carried_on_by_whoever_starts() {
    let first = Stage::start().await;
    let (node, _) = first.node("a").await;
    first.beat(&node, json!({})).await.unwrap();
    let bundle = first.bundle("v1").await;
    let rollout = first.rollout(json!({"bundle_id": bundle, "progress_deadline_seconds": 1})).await;
    let second = first.beside().await;
    drop(first);
    let failed = |rollout: &serde_json::Value| rollout["state"] == "failed";
    let shown = second.until_shown(Operation::RolloutShow, &rollout, "rollout", failed).await;
    assert_eq!(shown["error"]["reason"], "step_deadline_exceeded");
    assert_eq!(second.count("rollout.step_started").await, 1);
}

#[tokio::test]
async fn a_snapshot_of_a_clean_stop_is_where_the_next_start_begins() {
    let stage = Stage::start().await;
    stage.node("a").await;
    stage.control.save_snapshot().await;
    let loaded = views::Views::load(&stage.store.memory).await.unwrap();
    assert_eq!(loaded.position(), stage.control.position());
    assert_eq!(*loaded.read(), *stage.control.views().read());
}

#[tokio::test]
async fn the_sweep_takes_what_belongs_to_nobody_and_nothing_else() {
    let stage = Stage::start().await;
    let (node, node_key) = stage.node("a").await;
    let api_key = async |name: &str| {
        let answer = stage.ask(Operation::ApiKeyCreate).body(json!({"name": name})).send().await.body;
        (answer["id"].as_str().unwrap().to_owned(), answer["key"].as_str().unwrap().to_owned())
    };
    let (_, live) = api_key("live").await;
    let orphan = domain::NodeId::from_parts(1, [1; 10]);
    stage.control.keep_node_key(orphan, trust::secret_hash("orphan")).await.unwrap();
    stage.control.keep_api_key(domain::ApiKeyId::from_parts(1, [1; 10]), trust::secret_hash("k")).await.unwrap();
    let records = || kept(&stage, Bucket::Credentials);
    assert_eq!(records().await, 4);
    orphans::sweep(&stage.control, jiff::Timestamp::MIN).await;
    assert_eq!(records().await, 4, "the young ones may still get their fact");
    orphans::sweep(&stage.control, jiff::Timestamp::MAX).await;
    assert_eq!(records().await, 2);
    let known = stage.control.authenticate_node(&node.id.to_string(), NodeCredential::Key(&node_key)).await;
    assert!(known.is_ok() && stage.control.authenticate_api_key(&live).await.is_ok());
}

/// A fact that the journal can never take is refused at once, not tried until the time is over.
#[tokio::test]
async fn a_fact_that_is_too_large_is_told_and_not_sent() {
    let stage = Stage::start().await;
    let name = "x".repeat(journal::BODY_BYTES_MAX);
    let decide = |state: &views::State| {
        let org = state.orgs.org(stage.control.default_org()).unwrap();
        let event = Event::Org(org::Event::Created(org::Created { name: name.clone() }));
        let fact = Fact::next(domain::Aggregate::Org(org.slug.clone()), org.position, event);
        Ok(Decision::Append(Box::new(fact), ()))
    };
    let sent = stage.store.days.appends.load(SeqCst);
    let refused = stage.control.commit(&Meta::once(domain::Actor::System), decide).await.map(drop);
    assert_eq!(refused.unwrap_err().code, contract::ErrorCode::PayloadTooLarge);
    assert_eq!(stage.store.days.appends.load(SeqCst), sent);
}
