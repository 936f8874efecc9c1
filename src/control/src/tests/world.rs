//! A project with one resource for every operation, and the request that each operation succeeds with.

use super::hosts::{approve, host};
use super::stage::{CONFIG, Stage};
use contract::{Operation, Request};
use domain::org::{self, KeyUse};
use domain::project::{self, Registration};
use domain::{Aggregate, Event, Position, ProjectId, Slug};
use serde_json::{Value, json};

use crate::execute::{Fact, Meta};

pub(crate) struct World {
    node: String,
    node_to_delete: String,
    free_node: String,
    unowned_node: String,
    assigned_too: String,
    bundle: String,
    bundle_to_revoke: String,
    bundle_to_delete: String,
    running: String,
    running_too: String,
    paused: String,
    pending: String,
    failing: String,
    api_key: String,
    unapproved: String,
    join_token: String,
    /// Hosts that wait, and one that is approved.
    waiting: String,
    waiting_too: String,
    let_in: String,
}

impl World {
    pub async fn of(stage: &Stage) -> World {
        let mut nodes = Vec::new();
        for name in ["n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"] {
            let (node, _) = stage.node(name).await;
            stage.control.ingest_config(&node, json!({"config_kdl": CONFIG})).await.unwrap();
            nodes.push(node.id.to_string());
        }
        let nodes = <[String; 8]>::try_from(nodes).unwrap();
        let [running, running_too, paused, free_node, node_to_delete, failing, unowned_node, assigned_too] = nodes;
        let bundle = stage.bundle("v1").await;
        let bundle_to_revoke = stage.bundle("v2").await;
        let bundle_to_delete = stage.bundle("v3").await;
        let on = |node: &str| json!({"bundle_id": bundle, "target_selector": {"type": "node_ids", "node_ids": [node]}});
        let node = running.clone();
        let running = stage.rollout(on(&running)).await;
        let running_too = stage.rollout(on(&running_too)).await;
        let paused = stage.rollout(on(&paused)).await;
        assert_eq!(stage.ask(Operation::RolloutPause).id(&paused).send().await.status, 200);
        let failing = stage.rollout(on(&failing)).await;
        let mut held = on(&node_to_delete);
        held["start"] = json!(false);
        let pending = stage.rollout(held).await;
        let api_key = stage.ask(Operation::ApiKeyCreate).body(json!({"name": "ci"})).send().await;
        let api_key = api_key.body["id"].as_str().unwrap().to_owned();
        let (join_token, secret) = stage.join_token(json!({"name": "rack", "approval": true})).await;
        let unapproved = stage.join(&secret, json!({"name": "n9"}), None).await.unwrap().0.node_id;
        let (waiting, waiting_too) = (host("h1").enroll(stage).await, host("h2").enroll(stage).await);
        let let_in = host("h3").enroll(stage).await;
        assert_eq!(approve(stage, &let_in, json!({})).await.status, 200);
        World {
            node,
            node_to_delete,
            free_node,
            unowned_node,
            assigned_too,
            bundle,
            bundle_to_revoke,
            bundle_to_delete,
            running,
            running_too,
            paused,
            pending,
            failing,
            api_key,
            unapproved,
            join_token,
            waiting,
            waiting_too,
            let_in,
        }
    }

    pub fn request(&self, operation: Operation) -> Request {
        let id = match operation {
            Operation::NodeShow
            | Operation::NodeWhy
            | Operation::NodeRotateKey
            | Operation::NodeEvents
            | Operation::NodeConfig
            | Operation::NodeMetrics
            | Operation::NodeReceipts
            | Operation::NodeWafEvents => Some(&self.node),
            Operation::NodeDelete => Some(&self.node_to_delete),
            Operation::NodeApprove => Some(&self.unapproved),
            Operation::TokenShow | Operation::TokenRevoke => Some(&self.join_token),
            Operation::BundleShow | Operation::BundleDownload | Operation::BundleVerify => Some(&self.bundle),
            Operation::BundleAssign => Some(&self.bundle),
            Operation::BundleRevoke => Some(&self.bundle_to_revoke),
            Operation::BundleDelete => Some(&self.bundle_to_delete),
            Operation::RolloutShow | Operation::RolloutPause | Operation::RolloutWhy => Some(&self.running),
            Operation::RolloutStart => Some(&self.pending),
            Operation::RolloutRollback => Some(&self.failing),
            Operation::RolloutCancel => Some(&self.running_too),
            Operation::RolloutResume => Some(&self.paused),
            Operation::ApiKeyShow | Operation::ApiKeyRevoke => Some(&self.api_key),
            Operation::EnrollShow | Operation::EnrollRevoke => Some(&self.let_in),
            Operation::EnrollApprove => Some(&self.waiting),
            Operation::EnrollReject => Some(&self.waiting_too),
            Operation::ProjectCreate
            | Operation::ProjectList
            | Operation::ProjectUpdate
            | Operation::TokenCreate
            | Operation::TokenList
            | Operation::NodeList
            | Operation::NodeStats
            | Operation::NodeAllEvents
            | Operation::NodeAllWafEvents
            | Operation::BundleCreate
            | Operation::BundleList
            | Operation::RolloutCreate
            | Operation::RolloutList
            | Operation::ApiKeyCreate
            | Operation::ApiKeyList
            | Operation::EnrollList => None,
        };
        Request { project: Some("demo".to_owned()), id: id.cloned(), body: self.body(operation), ..Request::default() }
    }

    fn body(&self, operation: Operation) -> Value {
        match operation {
            Operation::ProjectCreate => json!({"slug": "new"}),
            Operation::BundleCreate => json!({"version": "v-new", "config_source": CONFIG}),
            Operation::RolloutCreate => {
                json!({"bundle_id": self.bundle, "target_selector": {"type": "node_ids", "node_ids": [self.free_node]}})
            }
            Operation::ApiKeyCreate | Operation::TokenCreate => json!({"name": "new"}),
            Operation::ProjectUpdate => json!({"registration": "enrolled"}),
            Operation::BundleAssign => json!({"node_ids": [self.unowned_node]}),
            _ => Value::Null,
        }
    }

    /// The same request with another body, as valid as the first.
    pub fn other_request(&self, operation: Operation) -> Request {
        let mut request = self.request(operation);
        let (field, value) = match operation {
            Operation::ProjectCreate => ("slug", json!("newer")),
            Operation::BundleCreate => ("version", json!("v-newer")),
            Operation::RolloutCreate => ("max_unavailable", json!(1)),
            Operation::ApiKeyCreate | Operation::TokenCreate => ("name", json!("newer")),
            Operation::ProjectUpdate => ("registration", json!("token")),
            Operation::BundleAssign => ("node_ids", json!([self.unowned_node, self.assigned_too])),
            Operation::EnrollApprove => ("fingerprint", json!("SHA256:x")),
            _ => ("reason", json!("another")),
        };
        request.body[field] = value;
        request
    }
}

/// One more org with a project and its signing keys.
pub(crate) async fn another_org(stage: &Stage, org: &str, project: &str) {
    let (org, project): (Slug, Slug) = (org.parse().unwrap(), project.parse().unwrap());
    let created = Event::Org(org::Event::Created(org::Created { name: org.to_string() }));
    let of_org = Fact::next(Aggregate::Org(org.clone()), Position::START, created);
    let created = project::Created {
        id: ProjectId::from_parts(1, [1; 10]),
        name: project.to_string(),
        registration: Registration::Open,
    };
    let aggregate = Aggregate::Project { org: org.clone(), project };
    let of_project = Fact::first(aggregate, Position::START, Event::Project(project::Event::Created(created)));
    let meta = Meta::once(domain::Actor::System);
    stage.control.commit_batch(&meta, vec![of_org, of_project]).await.unwrap().unwrap();
    stage.control.create_signing_key(&org, KeyUse::NodeToken).await.unwrap();
    stage.control.create_signing_key(&org, KeyUse::Bundle).await.unwrap();
}
