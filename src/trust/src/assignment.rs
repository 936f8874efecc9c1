//! Signed assignments: which node runs which bundle.
//!
//! Invariant: the signature covers a purpose before the bytes, so nothing that the same key signs for another purpose is ever
//! an assignment. The bytes that were signed travel as they are; nobody writes them anew in order to verify. Whether the
//! assignment is meant for this node, and whether its counter is new, is the node's to say.

use crate::signing::{PublicKey, Signature, SigningKey};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use thiserror::Error;

const PURPOSE: &[u8] = b"pilothouse.assignment.v1\n";
/// The largest payload, as text, that is looked at.
const PAYLOAD_CHARS_MAX: usize = 16 * 1024;
const DIGEST_CHARS: usize = 64;

/// Orders the assignments of a node: the epoch first, then the position. A higher one is newer; an equal one with the equal
/// digest is the same assignment signed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Counter {
    /// Raised when a backup is restored.
    pub epoch: u64,
    /// Position in the journal of the fact that assigned.
    pub position: u64,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub org: String,
    pub project: String,
    pub node_id: String,
    pub bundle_id: String,
    /// SHA-256 of the archive, 64 lowercase hex digits.
    pub digest: String,
    pub counter: Counter,
    pub issued_at: Timestamp,
    /// From this moment on the assignment counts no more.
    pub expires_at: Timestamp,
    /// What the node ran before, where that is known: SHA-256, 64 lowercase hex digits.
    pub previous_digest: Option<String>,
}

/// An assignment as it travels.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SignedAssignment {
    /// base64url of the assignment's JSON.
    pub payload: String,
    pub key_id: String,
    /// base64url.
    pub signature: String,
}

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AssignmentError {
    #[error("the assignment is malformed")]
    Malformed,
    #[error("the assignment is signed with a key that is not known here")]
    UnknownKey,
    #[error("the assignment's signature is wrong")]
    Signature,
    #[error("the assignment is from the future")]
    NotYetValid,
    #[error("the assignment has expired")]
    Expired,
}

pub fn sign_assignment(key: &SigningKey, key_id: &str, assignment: &Assignment) -> SignedAssignment {
    let json = serde_json::to_vec(assignment).expect("a struct of strings, integers and time stamps is always JSON");
    let signature = key.sign(&with_purpose(&json));
    SignedAssignment {
        payload: BASE64_URL_SAFE_NO_PAD.encode(json),
        key_id: key_id.to_owned(),
        signature: signature.to_string(),
    }
}

/// The assignment when one of `keys` (key id and key) signed it and it counts at `now`, clocks differing by up to `leeway_s`
/// seconds.
pub fn verify_assignment(
    signed: &SignedAssignment,
    keys: &[(String, PublicKey)],
    now: Timestamp,
    leeway_s: i64,
) -> Result<Assignment, AssignmentError> {
    if signed.payload.len() > PAYLOAD_CHARS_MAX {
        return Err(AssignmentError::Malformed);
    }
    let json = BASE64_URL_SAFE_NO_PAD.decode(&signed.payload).map_err(|_| AssignmentError::Malformed)?;
    let signature: Signature = signed.signature.parse().map_err(|_| AssignmentError::Malformed)?;
    let (_, key) = keys.iter().find(|(id, _)| *id == signed.key_id).ok_or(AssignmentError::UnknownKey)?;
    if !key.verify(&with_purpose(&json), &signature) {
        return Err(AssignmentError::Signature);
    }
    let assignment: Assignment = serde_json::from_slice(&json).map_err(|_| AssignmentError::Malformed)?;
    if !is_digest(&assignment.digest) || !assignment.previous_digest.as_deref().is_none_or(is_digest) {
        return Err(AssignmentError::Malformed);
    }
    let leeway = SignedDuration::from_secs(leeway_s);
    if now.duration_until(assignment.issued_at) > leeway {
        return Err(AssignmentError::NotYetValid);
    }
    if assignment.expires_at.duration_until(now) >= leeway {
        return Err(AssignmentError::Expired);
    }
    Ok(assignment)
}

fn with_purpose(json: &[u8]) -> Vec<u8> {
    [PURPOSE, json].concat()
}

pub(crate) fn is_digest(text: &str) -> bool {
    text.len() == DIGEST_CHARS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW_S: i64 = 1_800_000_000;
    const KEY_ID: &str = "bk_1";

    fn key() -> SigningKey {
        SigningKey::from_seed([3; 32])
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn keys() -> Vec<(String, PublicKey)> {
        vec![("bk_0".into(), SigningKey::from_seed([4; 32]).public()), (KEY_ID.into(), key().public())]
    }

    fn assignment() -> Assignment {
        Assignment {
            org: "default".into(),
            project: "demo".into(),
            node_id: "n".into(),
            bundle_id: "b".into(),
            digest: "0a".repeat(32),
            counter: Counter { epoch: 1, position: 42 },
            issued_at: at(NOW_S),
            expires_at: at(NOW_S + 600),
            previous_digest: None,
        }
    }

    fn signed() -> SignedAssignment {
        sign_assignment(&key(), KEY_ID, &assignment())
    }

    fn verify(signed: &SignedAssignment) -> Result<Assignment, AssignmentError> {
        verify_assignment(signed, &keys(), at(NOW_S), 30)
    }

    #[test]
    fn what_was_signed_comes_back() {
        assert_eq!(verify(&signed()), Ok(assignment()));
        let with_previous = Assignment { previous_digest: Some("ff".repeat(32)), ..assignment() };
        assert_eq!(verify(&sign_assignment(&key(), KEY_ID, &with_previous)), Ok(with_previous));
    }

    #[test]
    fn the_payload_is_the_json_of_the_assignment() {
        let json = BASE64_URL_SAFE_NO_PAD.decode(signed().payload).unwrap();
        let expected = format!(
            r#"{{"org":"default","project":"demo","node_id":"n","bundle_id":"b","digest":"{}","counter":{{"epoch":1,"position":42}},"issued_at":"2027-01-15T08:00:00Z","expires_at":"2027-01-15T08:10:00Z","previous_digest":null}}"#,
            "0a".repeat(32)
        );
        assert_eq!(String::from_utf8(json.clone()).unwrap(), expected);
        let purpose_and_json = [b"pilothouse.assignment.v1\n".as_slice(), &json].concat();
        assert_eq!(signed().signature, key().sign(&purpose_and_json).to_string());
    }

    #[test]
    fn every_part_counts() {
        let good = signed();
        for at in (0..good.payload.len()).step_by(29) {
            let mut payload = good.payload.clone();
            let new = if payload.as_bytes()[at] == b'A' { "B" } else { "A" };
            payload.replace_range(at..=at, new);
            assert!(verify(&SignedAssignment { payload, ..good.clone() }).is_err(), "character {at}");
        }
        let node = Assignment { node_id: "m".into(), ..assignment() };
        let payload = sign_assignment(&key(), KEY_ID, &node).payload;
        assert_eq!(verify(&SignedAssignment { payload, ..good.clone() }), Err(AssignmentError::Signature));
        let key_id = |key_id: &str| SignedAssignment { key_id: key_id.into(), ..good.clone() };
        assert_eq!(verify(&key_id("bk_0")), Err(AssignmentError::Signature));
        assert_eq!(verify(&key_id("bk_2")), Err(AssignmentError::UnknownKey));
        assert_eq!(verify(&key_id("")), Err(AssignmentError::UnknownKey));
        assert_eq!(verify_assignment(&good, &[], at(NOW_S), 30), Err(AssignmentError::UnknownKey));
        let signature = key().sign(b"something else").to_string();
        assert_eq!(verify(&SignedAssignment { signature, ..good.clone() }), Err(AssignmentError::Signature));
        assert_eq!(verify(&SignedAssignment { signature: "".into(), ..good }), Err(AssignmentError::Malformed));
    }

    #[test]
    fn a_signature_without_the_purpose_counts_nothing() {
        let json = BASE64_URL_SAFE_NO_PAD.decode(signed().payload).unwrap();
        let as_archive = SignedAssignment { signature: key().sign(&json).to_string(), ..signed() };
        assert_eq!(verify(&as_archive), Err(AssignmentError::Signature));
    }

    #[test]
    fn payloads_that_are_no_assignments_are_refused() {
        let sign_bytes = |json: &[u8]| SignedAssignment {
            payload: BASE64_URL_SAFE_NO_PAD.encode(json),
            key_id: KEY_ID.into(),
            signature: key().sign(&with_purpose(json)).to_string(),
        };
        for json in [b"".as_slice(), b"{}", b"null", b"\xff", &vec![b' '; PAYLOAD_CHARS_MAX]] {
            assert_eq!(verify(&sign_bytes(json)), Err(AssignmentError::Malformed));
        }
        for digest in ["", "../../etc/passwd", &"0A".repeat(32), &"0a".repeat(33)] {
            let wrong = Assignment { digest: digest.into(), ..assignment() };
            assert_eq!(verify(&sign_assignment(&key(), KEY_ID, &wrong)), Err(AssignmentError::Malformed), "{digest}");
        }
    }

    #[test]
    fn time_counts_to_the_moment() {
        let verdict = |now, leeway_s| verify_assignment(&signed(), &keys(), now, leeway_s).map(|_| ());
        assert_eq!(verdict(at(NOW_S - 31), 30), Err(AssignmentError::NotYetValid));
        assert_eq!(verdict(at(NOW_S - 30), 30), Ok(()));
        assert_eq!(verdict(Timestamp::new(NOW_S + 599, 999_999_999).unwrap(), 0), Ok(()));
        assert_eq!(verdict(at(NOW_S + 600), 0), Err(AssignmentError::Expired));
        assert_eq!(verdict(at(NOW_S + 629), 30), Ok(()));
        assert_eq!(verdict(at(NOW_S + 630), 30), Err(AssignmentError::Expired));
        assert_eq!(verdict(Timestamp::MIN, 30), Err(AssignmentError::NotYetValid));
        assert_eq!(verdict(Timestamp::MAX, 30), Err(AssignmentError::Expired));
    }

    #[test]
    fn the_epoch_outranks_the_position() {
        let counter = |epoch, position| Counter { epoch, position };
        assert!(counter(1, 9) < counter(2, 1));
        assert!(counter(2, 1) < counter(2, 2));
    }
}
