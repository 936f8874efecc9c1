//! Paging and filters: every entry once, and `next` only where something follows.

use super::stage::{Stage, code};
use contract::Operation;
use futures_util::future::join_all;
use serde_json::{Value, json};

/// Walks all pages; the texts of `field`, page by page.
async fn pages(stage: &Stage, operation: Operation, list: &str, field: &str, limit: usize) -> Vec<Vec<String>> {
    let (mut pages, mut after) = (Vec::new(), None::<String>);
    loop {
        let mut asking = stage.ask(operation).query("limit", &limit.to_string());
        if let Some(after) = &after {
            asking = asking.query("after", after);
        }
        let body = asking.send().await.body;
        let shown: Vec<String> =
            body[list].as_array().unwrap().iter().map(|entry| entry[field].as_str().unwrap().to_owned()).collect();
        assert!(shown.len() <= limit);
        pages.push(shown);
        match &body["next"] {
            Value::Null => return pages,
            next => after = Some(next.as_str().unwrap().to_owned()),
        }
    }
}

#[tokio::test]
async fn every_entry_is_on_exactly_one_page() {
    let stage = Stage::start().await;
    let names = ["a", "b", "c", "d"];
    let bundle = stage.bundle("v0").await;
    for name in names {
        let (node, _) = stage.node(name).await;
        let selector = json!({"type": "node_ids", "node_ids": [node.id.to_string()]});
        stage.rollout(json!({"bundle_id": bundle, "target_selector": selector})).await;
    }
    for version in ["v1", "v2", "v3"] {
        stage.new_bundle(version, "not kdl {").await;
    }
    let lists = [
        (Operation::NodeList, "nodes", "name", names.map(str::to_owned).to_vec()),
        (Operation::BundleList, "bundles", "version", ["v3", "v2", "v1", "v0"].map(str::to_owned).to_vec()),
    ];
    for (operation, list, field, all) in lists {
        for (limit, count) in [(1, 4), (2, 2), (3, 2), (4, 1), (5, 1)] {
            let pages = pages(&stage, operation, list, field, limit).await;
            assert_eq!((pages.concat(), pages.len()), (all.clone(), count), "{list} by {limit}");
        }
    }
    let by_two = pages(&stage, Operation::RolloutList, "rollouts", "id", 2).await;
    assert_eq!(by_two.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
    let mut ids = by_two.concat();
    ids.dedup();
    assert_eq!(ids.len(), 4);
    let total = stage.ask(Operation::RolloutList).query("limit", "1").send().await.body["total"].clone();
    assert_eq!(total, 4);
}

#[tokio::test]
async fn an_empty_list_has_no_next() {
    let stage = Stage::start().await;
    for (operation, list) in
        [(Operation::NodeList, "nodes"), (Operation::BundleList, "bundles"), (Operation::RolloutList, "rollouts")]
    {
        let answer = stage.ask(operation).send().await;
        assert_eq!(answer.body, json!({list: [], "total": 0, "next": null}));
    }
}

#[tokio::test]
async fn filters_count_and_page_what_matches() {
    let stage = Stage::start().await;
    let register = |n: usize| {
        let env = if n.is_multiple_of(2) { "production" } else { "test" };
        stage.register(json!({"name": format!("n{n}"), "labels": {"env": env, "n": n.to_string()}}), None)
    };
    join_all((0..6).map(register)).await.into_iter().for_each(|answer| drop(answer.unwrap()));
    let list = async |filters: &[(&str, &str)]| {
        let asking = filters.iter().fold(stage.ask(Operation::NodeList), |asking, (k, v)| asking.query(k, v));
        let body = asking.send().await.body;
        let names: Vec<String> =
            body["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect();
        (names.join(" "), body["total"].as_u64().unwrap(), body["next"].as_str().map(str::to_owned))
    };
    let production = ("labels[env]", "production");
    assert_eq!(list(&[production]).await, ("n0 n2 n4".to_owned(), 3, None));
    assert_eq!(list(&[production, ("limit", "3")]).await, ("n0 n2 n4".to_owned(), 3, None));
    assert_eq!(list(&[production, ("limit", "2")]).await, ("n0 n2".to_owned(), 3, Some("n2".to_owned())));
    assert_eq!(list(&[production, ("limit", "2"), ("after", "n2")]).await, ("n4".to_owned(), 3, None));
    assert_eq!(list(&[production, ("labels[n]", "1")]).await, (String::new(), 0, None));
    assert_eq!(list(&[("status", "unknown"), ("limit", "6")]).await.1, 6);
    assert_eq!(list(&[("status", "online")]).await, (String::new(), 0, None));
    let stats = stage.ask(Operation::NodeStats).send().await.body;
    let by_status = json!({"online": 0, "offline": 0, "unknown": 6});
    assert_eq!(stats, json!({"total": 6, "online": 0, "offline": 0, "unknown": 6, "by_status": by_status}));
    let failed = stage.new_bundle("bad", "not kdl {").await;
    stage.until_shown(Operation::BundleShow, &failed, "bundle", |bundle| bundle["status"] == "failed").await;
    let only = |status: &'static str| stage.ask(Operation::BundleList).query("status", status).send();
    assert_eq!(
        (only("failed").await.body["total"].clone(), only("compiled").await.body["total"].clone()),
        (json!(1), json!(0))
    );
}

#[tokio::test]
async fn a_wrong_filter_names_itself() {
    let stage = Stage::start().await;
    let everywhere = [Operation::NodeList, Operation::BundleList, Operation::RolloutList];
    let mut cases: Vec<(Operation, &str, &str)> = Vec::new();
    for operation in everywhere {
        cases.extend([(operation, "limit", "0"), (operation, "limit", "1001"), (operation, "limit", "-1")]);
        cases.extend([(operation, "limit", "many"), (operation, "after", "no such place!")]);
    }
    cases.extend([(Operation::NodeList, "status", "asleep"), (Operation::BundleList, "status", "online")]);
    cases.push((Operation::RolloutList, "state", "flying"));
    let long = "x".repeat(256);
    for (operation, field, value) in cases {
        let answer = stage.ask(operation).query(field, value).send().await;
        assert_eq!((answer.status, code(&answer)), (422, "validation_failed"), "{} {field}={value}", operation.name());
        assert!(answer.body["error"].get(field).is_some(), "{}", answer.body);
    }
    for (label, value) in [("labels[]", "x"), ("labels[a b]", "x"), ("labels[a]", long.as_str())] {
        let answer = stage.ask(Operation::NodeList).query(label, value).send().await;
        assert_eq!(answer.status, 422, "{label}");
        assert!(answer.body["error"].get("labels").is_some(), "{}", answer.body);
    }
}
