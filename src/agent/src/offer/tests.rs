#![allow(clippy::unwrap_used)]
use super::*;
use crate::testing::{KEY_ID, archive, assignment, identity, key, offer, target};
use jiff::SignedDuration;
use serde_json::Value;
use trust::{Assignment, SigningKey, sign_assignment};

const BYTES_MAX: u64 = 1_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// Bundle 2 for a node that runs bundle 1.
fn good() -> Offer {
    offer(2, &assignment(2, now()), "http://localhost")
}

fn running() -> Progress {
    let mut progress = Progress::default();
    progress.succeed(&target(1));
    progress
}

fn check(offer: &Offer) -> Result<Verdict, Refusal> {
    super::check(offer, &identity(), &running(), BYTES_MAX, now())
}

fn assigned(change: impl FnOnce(&mut Assignment)) -> Result<Verdict, Refusal> {
    let mut assignment = assignment(2, now());
    change(&mut assignment);
    check(&offer(2, &assignment, "http://localhost"))
}

fn changed(change: impl FnOnce(&mut Offer)) -> Result<Verdict, Refusal> {
    let mut offer = good();
    change(&mut offer);
    check(&offer)
}

#[test]
fn a_genuine_offer_says_what_to_fetch_and_how_to_know_it() {
    let size_bytes = archive(2).0.len() as u64;
    let signature = key().sign(&archive(2).0);
    let expected = Archive { url: good().download_url, size_bytes, signature, key: key().public() };
    assert_eq!(check(&good()), Ok(Verdict::Activate(target(2), Box::new(expected))));
}

#[test]
fn assignments_that_are_not_for_this_node_are_refused() {
    assert_eq!(assigned(|a| a.org = "other".into()), Err(Refusal::Foreign("org")));
    assert_eq!(assigned(|a| a.project = "other".into()), Err(Refusal::Foreign("project")));
    assert_eq!(assigned(|a| a.node_id = target(9).bundle.id.to_string()), Err(Refusal::Foreign("node")));
}

#[test]
fn an_offer_that_is_not_its_assignment_is_refused() {
    assert_eq!(assigned(|a| a.bundle_id = target(3).bundle.id.to_string()), Err(Refusal::Contradiction("bundle id")));
    assert_eq!(assigned(|a| a.digest = archive(3).1), Err(Refusal::Contradiction("checksum")));
    assert_eq!(changed(|o| o.checksum = archive(2).1), Err(Refusal::Contradiction("checksum")), "no algorithm named");
    let traversal = "../../../etc".to_owned();
    assert_eq!(changed(|o| o.checksum = format!("sha256:{traversal}")), Err(Refusal::Contradiction("checksum")));
    let no_id = |o: &mut Offer, id: &str| {
        o.bundle_id = id.into();
        let assignment = Assignment { bundle_id: id.into(), ..assignment(2, now()) };
        o.assignment = serde_json::to_value(sign_assignment(&key(), KEY_ID, &assignment)).unwrap();
    };
    assert_eq!(changed(|o| no_id(o, "b")), Err(Refusal::Malformed("bundle id")));
}

#[test]
fn only_pinned_keys_count() {
    let stranger = SigningKey::from_seed([9; 32]);
    let forged = |id: &str| serde_json::to_value(sign_assignment(&stranger, id, &assignment(2, now()))).unwrap();
    assert_eq!(changed(|o| o.assignment = forged(KEY_ID)), Err(AssignmentError::Signature.into()));
    assert_eq!(changed(|o| o.assignment = forged("bk_x")), Err(AssignmentError::UnknownKey.into()));
    assert_eq!(changed(|o| o.key_id = "bk_x".into()), Err(Refusal::UnknownKey));
    assert_eq!(changed(|o| o.signature = "x".into()), Err(Refusal::Malformed("signature")));
    for nothing in [Value::Null, "x".into(), serde_json::json!({"payload": "e30"})] {
        assert_eq!(changed(|o| o.assignment = nothing), Err(Refusal::NoAssignment));
    }
}

#[test]
fn sizes_versions_and_times_are_bounded() {
    let too_large = Refusal::TooLarge { size: u64::MAX, max: BYTES_MAX };
    assert_eq!(changed(|o| o.size_bytes = u64::MAX), Err(too_large));
    assert_eq!(changed(|o| o.version = "a\0b".into()), Err(Refusal::Malformed("version")));
    let leeway = SignedDuration::from_secs(LEEWAY_S);
    assert_eq!(assigned(|a| a.expires_at = now() - leeway), Err(AssignmentError::Expired.into()));
    assert!(assigned(|a| a.expires_at = now() - leeway + SignedDuration::from_secs(1)).is_ok());
}

#[test]
fn the_counter_only_grows() {
    let mut progress = running();
    progress.succeed(&target(3));
    let check = |offer: &Offer| super::check(offer, &identity(), &progress, BYTES_MAX, now());
    assert_eq!(check(&good()), Err(Refusal::Stale));
    let mut equal = assignment(2, now());
    equal.counter.position = 3;
    assert_eq!(check(&offer(2, &equal, "")), Err(Refusal::Equivocation));
    equal.counter.epoch = 0;
    equal.counter.position = 9;
    assert_eq!(check(&offer(2, &equal, "")), Err(Refusal::Stale), "the epoch comes first");
    equal.counter.epoch = 2;
    equal.counter.position = 1;
    assert!(matches!(check(&offer(2, &equal, "")), Ok(Verdict::Activate(..))), "going back is a new assignment");
    assert_eq!(check(&offer(3, &assignment(3, now()), "")), Ok(Verdict::AlreadyActive(target(3))));
}

#[test]
fn a_failed_assignment_is_not_tried_again_but_a_new_one_is() {
    let mut progress = running();
    progress.fail(&target(2), "broken".into());
    let check = |offer: &Offer| super::check(offer, &identity(), &progress, BYTES_MAX, now());
    assert_eq!(check(&good()), Ok(Verdict::AlreadyFailed));
    let mut newer = assignment(2, now());
    newer.counter.position = 3;
    assert!(matches!(check(&offer(2, &newer, "")), Ok(Verdict::Activate(..))));
}

#[test]
fn an_interrupted_assignment_goes_on() {
    let mut progress = running();
    progress.begin(&target(2));
    progress.recover();
    let verdict = super::check(&good(), &identity(), &progress, BYTES_MAX, now());
    assert!(matches!(verdict, Ok(Verdict::Activate(..))));
}
