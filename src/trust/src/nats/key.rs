//! nkeys that can sign.
//!
//! Invariant: a [`NatsKey`] has its private half and is of a known kind.

use super::NatsError;
use crate::seal::random_bytes;
use nkeys::{KeyPair, KeyPairType};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    Operator,
    Account,
    User,
}

impl KeyKind {
    /// The first letters of a seed's text.
    fn seed_prefix(self) -> &'static str {
        match self {
            KeyKind::Operator => "SO",
            KeyKind::Account => "SA",
            KeyKind::User => "SU",
        }
    }

    fn pair_type(self) -> KeyPairType {
        match self {
            KeyKind::Operator => KeyPairType::Operator,
            KeyKind::Account => KeyPairType::Account,
            KeyKind::User => KeyPairType::User,
        }
    }
}

/// A key pair, private half included.
pub struct NatsKey(KeyPair);

impl NatsKey {
    pub fn generate(kind: KeyKind) -> Self {
        let pair = KeyPair::new_from_raw(kind.pair_type(), random_bytes());
        Self(pair.expect("any 32 bytes are an Ed25519 private key"))
    }

    /// From the seed's text, white space around it allowed.
    pub fn from_seed(kind: KeyKind, seed: &str) -> Result<Self, NatsError> {
        let seed = seed.trim_ascii();
        if !seed.starts_with(kind.seed_prefix()) {
            return Err(NatsError::Seed);
        }
        KeyPair::from_seed(seed).map(Self).map_err(|_| NatsError::Seed)
    }

    /// `O…`, `A…` or `U…`, 56 characters.
    pub fn public_key(&self) -> String {
        self.0.public_key()
    }

    /// `SO…`, `SA…` or `SU…`, 58 characters. A secret.
    pub fn seed(&self) -> String {
        self.0.seed().expect("the private half is there by construction")
    }

    /// The 32 bytes that the seed's text holds. A secret.
    pub(super) fn raw_seed(&self) -> [u8; 32] {
        let (_kind, raw) = nkeys::decode_seed(&self.seed()).expect("the text was made from a seed");
        raw
    }

    /// The 64 bytes of an Ed25519 signature.
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.sign(bytes).expect("the private half is there by construction")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_seed_is_the_key() {
        for (kind, public_prefix) in [(KeyKind::Operator, 'O'), (KeyKind::Account, 'A'), (KeyKind::User, 'U')] {
            let key = NatsKey::generate(kind);
            assert!(key.public_key().starts_with(public_prefix));
            let again = NatsKey::from_seed(kind, &format!("{}\n", key.seed())).unwrap();
            assert_eq!(again.public_key(), key.public_key());
            assert_eq!(again.sign(b"x"), key.sign(b"x"));
        }
    }

    #[test]
    fn other_kinds_and_nonsense_are_refused() {
        let user = NatsKey::generate(KeyKind::User);
        let mut damaged = user.seed();
        damaged.replace_range(20..21, if damaged.as_bytes()[20] == b'A' { "B" } else { "A" });
        for wrong in ["", "SU", &user.public_key(), &damaged, &user.seed()[..57], "SUéééééé", &"SU".repeat(29)] {
            assert_eq!(NatsKey::from_seed(KeyKind::User, wrong).err(), Some(NatsError::Seed), "{wrong}");
        }
        assert_eq!(NatsKey::from_seed(KeyKind::Account, &user.seed()).err(), Some(NatsError::Seed));
    }
}
