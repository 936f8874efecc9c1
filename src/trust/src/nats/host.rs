//! Keys and credentials of hosts that enroll.
//!
//! Invariant: a [`HostKey`] is the public key of a user, checked to the last bit; a host's JWT carries no rights of its own,
//! because its role's signing key signs it, and its name is the host's id, which the role's template puts into subjects.

use super::NatsError;
use super::claims::{AccountSigningKey, Body, Mint, UserClaims, decode, sign};
use super::key::{KeyKind, NatsKey};
use super::roles::NODE_ROLE;
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use data_encoding::BASE32_NOPAD;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

/// First bytes of public keys as text: `U…` and `X…`.
const USER_PREFIX: u8 = 20 << 3;
pub(super) const CURVE_PREFIX: u8 = 23 << 3;
const PUBLIC_KEY_CHARS: usize = 56;

/// The public key of a host, `U…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKey {
    text: String,
    key: VerifyingKey,
}

impl HostKey {
    /// None for whatever is not the public key of a user.
    pub fn parse(text: &str) -> Option<HostKey> {
        let key = VerifyingKey::from_bytes(&public_bytes(text, USER_PREFIX)?).ok()?;
        (!key.is_weak()).then(|| HostKey { text: text.to_owned(), key })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the host signed these bytes. A signature of another length than 64 bytes is none.
    pub fn verify(&self, bytes: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = Signature::from_slice(signature) else { return false };
        self.key.verify_strict(bytes, &signature).is_ok()
    }

    /// `SHA256:` and 43 characters of base64, as ssh shows keys: over the 32 bytes of the key.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(Sha256::digest(self.key.as_bytes())))
    }
}

/// Whether the text is the public half of an X25519 key, `X…`.
pub fn is_curve_key(text: &str) -> bool {
    public_bytes(text, CURVE_PREFIX).is_some()
}

fn public_bytes(text: &str, prefix: u8) -> Option<[u8; 32]> {
    if text.len() != PUBLIC_KEY_CHARS {
        return None;
    }
    let bytes = BASE32_NOPAD.decode(text.as_bytes()).ok()?;
    let (body, checksum) = bytes.split_at_checked(33)?;
    if crc16(body).to_le_bytes() != checksum || body[0] != prefix {
        return None;
    }
    body[1..].try_into().ok()
}

/// CRC-16/XMODEM, the checksum of nkeys.
pub(super) fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 },
        )
    })
}

/// What signs the credentials of hosts. Holds a secret.
pub struct HostSigner {
    account_id: String,
    key: NatsKey,
}

impl HostSigner {
    /// `seed`: of the role's key. `account_jwt`: of the account that knows it as such.
    pub fn new(seed: &str, account_jwt: &str) -> Result<HostSigner, NatsError> {
        let key = NatsKey::from_seed(KeyKind::Account, seed)?;
        let claims = decode(account_jwt.trim_ascii())?;
        let Body::Account(account) = claims.nats else { return Err(NatsError::Jwt) };
        let public = key.public_key();
        let is_role = |known: &AccountSigningKey| match known {
            AccountSigningKey::Scoped(scoped) => scoped.key == public && scoped.role == NODE_ROLE,
            AccountSigningKey::Plain(_) => false,
        };
        match account.signing_keys.iter().any(is_role) {
            true => Ok(HostSigner { account_id: claims.sub, key }),
            false => Err(NatsError::Issuer),
        }
    }

    /// The account of the hosts.
    pub fn account_id(&self) -> &str {
        &self.account_id
    }

    /// The JWT of a host; the same arguments give the same text. Times are seconds since 1970.
    pub fn sign(&self, host_id: &str, public_key: &str, issued_at: i64, expires_at: i64) -> String {
        let mint = Mint { name: host_id, issued_at, expires_at: Some(expires_at) };
        sign(&self.key, public_key, mint, Body::User(UserClaims::scoped(&self.account_id)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};

    // Known keys and signatures: the seed is the bytes 0x00 to 0x1f, the challenge 0x80 to 0x9f.
    const USER: &str = "UAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3RLKK";
    const CURVE: &str = "XCHUBRNNW2HSKYSK4WZBJ2TWPJXMSTMCTU6XWXQ22G5G6PRBHAUF76G7";
    const ENROLL: &str = "/sSu6n2KUOOjdzQpGqiEkhtnh2m4sKcHNuMP94voh9t2ncUMpoQnAnhTah4bQJV0jZqPwvYGodDkbTX6paihAQ==";
    const CREDS: &str = "WqBIr9dp9LzpIwJ3kTJG2B50bX5rjQvMAzXVByE1ctD7pHE1O6dElzb23MYropd0rTQ_Mypl45OfviRwl9fhBg";

    #[test]
    fn known_signatures_are_verified_and_changed_ones_are_not() {
        let key = HostKey::parse(USER).unwrap();
        let challenge: Vec<u8> = (0x80..0xa0).collect();
        let message = [&challenge, CURVE.as_bytes()].concat();
        let signature = BASE64_STANDARD.decode(ENROLL).unwrap();
        assert!(key.verify(&message, &signature));
        assert!(!key.verify(&challenge, &signature), "the curve key is part of it");
        assert!(
            !key.verify(&message, &signature[..63]) && !key.verify(&message, &[]) && !key.verify(&message, &[0; 65])
        );
        let creds = BASE64_URL_SAFE_NO_PAD.decode(CREDS).unwrap();
        assert!(key.verify(b"enr-2JFKABCD1234567890abcdefghi", &creds));
        assert!(!key.verify(b"enr-2JFKABCD1234567890abcdefghj", &creds));
        assert_eq!(key.fingerprint().len(), 50);
    }

    #[test]
    fn nothing_but_the_public_key_of_a_user_is_taken() {
        assert!(is_curve_key(CURVE) && !is_curve_key(USER) && HostKey::parse(CURVE).is_none());
        let account = NatsKey::generate(KeyKind::Account).public_key();
        let mut flipped = USER.to_owned();
        flipped.replace_range(55.., "A");
        let seed = NatsKey::generate(KeyKind::User).seed();
        let wrong = [
            "",
            "U",
            &account,
            &USER.to_lowercase(),
            &flipped,
            &USER[..55],
            &format!("{USER}A"),
            &seed,
            &"ü".repeat(28),
        ];
        for wrong in wrong {
            assert!(HostKey::parse(wrong).is_none() && !is_curve_key(wrong), "{wrong}");
        }
        let user = NatsKey::generate(KeyKind::User).public_key();
        assert_eq!(HostKey::parse(&user).unwrap().as_str(), user);
    }
}
