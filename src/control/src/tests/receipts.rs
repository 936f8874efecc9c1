//! Receipts of activations: genuine ones become facts, once; others leave nothing but a count.

use super::stage::{BASE_URL, Stage, code};
use crate::NodeIdentity;
use contract::{ErrorCode, LatestBundle, Offer, Operation, ReplaceKey};
use domain::node::{self, ActivationReceipt};
use domain::{Event, NodeId};
use serde_json::{Value, json};
use std::sync::atomic::Ordering::SeqCst;
use trust::nats::{KeyKind, NatsKey};
use trust::{Counter, Receipt, SignedReceipt, sign_receipt};

struct Signer {
    identity: NodeIdentity,
    key: NatsKey,
}

/// A node that has told what it signs with.
async fn signer(stage: &Stage, name: &str) -> Signer {
    let key = NatsKey::generate(KeyKind::User);
    let body = json!({"name": name, "public_key": key.public_key()});
    let (registered, _) = stage.register(body, None).await.unwrap();
    let secret = registered.node_key.unwrap();
    let credential = crate::NodeCredential::Key(&secret);
    let identity = stage.control.authenticate_node(&registered.node_id, credential).await.unwrap();
    Signer { identity, key }
}

impl Signer {
    /// What it is offered now.
    async fn offer(&self, stage: &Stage) -> Offer {
        match stage.control.latest_bundle(&self.identity, BASE_URL).await.unwrap() {
            LatestBundle::Offer(offer) => *offer,
            LatestBundle::NoUpdate(_) => panic!("no offer"),
        }
    }

    fn receipt(&self, offer: &Offer) -> Receipt {
        let signed: trust::SignedAssignment = serde_json::from_value(offer.assignment.clone()).unwrap();
        let json = data_encoding::BASE64URL_NOPAD.decode(signed.payload.as_bytes()).unwrap();
        let assignment: trust::Assignment = serde_json::from_slice(&json).unwrap();
        Receipt {
            org: assignment.org,
            project: assignment.project,
            node_id: assignment.node_id,
            bundle_id: assignment.bundle_id,
            digest: assignment.digest,
            counter: assignment.counter,
            activated_at: "2026-02-23T10:00:00Z".parse().unwrap(),
        }
    }

    async fn tell(&self, stage: &Stage, receipt: &SignedReceipt) {
        stage.beat(&self.identity, json!({ "receipt": receipt })).await.unwrap();
    }
}

/// A bundle that is assigned to these nodes.
async fn assigned(stage: &Stage, version: &str, nodes: &[&Signer]) -> String {
    let bundle = stage.bundle(version).await;
    let ids: Vec<String> = nodes.iter().map(|node| node.identity.id.to_string()).collect();
    let answer = stage.ask(Operation::BundleAssign).id(&bundle).body(json!({"node_ids": ids})).send().await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    bundle
}

async fn kept(stage: &Stage) -> Vec<ActivationReceipt> {
    let receipt = |event| match event {
        Event::Node(node::Event::ActivationReceipt(receipt)) => Some(receipt),
        _ => None,
    };
    stage.events().await.into_iter().filter_map(receipt).collect()
}

async fn listed(stage: &Stage, node: &str, query: &[(&str, &str)]) -> Value {
    let asked = query.iter().fold(stage.ask(Operation::NodeReceipts).id(node), |asked, (k, v)| asked.query(k, v));
    let answer = asked.send().await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

#[tokio::test]
async fn a_genuine_receipt_is_a_fact_once_and_proves_itself() {
    let stage = Stage::start().await;
    let node = signer(&stage, "a").await;
    let first = assigned(&stage, "v1", &[&node]).await;
    let receipt = node.receipt(&node.offer(&stage).await);
    let signed = sign_receipt(&node.key, &receipt);
    node.tell(&stage, &signed).await;
    node.tell(&stage, &signed).await;
    let facts = kept(&stage).await;
    assert_eq!(facts.len(), 1, "the node repeats it until it hears an answer");
    let proof = SignedReceipt {
        payload: facts[0].payload.clone(),
        signature: facts[0].signature.clone(),
        public_key: facts[0].public_key.to_string(),
    };
    assert_eq!(trust::verify_receipt(&proof), Ok(receipt));
    assert_eq!(facts[0].bundle_id.to_string(), first);

    stage.beat(&node.identity, json!({"active_bundle_id": first})).await.unwrap();
    assigned(&stage, "v2", &[&node]).await;
    let newer = node.receipt(&node.offer(&stage).await);
    node.tell(&stage, &sign_receipt(&node.key, &newer)).await;
    node.tell(&stage, &signed).await;
    assert_eq!(kept(&stage).await.len(), 2);
}

#[tokio::test]
async fn what_is_not_genuine_leaves_no_fact_and_costs_no_heartbeat() {
    let stage = Stage::start().await;
    let (node, other) = (signer(&stage, "a").await, signer(&stage, "b").await);
    let unsigned = stage.node("c").await.0;
    assigned(&stage, "v1", &[&node, &other]).await;
    let good = node.receipt(&node.offer(&stage).await);
    let foreign = sign_receipt(&other.key, &other.receipt(&other.offer(&stage).await));
    let changed = |change: &dyn Fn(&mut Receipt)| {
        let mut receipt = good.clone();
        change(&mut receipt);
        sign_receipt(&node.key, &receipt)
    };
    let genuine = sign_receipt(&node.key, &good);
    let false_ones = [
        SignedReceipt { signature: foreign.signature.clone(), ..genuine.clone() },
        SignedReceipt { payload: changed(&|r| r.digest = "00".repeat(32)).payload, ..genuine.clone() },
        SignedReceipt { payload: "?".into(), ..genuine.clone() },
        SignedReceipt { public_key: "U".into(), ..genuine.clone() },
        sign_receipt(&NatsKey::generate(KeyKind::User), &good),
        foreign,
        changed(&|r| r.node_id = other.identity.id.to_string()),
        changed(&|r| r.org = "other".into()),
        changed(&|r| r.project = "other".into()),
        changed(&|r| r.digest = "00".repeat(32)),
        changed(&|r| r.bundle_id = NodeId::from_bytes([1; 16]).to_string()),
        changed(&|r| r.bundle_id = "v1".into()),
        changed(&|r| r.counter.position += 1),
        changed(&|r| r.counter = Counter { epoch: 7, ..r.counter }),
    ];
    let (beats, count) = (stage.store.days.beats_written.load(SeqCst), false_ones.len());
    for receipt in &false_ones {
        node.tell(&stage, receipt).await;
    }
    stage.beat(&unsigned, json!({ "receipt": genuine })).await.unwrap();
    assert!(stage.store.days.beats_written.load(SeqCst) - beats >= count as u64, "every beat counts");
    assert_eq!(kept(&stage).await, []);
    assert_eq!(stage.control.store_metrics().receipts_dropped(), count as u64 + 1);
    node.tell(&stage, &genuine).await;
    assert_eq!(kept(&stage).await.len(), 1);
    let malformed = stage.beat(&node.identity, json!({"receipt": {"payload": 1}})).await.unwrap_err();
    assert_eq!(malformed.code, ErrorCode::ValidationFailed);
}

#[tokio::test]
async fn a_replica_that_does_not_know_the_assignment_yet_asks_before_it_drops() {
    let stage = Stage::start().await;
    let node = signer(&stage, "a").await;
    let beside = stage.beside().await;
    for round in 0..5 {
        assigned(&stage, &format!("v{round}"), &[&node]).await;
        let offer = node.offer(&stage).await;
        let told = sign_receipt(&node.key, &node.receipt(&offer));
        let body = json!({"receipt": told, "active_bundle_id": offer.bundle_id});
        beside.beat(&node.identity, body).await.unwrap();
        stage.control.catch_up().await.unwrap();
    }
    assert_eq!(kept(&stage).await.len(), 5);
}

#[tokio::test]
async fn a_store_that_fails_makes_the_node_tell_it_again() {
    let stage = Stage::start().await;
    let node = signer(&stage, "a").await;
    let told = sign_receipt(
        &node.key,
        &Receipt {
            org: "default".into(),
            project: "demo".into(),
            node_id: node.identity.id.to_string(),
            bundle_id: NodeId::from_bytes([1; 16]).to_string(),
            digest: "00".repeat(32),
            counter: Counter { epoch: 0, position: 1 },
            activated_at: "2026-02-23T10:00:00Z".parse().unwrap(),
        },
    );
    stage.beat(&node.identity, json!({})).await.unwrap();
    stage.store.days.reader_fails.store(true, SeqCst);
    let failed = stage.beat(&node.identity, json!({ "receipt": told })).await.unwrap_err();
    assert_eq!(failed.code, ErrorCode::Unavailable, "nobody knows yet whether it is to be kept");
    stage.store.days.reader_fails.store(false, SeqCst);
    assert_eq!(stage.control.store_metrics().receipts_dropped(), 0);
}

#[tokio::test]
async fn receipts_are_read_page_by_page_from_the_journal() {
    let stage = Stage::start().await;
    let (node, other) = (signer(&stage, "a").await, signer(&stage, "b").await);
    let mut bundles = Vec::new();
    for version in ["v1", "v2", "v3"] {
        bundles.push(assigned(&stage, version, &[&node, &other]).await);
        for node in [&node, &other] {
            let offer = node.offer(&stage).await;
            let told = sign_receipt(&node.key, &node.receipt(&offer));
            let body = json!({"receipt": told, "active_bundle_id": offer.bundle_id});
            stage.beat(&node.identity, body).await.unwrap();
        }
    }
    let all = listed(&stage, "a", &[]).await;
    let of = |body: &Value| -> Vec<Value> {
        body["receipts"].as_array().unwrap().iter().map(|receipt| receipt["bundle_id"].clone()).collect()
    };
    assert_eq!((of(&all), &all["next"]), (bundles.iter().map(|id| json!(id)).collect(), &Value::Null));
    assert_eq!(all["receipts"][0]["node_id"], node.identity.id.to_string());
    let first = listed(&stage, "a", &[("limit", "2")]).await;
    assert_eq!(of(&first), of(&all)[..2]);
    let rest = listed(&stage, "a", &[("limit", "2"), ("after", first["next"].as_str().unwrap())]).await;
    assert_eq!((of(&rest), &rest["next"]), (of(&all)[2..].to_vec(), &Value::Null));
    let wrong = stage.ask(Operation::NodeReceipts).id("a").query("after", "x").send().await;
    assert_eq!((wrong.status, code(&wrong)), (422, "validation_failed"));
    let nobody = stage.ask(Operation::NodeReceipts).id("nobody").send().await;
    assert_eq!((nobody.status, code(&nobody)), (404, "not_found"));
}

#[tokio::test]
async fn a_node_without_a_signing_key_adds_one_and_nobody_replaces_it() {
    let stage = Stage::start().await;
    let (identity, _) = stage.node("a").await;
    let key = NatsKey::generate(KeyKind::User);
    let wish = |key: &NatsKey| ReplaceKey { public_key: Some(key.public_key().parse().unwrap()) };
    stage.control.rotate_node_key(&identity, wish(&key)).await.unwrap();
    let shown = stage.ask(Operation::NodeShow).id("a").send().await.body["node"]["public_key"].clone();
    assert_eq!(shown, key.public_key());
    stage.control.rotate_node_key(&identity, wish(&key)).await.unwrap();
    let other = stage.control.rotate_node_key(&identity, wish(&NatsKey::generate(KeyKind::User))).await;
    assert_eq!(other.err().unwrap().code, ErrorCode::Conflict);
    assert_eq!(stage.count("node.key_rotated").await, 2);
    let node = Signer { identity, key };
    assigned(&stage, "v1", &[&node]).await;
    let receipt = node.receipt(&node.offer(&stage).await);
    node.tell(&stage, &sign_receipt(&node.key, &receipt)).await;
    assert_eq!(kept(&stage).await.len(), 1);
    assert_eq!(stage.ask(Operation::NodeRotateKey).id("a").send().await.status, 200);
    let still = stage.ask(Operation::NodeShow).id("a").send().await.body["node"]["public_key"].clone();
    assert_eq!(still, node.key.public_key(), "an operator's new secret leaves it");
}
