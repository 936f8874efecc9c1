//! Ids of requests: what an answer's `X-Request-Id` and the log lines share. Not a secret, so a counter under a bijection is
//! enough: it spares the hot path the system's random source.

use axum::http::HeaderValue;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) struct RequestIds {
    /// Drawn at start, so that two replicas or two lives of one do not share ids.
    prefix: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub fn new() -> RequestIds {
        RequestIds {
            prefix: u64::from_le_bytes(trust::random_bytes()),
            next: AtomicU64::new(u64::from_le_bytes(trust::random_bytes())),
        }
    }

    /// 32 hex digits.
    pub fn next(&self) -> HeaderValue {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let mut text = [0; 32];
        write_hex(&mut text[..16], self.prefix);
        write_hex(&mut text[16..], mix(count));
        HeaderValue::from_bytes(&text).expect("hex digits are valid in a header")
    }
}

/// The finisher of SplitMix64: a bijection, so that no id comes twice.
fn mix(count: u64) -> u64 {
    let a = (count ^ (count >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    b ^ (b >> 31)
}

fn write_hex(into: &mut [u8], value: u64) {
    for (i, digit) in into.iter_mut().enumerate() {
        let nibble = (value >> (60 - 4 * i)) & 0xf;
        *digit = b"0123456789abcdef"[nibble as usize];
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_hex_and_differ() {
        let ids = RequestIds::new();
        let seen: BTreeSet<String> = (0..1000).map(|_| ids.next().to_str().unwrap().to_owned()).collect();
        assert_eq!(seen.len(), 1000);
        assert!(seen.iter().all(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())));
    }
}
