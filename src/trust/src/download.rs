//! Signatures of download URLs: whoever has the URL may fetch that one archive until it expires.
//!
//! Invariant: the signature covers the digest and the expiry, under a purpose of its own.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac;

/// HMAC-SHA256 as 43 base64url characters. `digest` is the archive's, in hex; the expiry is in seconds since 1970.
pub fn sign_download(key: &[u8; 32], digest: &str, expires_unix_s: i64) -> String {
    let tag = hmac::sign(&hmac_key(key), message(digest, expires_unix_s).as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(tag)
}

/// True when the signature is right (compared in constant time) and `now_unix_s` is before the expiry.
pub fn verify_download(key: &[u8; 32], digest: &str, expires_unix_s: i64, signature: &str, now_unix_s: i64) -> bool {
    let Ok(tag) = BASE64_URL_SAFE_NO_PAD.decode(signature) else { return false };
    let message = message(digest, expires_unix_s);
    hmac::verify(&hmac_key(key), message.as_bytes(), &tag).is_ok() && now_unix_s < expires_unix_s
}

fn hmac_key(key: &[u8; 32]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key)
}

fn message(digest: &str, expires_unix_s: i64) -> String {
    format!("download.v1\n{digest}\n{expires_unix_s}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [5; 32];
    const EXPIRES: i64 = 1_800_000_000;

    #[test]
    fn counts_until_it_expires() {
        let signature = sign_download(&KEY, "ab12", EXPIRES);
        assert_eq!(signature.len(), 43);
        let verify = |now| verify_download(&KEY, "ab12", EXPIRES, &signature, now);
        assert!(verify(i64::MIN));
        assert!(verify(EXPIRES - 1));
        assert!(!verify(EXPIRES));
        assert!(!verify(i64::MAX));
    }

    /// `printf 'download.v1\nab12\n1800000000' | openssl dgst -sha256 -mac hmac -macopt hexkey:0505…`
    #[test]
    fn is_the_hmac_of_the_three_lines() {
        assert_eq!(sign_download(&KEY, "ab12", EXPIRES), "CIIBBy86WWQ5Sc4TbiCbzfWJAA-HXGd-N4de5fkXIuw");
    }

    #[test]
    fn every_part_counts() {
        let now = EXPIRES - 1;
        let signature = sign_download(&KEY, "ab12", EXPIRES);
        assert!(!verify_download(&[6; 32], "ab12", EXPIRES, &signature, now));
        assert!(!verify_download(&KEY, "ab13", EXPIRES, &signature, now));
        assert!(!verify_download(&KEY, "ab12", EXPIRES + 1, &signature, now));
        for (at, old) in signature.char_indices() {
            let mut other = signature.clone();
            other.replace_range(at..=at, if old == 'A' { "B" } else { "A" });
            assert!(!verify_download(&KEY, "ab12", EXPIRES, &other, now), "character {at}");
        }
        for wrong in ["", "A", "é", &signature[..42], &format!("{signature}="), &format!("{signature}AAAA")] {
            assert!(!verify_download(&KEY, "ab12", EXPIRES, wrong, now), "{wrong}");
        }
    }
}
