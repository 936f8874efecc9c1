//! Join tokens count their uses, and come through a snapshot.

use super::history::{History, at, demo, labels, node_id, slug};
use crate::State;
use domain::join_token::{Created, Event as TokenEvent, Rejection, Revoked, Used};
use domain::{Aggregate, Event, JoinTokenId, node, project};

fn token_id(i: u8) -> JoinTokenId {
    JoinTokenId::from_bytes([i; 16])
}

fn fact(history: &mut History, i: u8, event: TokenEvent) {
    let aggregate = Aggregate::JoinToken { org: slug("default"), project: demo(), id: token_id(i) };
    history.fact(aggregate, Event::JoinToken(event));
}

fn created(uses_max: Option<u32>) -> TokenEvent {
    TokenEvent::Created(Created {
        name: "rack".into(),
        labels: labels(&[("env", "prod")]),
        expires_at: Some(at(1_000_000)),
        uses_max,
        approval: true,
        token_prefix: "pjt_abcd".into(),
    })
}

#[test]
fn uses_are_counted_and_come_through_a_snapshot() {
    let mut history = History::default();
    history.project("demo");
    fact(&mut history, 1, created(Some(2)));
    fact(&mut history, 2, created(None));
    fact(&mut history, 1, TokenEvent::Used(Used { node_id: node_id(1) }));
    fact(&mut history, 1, TokenEvent::Used(Used { node_id: node_id(2) }));
    fact(&mut history, 2, TokenEvent::Revoked(Revoked {}));
    let restored = State::from_snapshot(&history.state.to_snapshot().unwrap()).unwrap();
    assert_eq!(restored, history.state);
    let obstacle = |i: u8| restored.join_tokens.get(token_id(i)).unwrap().obstacle(at(5));
    assert_eq!((obstacle(1), obstacle(2)), (Some(Rejection::UsedUp), Some(Rejection::Revoked)));
    let ids: Vec<JoinTokenId> = restored.join_tokens.of_project(&demo()).map(|token| token.id).collect();
    assert_eq!(ids, [token_id(1), token_id(2)]);
    assert_eq!(restored.join_tokens.of_project(&slug("other")).count(), 0);
}

#[test]
fn a_policy_and_an_approval_are_folded_in() {
    let mut history = History::default();
    history.project("demo");
    let changed = project::RegistrationChanged { registration: project::Registration::Token };
    let aggregate = Aggregate::Project { org: slug("default"), project: demo() };
    history.fact(aggregate, Event::Project(project::Event::RegistrationChanged(changed)));
    assert_eq!(history.state.orgs.project(&demo()).unwrap().registration, project::Registration::Token);
    let waiting = super::history::registered("n1", labels(&[]));
    history.node(1, node::Event::Registered(node::Registered { approval_required: true, ..waiting }));
    assert!(!history.state.nodes.get(node_id(1)).unwrap().approved);
    history.node(1, node::Event::Approved(node::Approved {}));
    assert!(history.state.nodes.get(node_id(1)).unwrap().approved);
}
