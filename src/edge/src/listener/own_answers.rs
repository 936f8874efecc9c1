//! Answers that no handler gives: hyper writes one by itself, without a body, when it cannot read a request's head. Such an
//! answer is recognised on its way out and gets the contract's body, so that a client meets one shape of error only.
//!
//! Absent: an answer to the preface of HTTP/2 and to what is no TLS on the TLS port. hyper and rustls close those by
//! themselves; no answer would be understood.

use contract::{ApiError, ErrorCode};
use hyper::StatusCode;

/// hyper's own answers hold a status, a length and a date.
const OWN_BYTES_MAX: usize = 256;
/// Every answer of ours carries it.
const OURS: &[u8] = b"\r\nx-request-id: ";

/// Why a connection ended before a request could be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// The head of a request is not HTTP/1.
    MalformedHead,
    /// The head of a request is larger than the limit.
    LargeHead,
    SlowHead,
    /// The client left an answer unread.
    SlowReader,
    /// No TLS connection came about.
    Tls,
}

/// What to write instead of `bytes`, when they are an answer of hyper's own.
pub(super) fn replacement(bytes: &[u8]) -> Option<(Dropped, Vec<u8>)> {
    let rest = bytes.strip_prefix(b"HTTP/1.1 4")?;
    if bytes.len() > OWN_BYTES_MAX
        || !bytes.ends_with(b"\r\n\r\n")
        || bytes.windows(OURS.len()).any(|part| part == OURS)
    {
        return None;
    }
    Some(match rest.get(..2) {
        Some(b"31" | b"14") => {
            (Dropped::LargeHead, answer(ErrorCode::MalformedRequest, "the head of the request is too large"))
        }
        _ => (Dropped::MalformedHead, answer(ErrorCode::MalformedRequest, "the head of the request is not HTTP/1.1")),
    })
}

/// For a head that did not arrive in time.
pub(super) fn slow_head() -> Vec<u8> {
    answer(ErrorCode::RequestTimeout, "the head of the request did not arrive in time")
}

/// A whole answer; the connection ends with it.
fn answer(code: ErrorCode, message: &str) -> Vec<u8> {
    let body = serde_json::to_string(&ApiError::new(code, message).body()).unwrap_or_default();
    let reason =
        StatusCode::from_u16(code.status()).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
    let (status, length) = (code.status(), body.len());
    format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: {length}\r\n\
         cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_of_hypers_own_is_replaced() {
        let own = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        let (why, text) = replacement(own).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(why, Dropped::MalformedHead);
        assert!(
            text.starts_with("HTTP/1.1 400 Bad Request\r\n") && text.ends_with(r#""code":"malformed_request"}"#),
            "{text}"
        );
        let large = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(replacement(large).unwrap().0, Dropped::LargeHead);
        let ours = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nx-request-id: 0\r\n\r\n";
        let long = [b"HTTP/1.1 400 Bad Request\r\nx: ".as_slice(), &[b'x'; OWN_BYTES_MAX], b"\r\n\r\n"].concat();
        for kept in
            [ours.as_slice(), b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"{}\r\n\r\n", b"", &long]
        {
            assert!(replacement(kept).is_none(), "{}", String::from_utf8_lossy(kept));
        }
    }

    #[test]
    fn the_length_is_the_bodys() {
        let text = String::from_utf8(slow_head()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
    }
}
