use super::*;
use crate::{NodeId, node};

const NODE: NodeId = NodeId::from_bytes([7; 16]);

fn subject() -> String {
    let node = Aggregate::Node { org: "default".parse().unwrap(), project: "demo".parse().unwrap(), id: NODE };
    node.subject("offline")
}

fn body(changes: &[(&str, serde_json::Value)]) -> Vec<u8> {
    let mut body = serde_json::json!({
        "id": format!("{}.0", CommandId([1; 16])), "type": "node.offline", "v": 1, "time": "2026-01-02T03:04:05Z",
        "actor": "system", "data": {}});
    for (field, value) in changes {
        body[*field] = value.clone();
    }
    serde_json::to_vec(&body).unwrap()
}

fn decode(changes: &[(&str, serde_json::Value)]) -> Result<Recorded, DecodeError> {
    Envelope::decode(Position(5), &subject(), &body(changes))
}

#[test]
fn a_fact_reads_back() {
    let recorded = decode(&[]).unwrap();
    assert_eq!(recorded.position, Position(5));
    assert_eq!(recorded.envelope.actor, Actor::System);
    assert_eq!(recorded.envelope.event, Event::Node(node::Event::Offline(node::Offline { last_seen_at: None })));
    let again = Envelope::decode(Position(5), &subject(), &recorded.envelope.encode()).unwrap();
    assert_eq!(again, recorded);
}

#[test]
fn every_actor_reads_back() {
    let id = || "x".to_owned();
    for actor in [
        Actor::System,
        Actor::Anonymous,
        Actor::JoinToken(id()),
        Actor::ApiKey(id()),
        Actor::Node(id()),
        Actor::Operator(id()),
    ] {
        assert_eq!(actor.to_string().parse(), Ok(actor));
    }
    for wrong in ["", "root", "system:x", "person:x"] {
        assert!(wrong.parse::<Actor>().is_err(), "{wrong}");
    }
}

#[test]
fn an_unknown_version_is_told_and_never_skipped() {
    let error = decode(&[("v", 2.into())]).unwrap_err();
    assert!(matches!(&error, DecodeError::UnknownEvent { found, .. } if found == "node.offline v2"), "{error:?}");
}

#[test]
fn an_unknown_event_is_told_and_never_skipped() {
    let subject = subject().replace("offline", "teleported");
    let error = Envelope::decode(Position(1), &subject, &body(&[("type", "node.teleported".into())])).unwrap_err();
    assert!(matches!(&error, DecodeError::UnknownEvent { found, .. } if found == "node.teleported v1"), "{error:?}");
}

#[test]
fn a_body_that_does_not_fit_its_subject_is_refused() {
    let wrong = [
        ("type", serde_json::json!("node.online")),
        ("type", serde_json::json!("offline")),
        ("id", serde_json::json!("no-index")),
        ("id", serde_json::json!(format!("{}.00", CommandId([1; 16])))),
        ("id", serde_json::json!(format!("{}.+0", CommandId([1; 16])))),
        ("id", serde_json::json!("1234.0")),
        ("request", serde_json::json!("not hex")),
        ("actor", serde_json::json!("root")),
        ("time", serde_json::json!("yesterday")),
        ("data", serde_json::json!({"last_seen_at": 5})),
    ];
    for (field, value) in wrong {
        let found = decode(&[(field, value.clone())]);
        assert!(matches!(found, Err(DecodeError::Body { .. })), "{field} {value} {found:?}");
    }
    let found = Envelope::decode(Position(1), &subject(), b"{}");
    assert!(matches!(found, Err(DecodeError::Body { .. })), "{found:?}");
    let found = Envelope::decode(Position(1), "fleet.default.demo.node.7.offline", &body(&[]));
    assert!(matches!(found, Err(DecodeError::Subject(_))), "{found:?}");
}
