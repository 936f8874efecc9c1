//! Ed25519 keys and signatures (RFC 8032) and their spelling: base64url without padding, one text per value.
//!
//! Invariant: a [`PublicKey`] is a point of full order, so no signature fits every message. A bundle is signed over the bytes
//! of its archive with [`SigningKey::sign`]; whatever else is signed puts its purpose before the bytes.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use data_encoding::HEXLOWER;
use ed25519_dalek::{Signer, VerifyingKey};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// How many bytes of the public key's SHA-256 a key id shows.
const KEY_ID_BYTES: usize = 8;

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    #[error("is not an Ed25519 public key of 43 base64url characters")]
    PublicKey,
    #[error("is not an Ed25519 signature of 86 base64url characters")]
    Signature,
}

/// A private key.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(&seed))
    }

    /// What [`SigningKey::from_seed`] takes. A secret.
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    pub fn sign(&self, bytes: &[u8]) -> Signature {
        Signature(self.0.sign(bytes).to_bytes())
    }
}

/// 43 base64url characters as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Strict verification: a signature has one form, and keys of small order verify nothing.
    pub fn verify(&self, bytes: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        self.0.verify_strict(bytes, &signature).is_ok()
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Result<PublicKey, KeyError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::PublicKey)?;
        if key.is_weak() { Err(KeyError::PublicKey) } else { Ok(Self(key)) }
    }

    /// `<prefix>_` and 16 lowercase hex digits of the public key's SHA-256. The prefix says what the key is for: `sk` signs
    /// node tokens, `bk` bundles and assignments.
    pub fn key_id(&self, prefix: &str) -> String {
        let hash = Sha256::digest(self.as_bytes());
        format!("{prefix}_{}", HEXLOWER.encode(&hash[..KEY_ID_BYTES]))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(self.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        PublicKey::from_bytes(&decode(text).ok_or(KeyError::PublicKey)?)
    }
}

/// 86 base64url characters as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature([u8; 64]);

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl FromStr for Signature {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        decode(text).map(Self).ok_or(KeyError::Signature)
    }
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    // The length is looked at first: decoding allocates.
    if text.len() != (N * 4).div_ceil(3) {
        return None;
    }
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
    }

    /// RFC 8032 §7.1, test 2.
    #[test]
    fn signs_as_the_standard_says() {
        let key = SigningKey::from_seed(hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"));
        let public = key.public();
        assert_eq!(*public.as_bytes(), hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"));
        let signature = key.sign(&[0x72]);
        let expected = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                        085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        assert_eq!(signature.0, hex(expected));
        assert!(public.verify(&[0x72], &signature));
        assert!(!public.verify(&[0x73], &signature));
        assert!(!SigningKey::from_seed([1; 32]).public().verify(&[0x72], &signature));
    }

    #[test]
    fn every_part_of_a_signature_counts() {
        let key = SigningKey::from_seed([7; 32]);
        let signature = key.sign(b"bytes");
        for bit in (0..512).step_by(37).chain([511]) {
            let mut other = signature.clone();
            other.0[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.public().verify(b"bytes", &other), "bit {bit}");
        }
    }

    #[test]
    fn the_text_of_a_key_is_unique() {
        let key = SigningKey::from_seed(hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"));
        let text = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        assert_eq!(key.public().to_string(), text);
        assert_eq!(text.parse(), Ok(key.public()));
        assert_eq!(format!("{:?}", key.public()), format!("PublicKey({text})"));
        // The last character carries two bits that mean nothing; only zeros are accepted.
        let alias = text.replace("HURo", "HURp");
        for wrong in [alias.as_str(), &format!("{text}="), &text[..42], "", &text.replace('_', "/")] {
            assert_eq!(wrong.parse::<PublicKey>(), Err(KeyError::PublicKey), "{wrong}");
        }
        let signature = key.sign(b"");
        assert_eq!(signature.to_string().len(), 86);
        assert_eq!(signature.to_string().parse(), Ok(signature));
        assert_eq!("AA".parse::<Signature>(), Err(KeyError::Signature));
    }

    #[test]
    fn a_key_that_verifies_everything_is_refused() {
        // The neutral element: with it, the signature (R = neutral, s = 0) fits every message.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let text = BASE64_URL_SAFE_NO_PAD.encode(neutral);
        assert_eq!(text.parse::<PublicKey>(), Err(KeyError::PublicKey));
    }

    #[test]
    fn key_ids_say_what_the_key_is_for() {
        let public = SigningKey::from_seed([7; 32]).public();
        let id = public.key_id("sk");
        let hash = HEXLOWER.encode(&Sha256::digest(public.as_bytes()));
        assert_eq!(id, format!("sk_{}", &hash[..16]));
        assert_ne!(public.key_id("bk"), id);
    }
}
