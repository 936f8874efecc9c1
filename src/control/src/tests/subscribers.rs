//! Subscribers: a consumer and a fact for each, one name for each, and nothing left over.

use super::stage::{Stage, code, operator};
use super::world::{another_org, subscriber_key};
use crate::reactors::orphans;
use crate::{Caller, Grants};
use contract::{Answer, Operation};
use domain::{Actor, subscriber};
use futures_util::future::join_all;
use jiff::Timestamp;
use journal::{Durable, DurableStart, Durables};
use serde_json::{Value, json};

async fn create(stage: &Stage, name: &str, key: char, more: Value) -> Answer {
    let mut body = json!({"name": name, "public_key": subscriber_key(key)});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    stage.ask(Operation::SubscriberCreate).body(body).send().await
}

async fn list(stage: &Stage) -> Vec<Value> {
    let answer = stage.ask(Operation::SubscriberList).send().await;
    answer.body["subscribers"].as_array().unwrap().clone()
}

/// Names of the consumers, and how many facts wait for each.
async fn durables(stage: &Stage) -> Vec<(String, u64)> {
    let durables = stage.store.memory.durables().await.unwrap();
    durables.into_iter().map(|durable| (durable.name, durable.pending)).collect()
}

fn field(answer: &Answer) -> &str {
    assert_eq!(answer.status, 422, "{}", answer.body);
    answer.body["error"].as_object().unwrap().keys().next().unwrap()
}

#[tokio::test]
async fn each_start_is_the_consumers_own() {
    let stage = Stage::start().await;
    stage.node("n1").await;
    let facts = stage.facts().await;
    let of_demo = facts.iter().filter(|fact| fact.aggregate.project().is_some()).count() as u64;
    let last = facts.last().unwrap().position.0;
    for (key, more, pending) in [
        ('A', json!({"project": "demo"}), of_demo),
        ('B', json!({"project": "demo", "start": "new"}), 0),
        ('C', json!({"project": "demo", "start": {"position": last}}), 1),
        ('D', json!({"project": "demo", "start": {"position": last + 1}}), 0),
        ('E', json!({"project": "demo", "start": {"time": "2020-01-01T00:00:00Z"}}), of_demo),
    ] {
        let answer = create(&stage, &key.to_lowercase().to_string(), key, more).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        let durable = format!("sub-{}", subscriber_key(key));
        assert_eq!(
            (&answer.body["durable"], &answer.body["filter"]),
            (&json!(durable), &json!("fleet.default.demo.>"))
        );
        assert!(durables(&stage).await.contains(&(durable, pending)), "{key}");
        assert_eq!(stage.count("subscriber.created").await, list(&stage).await.len());
    }
    let all = create(&stage, "all", 'F', json!({"start": "new"})).await;
    assert_eq!(all.body["filter"], json!("fleet.default.>"));
    let shown = &list(&stage).await[1];
    assert_eq!((&shown["name"], &shown["progress"]["pending"]), (&json!("all"), &json!(1)), "its own creation");
}

#[tokio::test]
async fn what_is_refused_leaves_neither_a_fact_nor_a_consumer() {
    let stage = Stage::start().await;
    another_org(&stage, "foreign", "abroad").await;
    assert_eq!(create(&stage, "billing", 'A', json!({"project": "demo"})).await.status, 201);
    let (facts, consumers) = (stage.facts().await.len(), durables(&stage).await);
    for (name, key, more, wrong) in [
        ("billing", 'B', json!({}), "name"),
        ("other", 'A', json!({}), "public_key"),
        ("billing", 'A', json!({"start": "new", "project": "demo"}), "public_key"),
        ("other", 'B', json!({"project": "nowhere"}), "project"),
        ("other", 'B', json!({"project": "abroad"}), "project"),
        ("other", 'B', json!({"expires_at": "2020-01-01T00:00:00Z"}), "expires_at"),
        ("other", 'B', json!({"start": {"position": 1_000_000}}), "start"),
    ] {
        assert_eq!(field(&create(&stage, name, key, more).await), wrong);
    }
    assert_eq!((stage.facts().await.len(), durables(&stage).await), (facts, consumers));
    // The same again is what is there, also without an `Idempotency-Key`.
    assert_eq!(create(&stage, "billing", 'A', json!({"project": "demo"})).await.status, 201);
    assert_eq!(stage.facts().await.len(), facts);
}

#[tokio::test]
async fn of_many_with_one_name_there_is_one() {
    let stage = Stage::start().await;
    let other = stage.beside().await;
    let racers = ('A'..='H').map(|key| {
        let stage = if key < 'E' { &stage } else { &other };
        create(stage, "billing", key, json!({}))
    });
    let statuses: Vec<u16> = join_all(racers).await.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!((stage.count("subscriber.created").await, durables(&stage).await.len()), (1, 1));
}

#[tokio::test]
async fn what_is_removed_is_gone_and_its_name_is_free() {
    let stage = Stage::start().await;
    let (id, by_name) = (subscriber_key('A'), "billing");
    create(&stage, by_name, 'A', json!({})).await;
    for wrong in ["", "nobody", &subscriber_key('B'), "*"] {
        let answer = stage.ask(Operation::SubscriberRemove).id(wrong).send().await;
        assert_eq!((answer.status, code(&answer)), (404, "not_found"), "{wrong}");
    }
    assert_eq!(stage.ask(Operation::SubscriberRemove).id(by_name).send().await.status, 204);
    assert_eq!((list(&stage).await, durables(&stage).await), (vec![], vec![]));
    // A consumer that was left behind goes with the repeat.
    let left = Durable {
        name: subscriber::durable(&id.parse().unwrap()),
        filter: "fleet.>".to_owned(),
        start: DurableStart::Beginning,
    };
    stage.store.memory.create_durable(left).await.unwrap();
    assert_eq!(stage.ask(Operation::SubscriberRemove).id(&id).send().await.status, 204);
    assert_eq!((durables(&stage).await, stage.count("subscriber.removed").await), (vec![], 1));
    assert_eq!(field(&create(&stage, "other", 'A', json!({})).await), "public_key");
    assert_eq!(create(&stage, by_name, 'B', json!({})).await.status, 201);
}

#[tokio::test]
async fn a_crash_before_the_fact_is_mended_by_the_repeat_or_swept() {
    let stage = Stage::start().await;
    let durable = |key: char| Durable {
        name: subscriber::durable(&subscriber_key(key).parse().unwrap()),
        filter: "fleet.default.>".to_owned(),
        start: DurableStart::Beginning,
    };
    for key in ['A', 'B'] {
        stage.store.memory.create_durable(durable(key)).await.unwrap();
    }
    let foreign = Durable { name: "somebodys".to_owned(), ..durable('C') };
    stage.store.memory.create_durable(foreign).await.unwrap();
    assert_eq!(create(&stage, "billing", 'A', json!({})).await.status, 201);
    orphans::sweep_durables(&stage.control, Timestamp::MIN).await;
    assert_eq!(durables(&stage).await.len(), 3, "a command that is under way keeps its consumer");
    orphans::sweep_durables(&stage.control, Timestamp::MAX).await;
    let names: Vec<String> = durables(&stage).await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["somebodys".to_owned(), durable('A').name]);
}

#[tokio::test]
async fn who_is_confined_to_a_project_sees_its_subscribers_alone() {
    let stage = Stage::start().await;
    stage.ask(Operation::ProjectCreate).body(json!({"slug": "other"})).send().await;
    for (name, key, more) in [
        ("wide", 'A', json!({})),
        ("mine", 'B', json!({"project": "demo"})),
        ("theirs", 'C', json!({"project": "other"})),
    ] {
        assert_eq!(create(&stage, name, key, more).await.status, 201);
    }
    let confined = Caller {
        actor: Actor::ApiKey("k".to_owned()),
        project: Some("demo".parse().unwrap()),
        grants: Grants::Everything,
        ..operator()
    };
    let ask = |operation| stage.ask(operation).by(&confined);
    let listed = ask(Operation::SubscriberList).send().await.body;
    assert_eq!((&listed["total"], &listed["subscribers"][0]["name"]), (&json!(1), &json!("mine")));
    for name in ["wide", "theirs"] {
        assert_eq!(ask(Operation::SubscriberRemove).id(name).send().await.status, 404);
    }
    let body = json!({"name": "new", "public_key": subscriber_key('D')});
    let made = ask(Operation::SubscriberCreate).body(body).send().await;
    assert_eq!(made.body["project"], json!("demo"), "{}", made.body);
    let body = json!({"name": "newer", "public_key": subscriber_key('E'), "project": "other"});
    assert_eq!(field(&ask(Operation::SubscriberCreate).body(body).send().await), "project");
}
