use super::*;
use crate::fleet::Assigned;

const B1: BundleId = BundleId::from_bytes([1; 16]);
const B2: BundleId = BundleId::from_bytes([2; 16]);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn registered() -> Registered {
    Registered {
        name: "edge-1".parse().unwrap(),
        labels: Labels::default(),
        version: Some("1.0".into()),
        ip: None,
        hostname: None,
        capabilities: Vec::new(),
        metadata: Map::new(),
        join_token_id: None,
        approval_required: false,
        public_key: None,
    }
}

/// A node after these facts; fact `i` stands at position and second `i + 2`, the registration at 1.
fn given(facts: &[Event]) -> Node {
    let names = ("default".parse().unwrap(), "demo".parse().unwrap(), NodeId::from_bytes([9; 16]));
    let mut node = Node::registered(names, &registered(), at(1), Position(1));
    for (i, fact) in facts.iter().enumerate() {
        node.evolve(fact, at(i as i64 + 2), Position(i as u64 + 2));
    }
    node
}

fn report(bundle: Option<BundleId>, version: Option<&str>) -> Report {
    Report { active_bundle_id: bundle, version: version.map(str::to_owned), ..Report::default() }
}

fn failed(bundle: BundleId, reason: &str) -> ActivationFailed {
    ActivationFailed { bundle_id: bundle, reason: reason.to_owned() }
}

fn beat(node: &Node, report: Report) -> Option<Event> {
    decide(node, Command::Observe { report, failed: None })
}

fn beat_failed(node: &Node, report: Report, failed: ActivationFailed) -> Option<Event> {
    decide(node, Command::Observe { report, failed: Some(failed) })
}

#[test]
fn a_name_is_given_once() {
    assert_eq!(register(registered(), true), Err(Rejection::NameTaken));
    assert_eq!(register(registered(), false), Ok(Event::Registered(registered())));
}

#[test]
fn a_registered_node_is_unknown_until_it_beats() {
    let node = given(&[]);
    assert_eq!((node.status, node.status_position), (Status::Unknown, Position(1)));
    assert_eq!(beat(&node, Report::default()), Some(Event::Online(Report::default())));
}

#[test]
fn only_what_changed_becomes_a_fact() {
    let node = given(&[Event::Online(report(Some(B1), None))]);
    let cases = [
        (report(Some(B1), Some("1.0")), None),
        (Report::default(), None),
        (report(Some(B1), Some("1.1")), Some(Event::Changed(report(None, Some("1.1"))))),
        (report(Some(B2), Some("1.0")), Some(Event::BundleSwitched(report(Some(B2), None)))),
        (report(Some(B2), Some("1.1")), Some(Event::BundleSwitched(report(Some(B2), Some("1.1"))))),
    ];
    for (said, fact) in cases {
        assert_eq!(beat(&node, said.clone()), fact, "{said:?}");
    }
}

#[test]
fn every_field_of_a_report_is_compared_and_kept() {
    let everything = Report {
        active_bundle_id: Some(B1),
        staged_bundle_id: Some(B2),
        version: Some("2".into()),
        ip: Some("10.0.0.1".into()),
        hostname: Some("h".into()),
        metadata: Some(Map::from_iter([("rack".to_owned(), Value::from(7))])),
    };
    let mut node = given(&[]);
    assert_eq!(beat(&node, everything.clone()), Some(Event::Online(everything.clone())));
    node.evolve(&Event::Online(everything.clone()), at(2), Position(2));
    let expected = Node {
        status: Status::Online,
        status_since: at(2),
        status_position: Position(2),
        active_bundle: Some(B1),
        active_since: Some((at(2), Position(2))),
        staged_bundle: Some(B2),
        version: Some("2".into()),
        ip: Some("10.0.0.1".into()),
        hostname: Some("h".into()),
        metadata: Map::from_iter([("rack".to_owned(), Value::from(7))]),
        position: Position(2),
        ..given(&[])
    };
    assert_eq!(node, expected);
    assert_eq!(beat(&node, everything), None);
}

#[test]
fn omitted_fields_change_nothing() {
    let before = given(&[Event::Online(report(Some(B1), Some("2")))]);
    let mut after = before.clone();
    after.evolve(&Event::Changed(Report::default()), at(9), Position(9));
    assert_eq!(after, Node { position: Position(9), ..before });
}

#[test]
fn offline_is_said_once_and_keeps_when_the_node_was_seen() {
    let offline = Event::Offline(Offline { last_seen_at: Some(at(3)) });
    let mark = |last_seen_at| Command::MarkOffline { last_seen_at };
    assert_eq!(decide(&given(&[]), mark(Some(at(3)))), Some(offline.clone()));
    let node = given(&[Event::Online(Report::default()), offline]);
    assert_eq!((node.status, node.last_seen_at, node.status_position), (Status::Offline, Some(at(3)), Position(3)));
    assert_eq!(decide(&node, mark(Some(at(4)))), None);
    assert_eq!(beat(&node, Report::default()), Some(Event::Online(Report::default())));
}

#[test]
fn a_repeated_status_keeps_its_beginning() {
    let node = given(&[Event::Online(Report::default()), Event::Online(Report::default())]);
    assert_eq!((node.status_since, node.status_position, node.position), (at(2), Position(2), Position(3)));
}

#[test]
fn a_failure_is_a_fact_once_per_reason() {
    let node = given(&[Event::Online(report(Some(B1), None))]);
    let fact = Event::ActivationFailed(failed(B2, "no port"));
    assert_eq!(beat_failed(&node, Report::default(), failed(B2, "no port")), Some(fact.clone()));
    let node = given(&[Event::Online(report(Some(B1), None)), fact]);
    assert_eq!(beat_failed(&node, Report::default(), failed(B2, "no port")), None);
    let other = failed(B2, "no memory");
    assert_eq!(beat_failed(&node, Report::default(), other.clone()), Some(Event::ActivationFailed(other)));
    let changed = Some(Event::Changed(report(None, Some("3"))));
    assert_eq!(beat_failed(&node, report(None, Some("3")), failed(B2, "no port")), changed, "other news is not lost");
}

#[test]
fn the_same_failure_after_a_new_assignment_is_news() {
    let fact = Event::ActivationFailed(failed(B2, "no port"));
    let mut node = given(std::slice::from_ref(&fact));
    node.assigned();
    assert_eq!(beat_failed(&node, Report::default(), failed(B2, "no port")), Some(fact));
}

#[test]
fn a_failure_proves_life() {
    let node = given(&[Event::Offline(Offline { last_seen_at: None }), Event::ActivationFailed(failed(B2, "x"))]);
    assert_eq!((node.status, node.status_position), (Status::Online, Position(3)));
}

#[test]
fn a_failure_stands_until_an_activation_succeeds() {
    let history = [Event::Online(report(Some(B1), None)), Event::ActivationFailed(failed(B2, "x"))];
    let failure = Failure { bundle: B2, reason: "x".into(), at: at(3), position: Position(3), superseded: false };
    let mut node = given(&history);
    assert_eq!(node.failure, Some(failure.clone()));
    node.evolve(&Event::Changed(report(None, Some("3"))), at(4), Position(4));
    node.evolve(&Event::BundleSwitched(report(Some(B1), None)), at(5), Position(5));
    assert_eq!(node.failure, Some(failure), "falling back is no success");
    let mut retried = node.clone();
    retried.evolve(&Event::BundleSwitched(report(Some(B2), None)), at(6), Position(6));
    assert_eq!(retried.failure, None);
    node.assigned();
    let b3 = BundleId::from_bytes([3; 16]);
    node.evolve(&Event::BundleSwitched(report(Some(b3), None)), at(6), Position(6));
    assert_eq!(node.failure, None, "another bundle was assigned since and runs");
}

#[test]
fn deleting_is_always_allowed() {
    assert_eq!(decide(&given(&[]), Command::Delete), Some(Event::Deleted(Deleted {})));
}

#[test]
fn a_node_that_needs_approval_waits_for_it_and_is_approved_once() {
    assert!(given(&[]).approved);
    assert_eq!(decide(&given(&[]), Command::Approve), None);
    let fact = Registered { approval_required: true, ..registered() };
    let names = ("default".parse().unwrap(), "demo".parse().unwrap(), NodeId::from_bytes([9; 16]));
    let mut node = Node::registered(names, &fact, at(1), Position(1));
    assert!(!node.approved);
    assert_eq!(beat(&node, Report::default()), Some(Event::Online(Report::default())), "it beats all the same");
    assert_eq!(decide(&node, Command::Approve), Some(Event::Approved(Approved {})));
    node.evolve(&Event::Approved(Approved {}), at(2), Position(2));
    assert!(node.approved);
    assert_eq!((node.position, decide(&node, Command::Approve)), (Position(2), None));
}

fn public_key(n: u8) -> PublicKey {
    let keys = [
        "UDVEU3DD4KOFECV66VIHWEZOYX4ZKR3WV27L464SIIPOU2IUI3JCYSJF",
        "UAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB63NN",
    ];
    keys[usize::from(n)].parse().unwrap()
}

fn rotated(key_id: &str, reset: bool) -> Event {
    Event::KeyRotated(KeyRotated { key_id: key_id.to_owned(), reset, public_key: None })
}

#[test]
fn only_an_operators_key_makes_older_tokens_worthless() {
    assert_eq!(rotate_key(&given(&[]), "nk_1".to_owned(), None), Ok(rotated("nk_1", false)));
    assert_eq!(decide(&given(&[]), Command::ResetKey { key_id: "nk_1".to_owned() }), Some(rotated("nk_1", true)));
    let node = given(&[rotated("nk_1", false)]);
    assert_eq!((node.key_id.as_deref(), node.key_was_reset, node.key_reset_at), (Some("nk_1"), false, None));
    let node = given(&[rotated("nk_1", true), rotated("nk_2", false)]);
    assert_eq!((node.key_id.as_deref(), node.key_was_reset, node.key_reset_at), (Some("nk_2"), false, Some(at(2))));
}

#[test]
fn a_signing_key_is_added_once_and_never_replaced() {
    let rotate = |node: &Node, n| rotate_key(node, "nk_1".to_owned(), Some(public_key(n)));
    let added = rotate(&given(&[]), 0).unwrap();
    let node = given(std::slice::from_ref(&added));
    assert_eq!(node.public_key, Some(public_key(0)));
    assert_eq!(rotate(&node, 0), Ok(rotated("nk_1", false)), "the same once more is no news");
    assert_eq!(rotate(&node, 1), Err(SignsAlready));
    let node = given(&[added, rotated("nk_2", true), rotated("nk_3", false)]);
    assert_eq!(node.public_key, Some(public_key(0)), "another secret leaves it");
    assert_eq!(rotate(&node, 1), Err(SignsAlready));
}

fn claim(position: u64, bundle: BundleId) -> Claim {
    let receipt = ActivationReceipt {
        bundle_id: bundle,
        digest: "b".repeat(64).parse().unwrap(),
        counter: Counter { epoch: 0, position },
        activated_at: at(9),
        payload: "p".into(),
        signature: "s".into(),
        public_key: public_key(0),
    };
    let node_id = NodeId::from_bytes([9; 16]).to_string();
    Claim { org: "default".into(), project: "demo".into(), node_id, receipt }
}

fn kept(facts: &[Event], claim: Claim) -> Result<Option<Event>, ReceiptRejection> {
    let mut node = given(&[]);
    node.public_key = Some(public_key(0));
    facts.iter().for_each(|fact| node.evolve(fact, at(50), Position(50)));
    let assigned = |bundle, position| Assigned { bundle, position: Position(position) };
    keep_receipt(&node, &[assigned(B1, 10), assigned(B2, 20)], Some(&"b".repeat(64).parse().unwrap()), claim)
}

#[test]
fn a_receipt_is_kept_once_for_each_assignment() {
    let fact = |position, bundle| Event::ActivationReceipt(claim(position, bundle).receipt);
    assert_eq!(kept(&[], claim(10, B1)), Ok(Some(fact(10, B1))));
    assert_eq!(kept(&[], claim(20, B2)), Ok(Some(fact(20, B2))));
    assert_eq!(kept(&[fact(10, B1)], claim(10, B1)), Ok(None));
    assert_eq!(kept(&[fact(10, B1)], claim(20, B2)), Ok(Some(fact(20, B2))));
    assert_eq!(kept(&[fact(20, B2)], claim(10, B1)), Ok(None), "only forwards");
}

#[test]
fn a_receipt_of_anything_else_is_refused() {
    use ReceiptRejection::{Digest, Foreign, Key, NotAssigned};
    let refused = |change: fn(&mut Claim)| {
        let mut claim = claim(20, B2);
        change(&mut claim);
        kept(&[], claim).unwrap_err()
    };
    assert_eq!(refused(|claim| claim.receipt.public_key = public_key(1)), Key);
    assert_eq!(refused(|claim| claim.org = "other".into()), Foreign);
    assert_eq!(refused(|claim| claim.project = "other".into()), Foreign);
    assert_eq!(refused(|claim| claim.node_id = NodeId::from_bytes([8; 16]).to_string()), Foreign);
    assert_eq!(refused(|claim| claim.receipt.bundle_id = B1), NotAssigned);
    assert_eq!(refused(|claim| claim.receipt.counter.position = 21), NotAssigned);
    assert_eq!(refused(|claim| claim.receipt.counter.epoch = 1), NotAssigned);
    assert_eq!(refused(|claim| claim.receipt.digest = "c".repeat(64).parse().unwrap()), Digest);
    let unknown = keep_receipt(&given(&[]), &[], None, claim(20, B2));
    assert_eq!(unknown, Err(Key), "a node without a key has signed nothing");
}
