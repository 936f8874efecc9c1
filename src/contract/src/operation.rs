//! Operator operations in one shape for both ways in: REST with an API key, and NATS request/reply with an operator's
//! credential. The route table says how each is reached.

use crate::code::ErrorBody;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What an operator can ask for, named `<noun>.<verb>` as in the last two tokens of the admin subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    ProjectCreate,
    ProjectList,
    ProjectUpdate,
    NodeList,
    NodeStats,
    NodeShow,
    NodeWhy,
    NodeDelete,
    NodeApprove,
    NodeRotateKey,
    TokenCreate,
    TokenList,
    TokenShow,
    TokenRevoke,
    NodeEvents,
    NodeConfig,
    NodeMetrics,
    NodeWafEvents,
    NodeReceipts,
    NodeAllEvents,
    NodeAllWafEvents,
    BundleCreate,
    BundleList,
    BundleShow,
    BundleDownload,
    BundleVerify,
    BundleRevoke,
    BundleAssign,
    BundleDelete,
    RolloutCreate,
    RolloutList,
    RolloutShow,
    RolloutPause,
    RolloutResume,
    RolloutCancel,
    RolloutStart,
    RolloutRollback,
    RolloutWhy,
    EnrollList,
    EnrollShow,
    EnrollApprove,
    EnrollReject,
    EnrollRevoke,
    ApiKeyCreate,
    ApiKeyList,
    ApiKeyShow,
    ApiKeyRevoke,
}

impl Operation {
    pub const ALL: [Operation; 47] = [
        Operation::ProjectCreate,
        Operation::ProjectList,
        Operation::ProjectUpdate,
        Operation::NodeList,
        Operation::NodeStats,
        Operation::NodeShow,
        Operation::NodeWhy,
        Operation::NodeDelete,
        Operation::NodeApprove,
        Operation::NodeRotateKey,
        Operation::TokenCreate,
        Operation::TokenList,
        Operation::TokenShow,
        Operation::TokenRevoke,
        Operation::NodeEvents,
        Operation::NodeConfig,
        Operation::NodeMetrics,
        Operation::NodeWafEvents,
        Operation::NodeReceipts,
        Operation::NodeAllEvents,
        Operation::NodeAllWafEvents,
        Operation::BundleCreate,
        Operation::BundleList,
        Operation::BundleShow,
        Operation::BundleDownload,
        Operation::BundleVerify,
        Operation::BundleRevoke,
        Operation::BundleAssign,
        Operation::BundleDelete,
        Operation::RolloutCreate,
        Operation::RolloutList,
        Operation::RolloutShow,
        Operation::RolloutPause,
        Operation::RolloutResume,
        Operation::RolloutCancel,
        Operation::RolloutStart,
        Operation::RolloutRollback,
        Operation::RolloutWhy,
        Operation::EnrollList,
        Operation::EnrollShow,
        Operation::EnrollApprove,
        Operation::EnrollReject,
        Operation::EnrollRevoke,
        Operation::ApiKeyCreate,
        Operation::ApiKeyList,
        Operation::ApiKeyShow,
        Operation::ApiKeyRevoke,
    ];

    /// `<noun>.<verb>`
    pub fn name(self) -> &'static str {
        match self {
            Operation::ProjectCreate => "project.create",
            Operation::ProjectList => "project.list",
            Operation::ProjectUpdate => "project.update",
            Operation::NodeList => "node.list",
            Operation::NodeStats => "node.stats",
            Operation::NodeShow => "node.show",
            Operation::NodeWhy => "node.why",
            Operation::NodeDelete => "node.delete",
            Operation::NodeApprove => "node.approve",
            Operation::NodeRotateKey => "node.rotate_key",
            Operation::TokenCreate => "token.create",
            Operation::TokenList => "token.list",
            Operation::TokenShow => "token.show",
            Operation::TokenRevoke => "token.revoke",
            Operation::NodeEvents => "node.events",
            Operation::NodeConfig => "node.config",
            Operation::NodeMetrics => "node.metrics",
            Operation::NodeWafEvents => "node.waf_events",
            Operation::NodeReceipts => "node.receipts",
            Operation::NodeAllEvents => "node.all_events",
            Operation::NodeAllWafEvents => "node.all_waf_events",
            Operation::BundleCreate => "bundle.create",
            Operation::BundleList => "bundle.list",
            Operation::BundleShow => "bundle.show",
            Operation::BundleDownload => "bundle.download",
            Operation::BundleVerify => "bundle.verify",
            Operation::BundleRevoke => "bundle.revoke",
            Operation::BundleAssign => "bundle.assign",
            Operation::BundleDelete => "bundle.delete",
            Operation::RolloutCreate => "rollout.create",
            Operation::RolloutList => "rollout.list",
            Operation::RolloutShow => "rollout.show",
            Operation::RolloutPause => "rollout.pause",
            Operation::RolloutResume => "rollout.resume",
            Operation::RolloutCancel => "rollout.cancel",
            Operation::RolloutStart => "rollout.start",
            Operation::RolloutRollback => "rollout.rollback",
            Operation::RolloutWhy => "rollout.why",
            Operation::EnrollList => "enroll.list",
            Operation::EnrollShow => "enroll.show",
            Operation::EnrollApprove => "enroll.approve",
            Operation::EnrollReject => "enroll.reject",
            Operation::EnrollRevoke => "enroll.revoke",
            Operation::ApiKeyCreate => "apikey.create",
            Operation::ApiKeyList => "apikey.list",
            Operation::ApiKeyShow => "apikey.show",
            Operation::ApiKeyRevoke => "apikey.revoke",
        }
    }

    pub fn parse(name: &str) -> Option<Operation> {
        Operation::ALL.into_iter().find(|operation| operation.name() == name)
    }
}

/// One call. Over NATS this is the MessagePack payload; over HTTP the edge fills it from path, query, headers and body.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Request {
    /// Slug of the project, for operations within one.
    pub project: Option<String>,
    /// Id of the resource, for operations on one.
    pub id: Option<String>,
    pub query: BTreeMap<String, String>,
    /// A JSON object, or null.
    pub body: Value,
    /// 1 to 255 characters: makes a repeat of a mutation return the first answer.
    pub idempotency_key: Option<String>,
    /// Answer only from views that hold this position.
    pub min_position: Option<u64>,
}

/// What became of a call. Over NATS this is the MessagePack reply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The HTTP status that the REST route gives.
    pub status: u16,
    /// The body of the REST route: the resource, or an [`ErrorBody`].
    pub body: Value,
    /// For a mutation, where its fact stands; for a read, what the views held.
    pub position: u64,
}

impl Answer {
    pub fn error(&self) -> Option<ErrorBody> {
        if self.status < 400 {
            return None;
        }
        serde_json::from_value(self.body.clone()).ok()
    }
}
