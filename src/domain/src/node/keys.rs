//! A node's two keys: the secret that it shows, of which facts hold a name alone, and the one that it signs with, whose public
//! half they hold.

use super::{Event, Node};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

const CHARS: usize = 56;
/// Kind, key and checksum.
const BYTES: usize = 35;
const KIND_USER: u8 = 20 << 3;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyRotated {
    /// Names the key; says nothing about its secret.
    pub key_id: String,
    /// An operator's: older keys and tokens are good for nothing from now on. Otherwise the node replaced its key itself, and
    /// the old one lives until the new one is used, for ten minutes at most.
    pub reset: bool,
    /// The key that the node signs with from now on, where it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
}

/// The public half of the key that a node signs with: an nkey of the user kind, `U…`, 56 characters with their checksum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(String);

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("must be the public nkey of a user, U and 55 more characters")]
pub struct PublicKeyError;

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the node has another signing key already; to get a new one it must register anew")]
pub struct SignsAlready;

/// Decides on a node's wish for another secret, which may bring along the key that it signs with. That one is never replaced:
/// whoever stole the secret would speak in the node's name for good.
pub fn rotate_key(node: &Node, key_id: String, public_key: Option<PublicKey>) -> Result<Event, SignsAlready> {
    let news = match (&node.public_key, public_key) {
        (Some(known), Some(told)) if *known != told => return Err(SignsAlready),
        (Some(_), _) => None,
        (None, told) => told,
    };
    Ok(Event::KeyRotated(KeyRotated { key_id, reset: false, public_key: news }))
}

impl PublicKey {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = PublicKeyError;

    fn try_from(text: String) -> Result<PublicKey, PublicKeyError> {
        let bytes = decode(&text).ok_or(PublicKeyError)?;
        let (key, sum) = bytes.split_at(BYTES - 2);
        let whole = key[0] == KIND_USER && checksum(key).to_le_bytes() == sum;
        if whole { Ok(PublicKey(text)) } else { Err(PublicKeyError) }
    }
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<PublicKey, PublicKeyError> {
        PublicKey::try_from(text.to_owned())
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> String {
        key.0
    }
}

/// Base32 of RFC 4648 without padding; 56 characters are exactly 35 bytes.
fn decode(text: &str) -> Option<[u8; BYTES]> {
    if text.len() != CHARS {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (group, out) in text.as_bytes().chunks_exact(8).zip(bytes.chunks_exact_mut(5)) {
        let mut bits: u64 = 0;
        for byte in group {
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'2'..=b'7' => byte - b'2' + 26,
                _ => return None,
            };
            bits = bits << 5 | u64::from(value);
        }
        out.copy_from_slice(&bits.to_be_bytes()[3..]);
    }
    Some(bytes)
}

/// CRC-16 with the polynomial 0x1021, as nkeys have it.
fn checksum(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ u16::from(*byte) << 8, |sum, _| sum << 1 ^ if sum & 0x8000 == 0 { 0 } else { 0x1021 })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const KEY: &str = "UAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB63NN";
    /// The same bytes as the key of an account.
    const OF_AN_ACCOUNT: &str = "AAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB776S";

    #[test]
    fn a_key_of_a_user_with_its_checksum_is_one() {
        assert_eq!(KEY.parse::<PublicKey>().unwrap().as_str(), KEY);
        let lower = KEY.to_lowercase();
        let long = format!("{KEY}A");
        for wrong in ["", "U", OF_AN_ACCOUNT, &lower, &long, &KEY[..55], &"U".repeat(56), &"é".repeat(28)] {
            assert_eq!(wrong.parse::<PublicKey>(), Err(PublicKeyError), "{wrong}");
        }
        for at in 0..KEY.len() {
            let mut damaged = KEY.to_owned();
            damaged.replace_range(at..=at, if KEY.as_bytes()[at] == b'A' { "B" } else { "A" });
            assert_eq!(damaged.parse::<PublicKey>(), Err(PublicKeyError), "character {at}");
        }
    }
}
