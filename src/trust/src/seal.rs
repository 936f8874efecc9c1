//! Secrets at rest and the making of secrets.
//!
//! Invariant: a sealed value opens only under the master key and the context (the record's name) it was sealed for, so a
//! record cannot be swapped for another one. The master key itself seals nothing: each purpose has a key derived from it.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;

/// First byte of a sealed value: version 1 is this byte, the nonce, and AES-256-GCM's output.
const VERSION: u8 = 1;
const KEY_BYTES: usize = 32;
/// Separates the sealing key from everything that [`MasterKey::derive`] gives out.
const SEAL_INFO: &[u8] = b"pilothouse.seal.v1";
const DERIVE_INFO: &[u8] = b"pilothouse.derive.v1\n";

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a master key is 64 hexadecimal digits")]
pub struct MasterKeyError;

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SealError {
    #[error("the sealed value is cut off or of an unknown version")]
    Malformed,
    #[error("the sealed value does not open with this master key in this place")]
    Refused,
}

/// The secret under which an installation keeps its other secrets. Not kept in the store.
pub struct MasterKey {
    key: [u8; KEY_BYTES],
    sealing: LessSafeKey,
}

impl MasterKey {
    pub fn generate() -> Self {
        Self::from_bytes(random_bytes())
    }

    /// Reads what [`MasterKey::to_text`] wrote; white space around it does not count.
    pub fn from_text(text: &str) -> Result<Self, MasterKeyError> {
        let digits = text.trim_ascii();
        if digits.len() != KEY_BYTES * 2 {
            return Err(MasterKeyError);
        }
        let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(|_| MasterKeyError)?;
        bytes.try_into().map(Self::from_bytes).map_err(|_| MasterKeyError)
    }

    /// 64 lowercase hex digits. A secret.
    pub fn to_text(&self) -> String {
        HEXLOWER.encode(&self.key)
    }

    /// Encrypts for one place. The nonce is random: one master key is good for 2^32 values.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = random_bytes();
        let mut body = plain.to_vec();
        self.sealing
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut body)
            .expect("AES-GCM refuses only texts beyond 64 GiB, and secrets are small");
        [&[VERSION], nonce.as_slice(), &body].concat()
    }

    /// Decrypts what was sealed for the same place.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let rest = sealed.strip_prefix(&[VERSION]).ok_or(SealError::Malformed)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Malformed)?;
        let mut body = body.to_vec();
        let opened = self.sealing.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context), &mut body);
        let length = opened.map_err(|_| SealError::Refused)?.len();
        body.truncate(length);
        Ok(body)
    }

    /// A key of its own for each purpose (HKDF-SHA256, RFC 5869); the same one every time.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        hkdf_sha256(b"", &self.key, &[DERIVE_INFO, purpose.as_bytes()])
    }

    fn from_bytes(key: [u8; KEY_BYTES]) -> Self {
        let sealing: [u8; KEY_BYTES] = hkdf_sha256(b"", &key, &[SEAL_INFO]);
        let sealing = UnboundKey::new(&AES_256_GCM, &sealing).expect("AES-256 takes any 32 bytes");
        Self { key, sealing: LessSafeKey::new(sealing) }
    }
}

/// From the system's random source.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.expect("the kernel's random source answers once it is seeded, and it is asked to wait for that");
    bytes
}

/// A new node key or API key: 256 random bits as 43 base64url characters.
pub fn new_secret() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(random_bytes::<32>())
}

/// What is kept of a secret: the SHA-256 of the text's bytes. Secrets of 256 random bits need no slower hash.
pub fn secret_hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Compares in a time that depends on the lengths alone.
pub fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

struct OutputBytes(usize);

impl hkdf::KeyType for OutputBytes {
    fn len(&self) -> usize {
        self.0
    }
}

pub(crate) fn hkdf_sha256<const N: usize>(salt: &[u8], secret: &[u8], info: &[&[u8]]) -> [u8; N] {
    const { assert!(N <= 255 * 32, "HKDF-SHA256 gives at most 255 blocks") };
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    let mut output = [0; N];
    extracted
        .expand(info, OutputBytes(N))
        .and_then(|expanded| expanded.fill(&mut output))
        .expect("the length is asked for and checked at compile time");
    output
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        HEXLOWER.decode(text.as_bytes()).unwrap()
    }

    fn master() -> MasterKey {
        MasterKey::from_text(&"0f".repeat(32)).unwrap()
    }

    /// RFC 5869 appendices A.1 and A.3.
    #[test]
    fn derives_as_the_standard_says() {
        let secret = [0x0b; 22];
        let info = hex("f0f1f2f3f4f5f6f7f8f9");
        let output: [u8; 42] = hkdf_sha256(&hex("000102030405060708090a0b0c"), &secret, &[&info[..4], &info[4..]]);
        let expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
        assert_eq!(output.as_slice(), hex(expected));
        let output: [u8; 42] = hkdf_sha256(b"", &secret, &[]);
        let expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8";
        assert_eq!(output.as_slice(), hex(expected));
    }

    #[test]
    fn what_was_sealed_comes_back() {
        for plain in [b"".as_slice(), b"s", &[0; 5000]] {
            let sealed = master().seal("org.default.sk_1", plain);
            assert_eq!(sealed.len(), 1 + 12 + plain.len() + 16);
            assert_eq!(master().open("org.default.sk_1", &sealed).unwrap(), plain);
        }
        assert_ne!(master().seal("c", b"plain"), master().seal("c", b"plain"), "the nonce is fresh");
    }

    /// Computed with another implementation (Python's `cryptography`): what installations have in store stays readable.
    #[test]
    fn a_value_of_version_1_opens_for_ever() {
        let sealed = hex("012424242424242424242424243010c7c57411fbccba0a3be3c64710b3339d7eb5");
        assert_eq!(master().open("a.b", &sealed).unwrap(), b"kept");
        let derived = hex("731f7ffe3043cb5ced078d4e808ac81e500b73fe64765101cdd4754411733fc7");
        assert_eq!(master().derive("downloads").as_slice(), derived);
    }

    #[test]
    fn another_place_or_key_does_not_open_it() {
        let sealed = master().seal("org.a.sk_1", b"plain");
        for context in ["org.b.sk_1", "", "org.a.sk_1 ", "org.a.sk_"] {
            assert_eq!(master().open(context, &sealed), Err(SealError::Refused), "{context}");
        }
        assert_eq!(MasterKey::generate().open("org.a.sk_1", &sealed), Err(SealError::Refused));
    }

    #[test]
    fn every_bit_counts() {
        let sealed = master().seal("c", b"plain");
        for bit in 0..sealed.len() * 8 {
            let mut other = sealed.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            let expected = if bit < 8 { SealError::Malformed } else { SealError::Refused };
            assert_eq!(master().open("c", &other), Err(expected), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(master().open("c", &sealed[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn purposes_have_keys_of_their_own() {
        let derived = master().derive("downloads");
        assert_eq!(derived, master().derive("downloads"));
        assert_ne!(derived, master().derive("download"));
        assert_ne!(derived, MasterKey::generate().derive("downloads"));
        let sealing: [u8; 32] = hkdf_sha256(b"", &[0x0f; 32], &[SEAL_INFO]);
        assert!(["", "pilothouse.seal.v1"].iter().all(|purpose| master().derive(purpose) != sealing));
    }

    #[test]
    fn the_text_of_a_master_key() {
        let text = MasterKey::generate().to_text();
        assert_eq!(MasterKey::from_text(&format!(" {text}\r\n")).unwrap().to_text(), text);
        assert_eq!(MasterKey::from_text(&text.to_uppercase()).unwrap().to_text(), text);
        for wrong in ["", &text[..63], &format!("{text}0"), &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(MasterKey::from_text(wrong).err(), Some(MasterKeyError), "{wrong}");
        }
    }

    #[test]
    fn secrets_are_long_and_never_the_same() {
        let secret = new_secret();
        assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(&secret).unwrap().len(), 32);
        assert_eq!(secret.len(), 43);
        assert_ne!(secret, new_secret());
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(secret_hash("abc").as_slice(), hex(expected));
    }

    #[test]
    fn bytes_are_compared_whole() {
        assert!(same_bytes(b"", b""));
        assert!(same_bytes(b"abc", b"abc"));
        assert!(!same_bytes(b"abc", b"abd"));
        assert!(!same_bytes(b"abc", b"ab"));
    }
}
