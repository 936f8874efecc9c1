//! Hosts come through a snapshot with all that decisions look at.

use super::history::{History, at, digest, node_id, slug};
use crate::State;
use domain::enrollment::{
    Activated, Approved, Event as HostEvent, Expired, Issued, Renewed, Revoked, State as Stage, Submitted,
};
use domain::{Aggregate, EnrollmentId, Event, HostId};
use std::collections::BTreeMap;
use std::net::IpAddr;

const LIFETIME_S: i64 = 1_000_000;

fn id(n: u8) -> EnrollmentId {
    EnrollmentId::from_parts(1_800_000_000 + u64::from(n), [n; 16])
}

fn host(name: &str) -> HostId {
    name.parse().unwrap()
}

fn fact(history: &mut History, name: &str, event: HostEvent) {
    let aggregate = Aggregate::Enrollment { org: slug("default"), host: host(name) };
    history.fact(aggregate, Event::Enrollment(event));
}

fn submit(history: &mut History, name: &str, n: u8, key: &str, address: &str, supersedes: Option<EnrollmentId>) {
    let event = HostEvent::Submitted(Submitted {
        enrollment_id: id(n),
        public_key: key.into(),
        curve_public_key: "X".into(),
        hostname: Some(format!("{name}.internal")),
        metadata: BTreeMap::from([("os".into(), "linux".into())]),
        remote_addr: address.into(),
        join_token_id: None,
        supersedes,
    });
    fact(history, name, event);
}

fn approve(history: &mut History, name: &str, n: u8, key: &str) {
    let (project, node) = (slug("demo"), node_id(n));
    let event = HostEvent::Approved(Approved {
        enrollment_id: id(n),
        public_key: key.into(),
        project: Some(project),
        node_id: Some(node),
        rule: None,
    });
    fact(history, name, event);
}

fn issue(history: &mut History, name: &str, n: u8, issued_at_s: i64) {
    let expires_at_s = issued_at_s + LIFETIME_S;
    let event = HostEvent::Issued(Issued { enrollment_id: id(n), issued_at_s, expires_at_s, jwt_sha256: digest(n) });
    fact(history, name, event);
}

fn restored(history: &History) -> State {
    let restored = State::from_snapshot(&history.state.to_snapshot().unwrap()).unwrap();
    assert_eq!(restored, history.state);
    restored
}

#[test]
fn who_waits_and_from_where_comes_through_a_snapshot() {
    let mut history = History::default();
    submit(&mut history, "a", 1, "UA", "192.0.2.7", None);
    submit(&mut history, "b", 2, "UB", "2001:db8:1:2::1", None);
    submit(&mut history, "c", 3, "UC", "2001:db8:1:2:9::9", None);
    let state = restored(&history);
    let from = |state: &State, address: &str| state.enrollments.pending_from(address.parse::<IpAddr>().unwrap());
    assert_eq!((from(&state, "192.0.2.7"), from(&state, "2001:db8:1:2:7::"), from(&state, "192.0.2.8")), (1, 2, 0));
    let waiting: Vec<&str> = state.enrollments.pending().map(|host| host.id.as_str()).collect();
    assert_eq!(waiting, ["a", "b", "c"]);
    approve(&mut history, "b", 2, "UB");
    fact(&mut history, "c", HostEvent::Expired(Expired { enrollment_id: id(3) }));
    let state = restored(&history);
    assert_eq!((state.enrollments.pending_count(), from(&state, "2001:db8:1:2::1")), (1, 0));
    let listed: Vec<(EnrollmentId, Stage)> = state
        .enrollments
        .after(Some(&id(1)))
        .map(|(_, enrollment)| (enrollment.id.clone(), enrollment.state))
        .collect();
    assert_eq!(listed, [(id(2), Stage::Approved), (id(3), Stage::Rejected)]);
}

#[test]
fn a_revoked_host_is_refused_everywhere_and_its_key_stays_blocked() {
    let mut history = History::default();
    submit(&mut history, "a", 1, "UA", "192.0.2.7", None);
    approve(&mut history, "a", 1, "UA");
    issue(&mut history, "a", 1, 5);
    fact(&mut history, "a", HostEvent::Activated(Activated { enrollment_id: id(1) }));
    fact(&mut history, "a", HostEvent::Renewed(Renewed { enrollment_id: id(1) }));
    let state = restored(&history);
    assert_eq!(state.enrollments.host_of_key("UA").unwrap().id, host("a"));
    assert!(!state.enrollments.refuses_node(node_id(1)) && !state.enrollments.is_blocked("UA"));
    assert!(
        state.enrollments.is_live_elsewhere("UA", &host("b")) && !state.enrollments.is_live_elsewhere("UA", &host("a"))
    );

    let revoked = Revoked { enrollment_id: id(1), public_key: "UA".into(), revoked_until_s: 9, reason: None };
    fact(&mut history, "a", HostEvent::Revoked(revoked));
    let state = restored(&history);
    assert!(state.enrollments.refuses_node(node_id(1)) && state.enrollments.is_blocked("UA"));
    assert!(state.enrollments.host_of_key("UA").is_none());
    assert_eq!(state.enrollments.revocations(at(9)), BTreeMap::from([("UA".into(), 9)]));
    assert_eq!(state.enrollments.revocations(at(5 + LIFETIME_S)), BTreeMap::new(), "pruned when its JWTs have ended");

    submit(&mut history, "a", 2, "UB", "192.0.2.7", None);
    assert!(restored(&history).enrollments.refuses_node(node_id(1)), "not yet approved again");
    approve(&mut history, "a", 2, "UB");
    let state = restored(&history);
    assert!(!state.enrollments.refuses_node(node_id(2)) && state.enrollments.is_blocked("UA"));
    assert_eq!(state.enrollments.host(&host("a")).unwrap().nodes.len(), 1, "one node in a project");
}

#[test]
fn a_superseded_key_is_revoked_until_then_and_not_blocked() {
    let mut history = History::default();
    submit(&mut history, "a", 1, "UA", "192.0.2.7", None);
    approve(&mut history, "a", 1, "UA");
    issue(&mut history, "a", 1, 5);
    submit(&mut history, "a", 2, "UA", "192.0.2.7", Some(id(1)));
    let state = restored(&history);
    let (_, old) = state.enrollments.get(&id(1)).unwrap();
    assert_eq!(old.state, Stage::Revoked);
    assert_eq!(state.enrollments.revocations(at(9)).len(), 1);
    assert!(!state.enrollments.is_blocked("UA") && !state.enrollments.refuses_node(node_id(1)));
}
