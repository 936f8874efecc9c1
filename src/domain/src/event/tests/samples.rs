//! One representative fact per event, with every field filled.

use crate::api_key::{self, Scope};
use crate::rollout::{self, Cause, HealthGates, LateJoiners, Left, LeftReason, Reason, Restore, Selector, Strategy};
use crate::{
    Actor, Aggregate, ApiKeyId, BundleId, CommandId, Digest, EnrollmentId, Envelope, Event, JoinTokenId, Labels,
    NodeId, ProjectId, RolloutId,
};
use crate::{bundle, enrollment, join_token, node, org, project};
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

const API_KEY: ApiKeyId = ApiKeyId::from_bytes(v7(1));
const PROJECT: ProjectId = ProjectId::from_bytes(v7(2));
const NODE: NodeId = NodeId::from_bytes(v7(3));
const BUNDLE: BundleId = BundleId::from_bytes(v7(4));
const ROLLOUT: RolloutId = RolloutId::from_bytes(v7(5));
const JOIN_TOKEN: JoinTokenId = JoinTokenId::from_bytes(v7(6));

/// The public half of the nkey whose private key is 32 times the byte 7, and a receipt that it signed.
const NODE_KEY: &str = "UDVEU3DD4KOFECV66VIHWEZOYX4ZKR3WV27L464SIIPOU2IUI3JCYSJF";
const SIGNATURE: &str = "I4HLd53CrhF1Zpm1jbrcMq8dFjj3qi0DkSvz1WJ19aIovgW20GrTXrWgcmQwXPDoeNydcMhd3k4TLnCEgZiFCw";
const RECEIPT: &str = "eyJvcmciOiJkZWZhdWx0IiwicHJvamVjdCI6ImRlbW8iLCJub2RlX2lkIjoiMDE5Yzg5ZjEtMDUwMC03MDAwLTgwMDAtMDAwMDAw\
    MDAwMDAzIiwiYnVuZGxlX2lkIjoiMDE5Yzg5ZjEtMDUwMC03MDAwLTgwMDAtMDAwMDAwMDAwMDA0IiwiZGlnZXN0IjoiYmJiYmJi\
    YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYiIsImNvdW50ZXIiOnsiZXBv\
    Y2giOjAsInBvc2l0aW9uIjo0Mn0sImFjdGl2YXRlZF9hdCI6IjIwMjYtMDItMjNUMDk6NTk6NTlaIn0";

/// A UUIDv7 of 2026-02-23T10:00:00Z that is recognised at a glance.
const fn v7(n: u8) -> [u8; 16] {
    [0x01, 0x9c, 0x89, 0xf1, 0x05, 0x00, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, n]
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn digest(digit: char) -> Digest {
    String::from(digit).repeat(64).parse().unwrap()
}

fn object(key: &str, value: Value) -> Map<String, Value> {
    Map::from_iter([(key.to_owned(), value)])
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

pub fn all() -> Vec<(Aggregate, Envelope)> {
    let mut facts: Vec<Event> = Vec::new();
    facts.extend(orgs().map(Event::Org));
    facts.push(Event::Project(project::Event::Created(project::Created {
        id: PROJECT,
        name: "Demo".into(),
        registration: project::Registration::Open,
    })));
    facts.push(Event::Project(project::Event::RegistrationChanged(project::RegistrationChanged {
        registration: project::Registration::Token,
    })));
    facts.extend(api_keys().map(Event::ApiKey));
    facts.extend(join_tokens().map(Event::JoinToken));
    facts.extend(enrollments().map(Event::Enrollment));
    facts.extend(nodes().map(Event::Node));
    facts.extend(bundles().map(Event::Bundle));
    facts.extend(rollouts().map(Event::Rollout));
    facts.into_iter().map(fact).collect()
}

fn fact(event: Event) -> (Aggregate, Envelope) {
    let (org, project) = ("default".parse().unwrap(), "demo".parse().unwrap());
    let (aggregate, actor) = match &event {
        Event::Org(_) => (Aggregate::Org(org), Actor::System),
        Event::Project(_) => (Aggregate::Project { org, project }, Actor::Operator("UOPERATOR".into())),
        Event::ApiKey(_) => (Aggregate::ApiKey { org, id: API_KEY }, Actor::Operator("UOPERATOR".into())),
        Event::JoinToken(join_token::Event::Used(_)) => {
            (Aggregate::JoinToken { org, project, id: JOIN_TOKEN }, Actor::JoinToken(JOIN_TOKEN.to_string()))
        }
        Event::JoinToken(_) => {
            (Aggregate::JoinToken { org, project, id: JOIN_TOKEN }, Actor::Operator("UOPERATOR".into()))
        }
        Event::Enrollment(event) => {
            use enrollment::Event::{Approved, Expired, Rejected, Revoked};
            let actor = match event {
                Approved(_) | Rejected(_) | Revoked(_) => Actor::Operator("UOPERATOR".into()),
                Expired(_) => Actor::System,
                _ => Actor::Host("web-01".into()),
            };
            (Aggregate::Enrollment { org, host: "web-01".parse().unwrap() }, actor)
        }
        Event::Node(node::Event::Registered(_)) => {
            (Aggregate::Node { org, project, id: NODE }, Actor::JoinToken(JOIN_TOKEN.to_string()))
        }
        Event::Node(node::Event::Approved(_)) => {
            (Aggregate::Node { org, project, id: NODE }, Actor::Operator("UOPERATOR".into()))
        }
        Event::Node(_) => (Aggregate::Node { org, project, id: NODE }, Actor::Node(NODE.to_string())),
        Event::Bundle(_) => (Aggregate::Bundle { org, project, id: BUNDLE }, Actor::ApiKey(API_KEY.to_string())),
        Event::Rollout(_) => (Aggregate::Rollout { org, project, id: ROLLOUT }, Actor::ApiKey(API_KEY.to_string())),
    };
    // Only what a client asks for can come with an `Idempotency-Key`.
    let request = matches!(actor, Actor::ApiKey(_)).then_some(0x00ab_cdef_0123_4567);
    let command = CommandId(*b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff");
    (aggregate, Envelope { command, index: 0, time: time("2026-02-23T10:00:00.123Z"), actor, request, event })
}

pub fn node() -> Aggregate {
    Aggregate::Node { org: "default".parse().unwrap(), project: "demo".parse().unwrap(), id: NODE }
}

fn orgs() -> [org::Event; 3] {
    let (key_id, public_key) = ("bk_0123456789abcdef".to_owned(), "A".repeat(43));
    [
        org::Event::Created(org::Created { name: "Default".into() }),
        org::Event::SigningKeyCreated(org::SigningKeyCreated {
            key_id: key_id.clone(),
            key_use: org::KeyUse::Bundle,
            public_key,
        }),
        org::Event::SigningKeyDeactivated(org::SigningKeyDeactivated { key_id }),
    ]
}

fn api_keys() -> [api_key::Event; 2] {
    [
        api_key::Event::Created(api_key::Created {
            name: "ci".into(),
            scopes: BTreeSet::from([Scope::BundlesWrite, Scope::RolloutsRead]),
            project: Some("demo".parse().unwrap()),
            expires_at: Some(time("2027-01-01T00:00:00Z")),
            key_prefix: "Zk3x".into(),
        }),
        api_key::Event::Revoked(api_key::Revoked {}),
    ]
}

fn labels() -> Labels {
    Labels::try_from(BTreeMap::from([("env".to_owned(), "production".to_owned())])).unwrap()
}

fn join_tokens() -> [join_token::Event; 3] {
    [
        join_token::Event::Created(join_token::Created {
            name: "rack 7".into(),
            labels: labels(),
            expires_at: Some(time("2027-01-01T00:00:00Z")),
            uses_max: Some(40),
            approval: true,
            token_prefix: "pjt_Zk3x".into(),
        }),
        join_token::Event::Used(join_token::Used { node_id: NODE }),
        join_token::Event::Revoked(join_token::Revoked {}),
    ]
}

fn enrollment_id(n: u8) -> EnrollmentId {
    EnrollmentId::from_parts(1_771_840_800, [n; 16])
}

fn enrollments() -> [enrollment::Event; 8] {
    use enrollment::{Activated, Approved, Event, Expired, Issued, Rejected, Renewed, Revoked, Submitted};
    let (enrollment_id, public_key) = (enrollment_id(1), format!("U{}", "A".repeat(55)));
    [
        Event::Submitted(Submitted {
            enrollment_id: enrollment_id.clone(),
            public_key: public_key.clone(),
            curve_public_key: format!("X{}", "A".repeat(55)),
            hostname: text("web-01.internal"),
            metadata: BTreeMap::from([("os".to_owned(), "linux".to_owned())]),
            remote_addr: "10.0.1.50".into(),
            join_token_id: Some(JOIN_TOKEN),
            supersedes: Some(self::enrollment_id(0)),
        }),
        Event::Approved(Approved {
            enrollment_id: enrollment_id.clone(),
            public_key: public_key.clone(),
            project: Some("demo".parse().unwrap()),
            node_id: Some(NODE),
            rule: text("id=web-*"),
        }),
        Event::Rejected(Rejected { enrollment_id: enrollment_id.clone(), reason: text("unknown instance") }),
        Event::Expired(Expired { enrollment_id: enrollment_id.clone() }),
        Event::Issued(Issued {
            enrollment_id: enrollment_id.clone(),
            issued_at_s: 1_771_840_800,
            expires_at_s: 1_787_392_800,
            jwt_sha256: digest('c'),
        }),
        Event::Activated(Activated { enrollment_id: enrollment_id.clone() }),
        Event::Renewed(Renewed { enrollment_id: enrollment_id.clone() }),
        Event::Revoked(Revoked {
            enrollment_id,
            public_key,
            revoked_until_s: 1_771_840_900,
            reason: text("decommissioned"),
        }),
    ]
}

fn nodes() -> [node::Event; 10] {
    let report = node::Report {
        active_bundle_id: Some(BUNDLE),
        staged_bundle_id: Some(BUNDLE),
        version: text("0.6.45"),
        ip: text("10.0.1.50"),
        hostname: text("edge-1.internal"),
        metadata: Some(object("rack", 7.into())),
    };
    [
        node::Event::Registered(node::Registered {
            name: "edge-1".parse().unwrap(),
            labels: labels(),
            version: text("0.6.45"),
            ip: text("10.0.1.50"),
            hostname: text("edge-1.internal"),
            capabilities: vec!["waf".into()],
            metadata: object("rack", 7.into()),
            join_token_id: Some(JOIN_TOKEN),
            approval_required: true,
            public_key: Some(NODE_KEY.parse().unwrap()),
        }),
        node::Event::Approved(node::Approved {}),
        node::Event::KeyRotated(node::KeyRotated {
            key_id: "nk_0123456789abcdef".into(),
            reset: false,
            public_key: Some(NODE_KEY.parse().unwrap()),
        }),
        node::Event::Online(node::Report { version: text("0.6.45"), ..node::Report::default() }),
        node::Event::BundleSwitched(report),
        node::Event::Changed(node::Report { ip: text("10.0.1.51"), ..node::Report::default() }),
        node::Event::ActivationFailed(node::ActivationFailed { bundle_id: BUNDLE, reason: "port 80 is taken".into() }),
        node::Event::ActivationReceipt(node::ActivationReceipt {
            bundle_id: BUNDLE,
            digest: digest('b'),
            counter: node::Counter { epoch: 0, position: 42 },
            activated_at: time("2026-02-23T09:59:59Z"),
            payload: RECEIPT.into(),
            signature: SIGNATURE.into(),
            public_key: NODE_KEY.parse().unwrap(),
        }),
        node::Event::Offline(node::Offline { last_seen_at: Some(time("2026-02-23T09:58:00Z")) }),
        node::Event::Deleted(node::Deleted {}),
    ]
}

fn bundles() -> [bundle::Event; 6] {
    let problem = |code: &str| bundle::Problem {
        code: code.into(),
        message: "upstream \"api\" is not defined".into(),
        line: Some(3),
        column: Some(9),
        help: text("define it under `upstreams`"),
    };
    [
        bundle::Event::Created(bundle::Created {
            version: "2026-02-23 (a)".parse().unwrap(),
            source_digest: digest('a'),
            source_bytes: 412,
        }),
        bundle::Event::Compiled(bundle::Compiled {
            digest: digest('b'),
            size_bytes: 731,
            files: vec![bundle::File { path: "zentinel.kdl".into(), sha256: digest('a'), bytes: 412 }],
            signature: "B".repeat(86),
            key_id: "bk_0123456789abcdef".into(),
            proxy_version: "0.6.45".into(),
            warnings: vec![problem("unchecked_path")],
        }),
        bundle::Event::Failed(bundle::Failed { problems: vec![problem("undefined_upstream")] }),
        bundle::Event::Revoked(bundle::Revoked { reason: text("leaks a header") }),
        bundle::Event::Assigned(bundle::Assigned { digest: digest('b'), node_ids: vec![NODE] }),
        bundle::Event::Deleted(bundle::Deleted {}),
    ]
}

fn rollouts() -> [rollout::Event; 12] {
    let cause = |reason| Cause { reason, step_index: Some(0), node_ids: vec![NODE], message: text("port 80 is taken") };
    [
        rollout::Event::Created(rollout::Spec {
            bundle_id: BUNDLE,
            strategy: Strategy::Rolling,
            target_selector: Selector::node_ids(vec![NODE]),
            batch_size: 1,
            batch_percentage: Some(25),
            max_unavailable: 1,
            progress_deadline_s: 600,
            health_gates: HealthGates { heartbeat_healthy: true },
            target_count: 1,
            held: false,
            late_joiners: LateJoiners::Join,
        }),
        rollout::Event::Started(rollout::Started {}),
        rollout::Event::StepStarted(rollout::StepStarted {
            step_index: 0,
            attempt: 0,
            bundle_id: BUNDLE,
            digest: digest('b'),
            node_ids: vec![NODE],
        }),
        rollout::Event::StepCompleted(rollout::StepCompleted { step_index: 0, deferred_node_ids: vec![NODE] }),
        rollout::Event::Paused(rollout::Paused { cause: cause(Reason::ActivationFailed) }),
        rollout::Event::Resumed(rollout::Resumed {}),
        rollout::Event::Completed(rollout::Completed { updated: 1, deferred: 0 }),
        rollout::Event::Failed(rollout::Failed { cause: cause(Reason::StepDeadlineExceeded) }),
        rollout::Event::Cancelled(rollout::Cancelled { cause: cause(Reason::Requested) }),
        rollout::Event::RollbackStarted(rollout::RollbackStarted {
            restores: vec![Restore { bundle_id: BUNDLE, digest: digest('b'), node_ids: vec![NODE] }],
            left: vec![Left { reason: LeftReason::RanNothing, node_ids: vec![NODE] }],
        }),
        rollout::Event::RollbackEnded(rollout::RollbackEnded { restored: 1, left: 1, node_ids: vec![NODE] }),
        rollout::Event::LateAssigned(rollout::LateAssigned {
            bundle_id: BUNDLE,
            digest: digest('b'),
            node_ids: vec![NODE],
        }),
    ]
}
