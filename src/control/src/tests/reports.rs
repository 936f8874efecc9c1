//! What nodes reported, as operators read it back.

use super::stage::{Stage, code, operator};
use crate::Caller;
use contract::{ErrorCode, Operation};
use domain::api_key::Scope;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

async fn report(stage: &Stage, node: &crate::NodeIdentity, messages: &[&str]) {
    let events: Vec<Value> = messages.iter().map(|m| json!({"event_type": "info", "message": m})).collect();
    stage.control.ingest_events(node, json!({ "events": events })).await.unwrap();
}

fn messages(body: &Value) -> String {
    let events = body["events"].as_array().unwrap_or_else(|| panic!("{body}"));
    events.iter().map(|event| event["message"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn events_come_back_in_order_and_page_by_page() {
    let stage = Stage::start().await;
    let ((a, _), (b, _)) = (stage.node("a").await, stage.node("b").await);
    report(&stage, &a, &["a1", "a2", "a3"]).await;
    report(&stage, &b, &["b1"]).await;
    report(&stage, &a, &[]).await;
    report(&stage, &a, &["a4"]).await;
    let all = stage.ask(Operation::NodeAllEvents).send().await;
    assert_eq!((all.status, messages(&all.body).as_str(), &all.body["next"]), (200, "a1 a2 a3 b1 a4", &Value::Null));
    let first = &all.body["events"][0];
    assert_eq!((&first["node_id"], &first["timestamp"]), (&json!(a.id.to_string()), &first["received_at"]));
    assert!(serde_json::from_value::<contract::ReportedEvent>(first.clone()).is_ok());
    for (limit, pages) in [("1", "a1|a2|a3|a4"), ("2", "a1 a2|a3 a4"), ("3", "a1 a2 a3|a4"), ("4", "a1 a2 a3 a4")] {
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let mut asking = stage.ask(Operation::NodeEvents).id("a").query("limit", limit);
            asking = after.iter().fold(asking, |asking, after| asking.query("after", after));
            let body = asking.send().await.body;
            if body["events"] != json!([]) {
                found.push(messages(&body));
            }
            match body["next"].as_str() {
                Some(next) => after = Some(next.to_owned()),
                None => break,
            }
            assert!(found.len() < 10);
        }
        assert_eq!(found.join("|"), pages, "limit {limit}");
    }
}

#[tokio::test]
async fn a_window_is_about_the_time_of_arrival() {
    let stage = Stage::start().await;
    let (node, _) = stage.node("a").await;
    for (time, message) in [("2026-02-23T10:00:00Z", "one"), ("2026-02-23T11:00:00Z", "two")] {
        stage.store.memory.set_time(time.parse().unwrap());
        report(&stage, &node, &[message]).await;
    }
    let ask = |pairs: &[(&str, &str)]| {
        let asking = stage.ask(Operation::NodeEvents).id("a");
        pairs.iter().fold(asking, |asking, (name, value)| asking.query(name, value)).send()
    };
    let long_ago = ("since", "2026-01-01T00:00:00Z");
    assert_eq!(messages(&ask(&[long_ago]).await.body), "one two");
    assert_eq!(messages(&ask(&[("since", "2026-02-23T10:30:00Z")]).await.body), "two");
    assert_eq!(messages(&ask(&[long_ago, ("until", "2026-02-23T10:00:00Z")]).await.body), "one");
    let wrong = ask(&[("since", "soon")]).await;
    assert_eq!((wrong.status, code(&wrong)), (422, ErrorCode::ValidationFailed.as_str()));
}

#[tokio::test]
async fn metrics_are_unverified_and_the_newest_configuration_comes_with_its_digest() {
    let stage = Stage::start().await;
    let (node, _) = stage.node("a").await;
    let missing = stage.ask(Operation::NodeConfig).id("a").send().await;
    assert_eq!((missing.status, &missing.body["error"]), (404, &json!("Reported configuration not found")));
    for config in ["one", "two"] {
        stage.control.ingest_config(&node, json!({ "config_kdl": config })).await.unwrap();
    }
    let metrics = json!({"metrics": [{"service_id": "s", "project_id": "demo", "request_count": 5}]});
    stage.control.ingest_metrics(&node, metrics).await.unwrap();
    let waf = json!({"events": [{"rule_type": "crs", "rule_id": "1", "action": "blocked", "severity": "high"}]});
    stage.control.ingest_waf_events(&node, waf).await.unwrap();

    let config = stage.ask(Operation::NodeConfig).id(&node.id.to_string()).send().await.body["config"].clone();
    let digest = data_encoding::HEXLOWER.encode(&Sha256::digest("two"));
    assert_eq!((&config["config_kdl"], &config["sha256"]), (&json!("two"), &json!(digest)));
    let body = stage.ask(Operation::NodeMetrics).id("a").send().await.body;
    let metric: contract::ReportedMetric = serde_json::from_value(body["metrics"][0].clone()).unwrap();
    assert_eq!((metric.verified, metric.metric.values["request_count"]), (false, 5));
    for operation in [Operation::NodeWafEvents, Operation::NodeAllWafEvents] {
        let body = stage.ask(operation).id("a").send().await.body;
        let event: contract::ReportedWafEvent = serde_json::from_value(body["waf_events"][0].clone()).unwrap();
        assert_eq!((event.node_id, event.event.timestamp), (node.id.to_string(), Some(event.received_at)));
    }
}

#[tokio::test]
async fn reports_are_for_those_who_may_read_nodes_of_the_project() {
    let stage = Stage::start().await;
    let (node, _) = stage.node("a").await;
    report(&stage, &node, &["secret"]).await;
    let other = stage.ask(Operation::ProjectCreate).body(json!({"slug": "other"})).send().await;
    assert_eq!(other.status, 201);
    let operations = [
        Operation::NodeEvents,
        Operation::NodeConfig,
        Operation::NodeMetrics,
        Operation::NodeWafEvents,
        Operation::NodeAllEvents,
        Operation::NodeAllWafEvents,
    ];
    let writer = Caller { grants: crate::Grants::Scopes(BTreeSet::from([Scope::NodesWrite])), ..operator() };
    let confined = Caller { project: Some("other".parse().unwrap()), ..operator() };
    for operation in operations {
        let id = node.id.to_string();
        assert_eq!(stage.ask(operation).id(&id).by(&writer).send().await.status, 403, "{}", operation.name());
        assert_eq!(stage.ask(operation).id(&id).by(&confined).send().await.status, 404, "{}", operation.name());
        let elsewhere = stage.ask(operation).project("other").id(&id).send().await;
        assert!(!elsewhere.body.to_string().contains("secret"), "{}", operation.name());
    }
    let none = stage.ask(Operation::NodeAllEvents).project("other").send().await;
    assert_eq!(none.body, json!({"events": [], "next": null}));
}
