//! Receipts: a node states with its own key what it activated, and when.
//!
//! Invariant: the signature covers a purpose before the bytes, so nothing that the same key signs for another purpose is ever
//! a receipt, and what a receipt names is read from the signed bytes alone. Whether the key is the node's, and whether the
//! assignment existed, is for those to say who know the journal.

use crate::assignment::{Counter, is_digest};
use crate::nats::NatsKey;
use crate::signing::{PublicKey, Signature};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use nkeys::KeyPairType;
use serde::{Deserialize, Serialize};
use thiserror::Error;

const PURPOSE: &[u8] = b"pilothouse.receipt.v1\n";
/// The largest payload, as text, that is looked at.
const RECEIPT_CHARS_MAX: usize = 4 * 1024;

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub org: String,
    pub project: String,
    pub node_id: String,
    pub bundle_id: String,
    /// SHA-256 of the archive, 64 lowercase hex digits.
    pub digest: String,
    /// The assignment that was activated.
    pub counter: Counter,
    /// By the node's clock.
    pub activated_at: Timestamp,
}

/// A receipt as it travels and as it is kept.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SignedReceipt {
    /// base64url of the receipt's JSON.
    pub payload: String,
    /// base64url of the 64 bytes of an Ed25519 signature.
    pub signature: String,
    /// The node's nkey of the user kind, `U…`.
    pub public_key: String,
}

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ReceiptError {
    #[error("the receipt is malformed")]
    Malformed,
    #[error("the receipt's key is not an nkey of a user")]
    Key,
    #[error("the receipt's signature is wrong")]
    Signature,
}

/// Equal receipts under the same key are equal bytes.
pub fn sign_receipt(key: &NatsKey, receipt: &Receipt) -> SignedReceipt {
    let json = serde_json::to_vec(receipt).expect("a struct of strings, integers and a time stamp is always JSON");
    let signature = BASE64_URL_SAFE_NO_PAD.encode(key.sign(&with_purpose(&json)));
    SignedReceipt { payload: BASE64_URL_SAFE_NO_PAD.encode(json), signature, public_key: key.public_key() }
}

/// What the holder of `public_key` stated. Whose key that is, the receipt cannot prove.
pub fn verify_receipt(signed: &SignedReceipt) -> Result<Receipt, ReceiptError> {
    if signed.payload.len() > RECEIPT_CHARS_MAX {
        return Err(ReceiptError::Malformed);
    }
    let json = BASE64_URL_SAFE_NO_PAD.decode(&signed.payload).map_err(|_| ReceiptError::Malformed)?;
    let signature: Signature = signed.signature.parse().map_err(|_| ReceiptError::Malformed)?;
    let key = user_key(&signed.public_key).ok_or(ReceiptError::Key)?;
    if !key.verify(&with_purpose(&json), &signature) {
        return Err(ReceiptError::Signature);
    }
    let receipt: Receipt = serde_json::from_slice(&json).map_err(|_| ReceiptError::Malformed)?;
    if is_digest(&receipt.digest) { Ok(receipt) } else { Err(ReceiptError::Malformed) }
}

fn user_key(text: &str) -> Option<PublicKey> {
    let (kind, bytes) = nkeys::from_public_key(text).ok()?;
    if KeyPairType::from(kind) != KeyPairType::User {
        return None;
    }
    PublicKey::from_bytes(&bytes).ok()
}

fn with_purpose(json: &[u8]) -> Vec<u8> {
    [PURPOSE, json].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::nats::KeyKind;
    use ed25519_dalek::{Verifier, VerifyingKey};

    const SEED: &str = "SUAAOBYHA4DQOBYHA4DQOBYHA4DQOBYHA4DQOBYHA4DQOBYHA4DQOBZ5FE";

    fn key() -> NatsKey {
        NatsKey::from_seed(KeyKind::User, SEED).unwrap()
    }

    fn receipt() -> Receipt {
        Receipt {
            org: "default".into(),
            project: "demo".into(),
            node_id: "n".into(),
            bundle_id: "b".into(),
            digest: "0a".repeat(32),
            counter: Counter { epoch: 1, position: 42 },
            activated_at: "2027-01-15T08:00:00Z".parse().unwrap(),
        }
    }

    fn signed() -> SignedReceipt {
        sign_receipt(&key(), &receipt())
    }

    #[test]
    fn what_was_signed_comes_back() {
        assert_eq!(verify_receipt(&signed()), Ok(receipt()));
        assert_eq!(signed(), signed(), "a repeat is the same bytes");
    }

    #[test]
    fn the_signature_is_ed25519_over_purpose_and_json() {
        let json = BASE64_URL_SAFE_NO_PAD.decode(signed().payload).unwrap();
        let expected = format!(
            r#"{{"org":"default","project":"demo","node_id":"n","bundle_id":"b","digest":"{}","counter":{{"epoch":1,"position":42}},"activated_at":"2027-01-15T08:00:00Z"}}"#,
            "0a".repeat(32)
        );
        assert_eq!(String::from_utf8(json.clone()).unwrap(), expected);
        // Kind, key and checksum of an nkey: 1, 32 and 2 bytes.
        let nkey = data_encoding::BASE32_NOPAD.decode(signed().public_key.as_bytes()).unwrap();
        let key = VerifyingKey::from_bytes(nkey[1..33].try_into().unwrap()).unwrap();
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signed().signature).unwrap();
        let signature = ed25519_dalek::Signature::from_slice(&signature).unwrap();
        let bytes = [b"pilothouse.receipt.v1\n".as_slice(), &json].concat();
        assert!(key.verify(&bytes, &signature).is_ok());
    }

    #[test]
    fn the_example_among_the_facts_is_genuine() {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../domain/goldens/node.activation_receipt.v1.json");
        let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
        let found = verify_receipt(&serde_json::from_value(golden["data"].clone()).unwrap()).unwrap();
        assert_eq!(found.digest, golden["data"]["digest"]);
        assert_eq!(found.counter.position, golden["data"]["counter"]["position"]);
    }

    #[test]
    fn every_part_counts() {
        let good = signed();
        for at in (0..good.payload.len()).step_by(13) {
            let mut payload = good.payload.clone();
            let new = if payload.as_bytes()[at] == b'A' { "B" } else { "A" };
            payload.replace_range(at..=at, new);
            assert!(verify_receipt(&SignedReceipt { payload, ..good.clone() }).is_err(), "character {at}");
        }
        let other = Receipt { node_id: "m".into(), ..receipt() };
        let payload = sign_receipt(&key(), &other).payload;
        assert_eq!(verify_receipt(&SignedReceipt { payload, ..good.clone() }), Err(ReceiptError::Signature));
        let stranger = NatsKey::generate(KeyKind::User);
        let swapped = SignedReceipt { public_key: stranger.public_key(), ..good.clone() };
        assert_eq!(verify_receipt(&swapped), Err(ReceiptError::Signature));
        let signature = sign_receipt(&stranger, &receipt()).signature;
        assert_eq!(verify_receipt(&SignedReceipt { signature, ..good.clone() }), Err(ReceiptError::Signature));
        let cut = SignedReceipt { signature: good.signature[..85].to_owned(), ..good };
        assert_eq!(verify_receipt(&cut), Err(ReceiptError::Malformed));
    }

    #[test]
    fn a_signature_for_another_purpose_counts_nothing() {
        let json = BASE64_URL_SAFE_NO_PAD.decode(signed().payload).unwrap();
        for purpose in ["", "pilothouse.assignment.v1\n", "pilothouse.receipt.v1", "pilothouse.receipt.v2\n"] {
            let bytes = [purpose.as_bytes(), &json].concat();
            let signature = BASE64_URL_SAFE_NO_PAD.encode(key().sign(&bytes));
            let found = verify_receipt(&SignedReceipt { signature, ..signed() });
            assert_eq!(found, Err(ReceiptError::Signature), "{purpose:?}");
        }
    }

    #[test]
    fn only_an_nkey_of_a_user_signs() {
        let of_kind = |kind| sign_receipt(&NatsKey::generate(kind), &receipt());
        assert_eq!(verify_receipt(&of_kind(KeyKind::Account)), Err(ReceiptError::Key));
        assert_eq!(verify_receipt(&of_kind(KeyKind::Operator)), Err(ReceiptError::Key));
        for text in ["", "U", SEED, &"U".repeat(56), &"é".repeat(28)] {
            let found = verify_receipt(&SignedReceipt { public_key: text.to_owned(), ..signed() });
            assert_eq!(found, Err(ReceiptError::Key), "{text}");
        }
    }

    #[test]
    fn payloads_that_are_no_receipts_are_refused() {
        let sign_bytes = |json: &[u8]| SignedReceipt {
            payload: BASE64_URL_SAFE_NO_PAD.encode(json),
            signature: BASE64_URL_SAFE_NO_PAD.encode(key().sign(&with_purpose(json))),
            public_key: key().public_key(),
        };
        for json in [b"".as_slice(), b"{}", b"null", b"\xff", &vec![b' '; RECEIPT_CHARS_MAX]] {
            assert_eq!(verify_receipt(&sign_bytes(json)), Err(ReceiptError::Malformed));
        }
        let wrong = Receipt { digest: "0A".repeat(32), ..receipt() };
        assert_eq!(verify_receipt(&sign_receipt(&key(), &wrong)), Err(ReceiptError::Malformed));
    }
}
