//! A host's curve key: X25519 (RFC 7748), derived from the seed of its nkey, so that one seed file is the whole identity.
//!
//! Invariant: the derivation is HKDF-SHA256 with an info text of its own and stays as it is for ever; the Ed25519 key and the
//! curve key share no bytes. Absent on purpose: sealing and opening; nothing is sealed to hosts yet.

use super::host::{CURVE_PREFIX, crc16};
use super::key::NatsKey;
use crate::seal::hkdf_sha256;
use curve25519_dalek::MontgomeryPoint;
use data_encoding::BASE32_NOPAD;

const INFO: &[u8] = b"pilothouse.host-curve.v1";

/// The public half of the curve key that belongs to an nkey: `X…`, 56 characters.
pub fn curve_public_key(key: &NatsKey) -> String {
    let private: [u8; 32] = hkdf_sha256(b"", &key.raw_seed(), &[INFO]);
    public_text(private)
}

fn public_text(private: [u8; 32]) -> String {
    let public = MontgomeryPoint::mul_base_clamped(private);
    let mut bytes = vec![CURVE_PREFIX];
    bytes.extend_from_slice(public.as_bytes());
    let checksum = crc16(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    BASE32_NOPAD.encode(&bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::key::KeyKind;
    use super::*;

    fn ascending() -> [u8; 32] {
        std::array::from_fn(|n| n as u8)
    }

    #[test]
    fn the_text_is_that_of_other_nkeys_libraries() {
        assert_eq!(public_text(ascending()), "XCHUBRNNW2HSKYSK4WZBJ2TWPJXMSTMCTU6XWXQ22G5G6PRBHAUF76G7");
    }

    #[test]
    fn one_seed_has_one_curve_key_for_ever() {
        let seed = "SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Y";
        let key = NatsKey::from_seed(KeyKind::User, seed).unwrap();
        assert_eq!(key.raw_seed(), ascending());
        assert_eq!(curve_public_key(&key), "XCDWHFVLJDTLXFNIILD2J626XDC7YZ537SLDTHYVGPXWEOPAQAFCVNBL");
        assert_ne!(curve_public_key(&key), public_text(ascending()), "the signing key is not the curve key");
        let other = NatsKey::generate(KeyKind::User);
        assert_ne!(curve_public_key(&other), curve_public_key(&key));
    }
}
