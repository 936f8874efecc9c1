//! The body of `POST /api/v1/enroll`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use schemars::JsonSchema;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;

/// The largest body.
pub const ENROLL_BYTES_MAX: usize = 4096;
const HOSTNAME_CHARS_MAX: usize = 255;
const METADATA_ENTRIES_MAX: usize = 64;

/// As it was sent: nothing but the shape is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct EnrollRequest {
    pub peel_id: String,
    /// `U…`
    pub public_key: String,
    /// `X…`
    pub curve_public_key: String,
    pub challenge_id: String,
    /// Over the challenge's bytes and the text of `curve_public_key`; base64 with padding.
    #[schemars(with = "String")]
    pub signature: Vec<u8>,
    #[schemars(default)]
    pub hostname: String,
    #[schemars(default)]
    pub metadata: BTreeMap<String, String>,
}

impl EnrollRequest {
    /// None: the body is no such object, or too large.
    pub fn parse(bytes: &[u8]) -> Option<EnrollRequest> {
        if bytes.len() > ENROLL_BYTES_MAX {
            return None;
        }
        let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<EnrollRequest>();
        values.next()?.ok()
    }

    /// For people to read, so it holds nothing that a terminal obeys.
    pub fn plain_hostname(&self) -> Option<String> {
        let plain = plain(&self.hostname);
        (!plain.is_empty()).then_some(plain)
    }

    /// As [`EnrollRequest::plain_hostname`]; what is more than 64 entries is left out.
    pub fn plain_metadata(&self) -> BTreeMap<String, String> {
        let entries = self.metadata.iter().take(METADATA_ENTRIES_MAX);
        entries.map(|(key, value)| (plain(key), plain(value))).collect()
    }
}

/// Controls, and characters that turn the direction of a text or are not seen, become a sign that says so.
fn plain(text: &str) -> String {
    let hides = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().take(HOSTNAME_CHARS_MAX).map(|c| if hides(c) { '\u{fffd}' } else { c }).collect()
}

impl<'de> Deserialize<'de> for EnrollRequest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<EnrollRequest, D::Error> {
        from.deserialize_any(RequestVisitor)
    }
}

struct RequestVisitor;

impl<'de> Visitor<'de> for RequestVisitor {
    type Value = EnrollRequest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<EnrollRequest, E> {
        Ok(EnrollRequest::default())
    }

    /// Names in any case, the last of two wins, null says nothing.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EnrollRequest, A::Error> {
        let mut request = EnrollRequest::default();
        while let Some(name) = map.next_key::<String>()? {
            match name.to_ascii_lowercase().as_str() {
                "peel_id" => set(&mut request.peel_id, map.next_value()?),
                "public_key" => set(&mut request.public_key, map.next_value()?),
                "curve_public_key" => set(&mut request.curve_public_key, map.next_value()?),
                "challenge_id" => set(&mut request.challenge_id, map.next_value()?),
                "hostname" => set(&mut request.hostname, map.next_value()?),
                "signature" => {
                    if let Some(text) = map.next_value::<Option<String>>()? {
                        request.signature =
                            decoded(&text).ok_or_else(|| A::Error::custom("signature is not base64"))?;
                    }
                }
                "metadata" => {
                    if let Some(entries) = map.next_value::<Option<BTreeMap<String, Option<String>>>>()? {
                        let entries = entries.into_iter().map(|(key, value)| (key, value.unwrap_or_default()));
                        request.metadata.extend(entries);
                    }
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(request)
    }
}

fn set(slot: &mut String, value: Option<String>) {
    if let Some(value) = value {
        *slot = value;
    }
}

/// Standard base64 with its padding; line breaks within are skipped.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let joined: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    BASE64_STANDARD.decode(joined).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<EnrollRequest> {
        EnrollRequest::parse(text.as_bytes())
    }

    #[test]
    fn a_body_is_read_as_the_described_server_reads_it() {
        let full = r#"{"peel_id":"web-01","Public_Key":"UA","curve_public_key":"XA","challenge_id":"chl-1",
            "signature":"AQID\r\nBA==","hostname":"h","metadata":{"os":"linux","n":null},"more":[{}]} trailing"#;
        let request = parsed(full).unwrap();
        assert_eq!((request.peel_id.as_str(), request.public_key.as_str()), ("web-01", "UA"));
        assert_eq!(request.signature, [1, 2, 3, 4]);
        assert_eq!(request.metadata["os"], "linux");
        let last = parsed(r#"{"peel_id":"a","peel_id":"b","hostname":"x","hostname":null}"#).unwrap();
        assert_eq!((last.peel_id.as_str(), last.hostname.as_str()), ("b", "x"));
        assert_eq!(parsed("{}"), Some(EnrollRequest::default()));
        assert_eq!(parsed("null"), Some(EnrollRequest::default()));
    }

    #[test]
    fn what_is_no_such_object_is_none() {
        let deep = "[".repeat(4000);
        let wrong = [
            "",
            "[]",
            "\"x\"",
            "{",
            r#"{"peel_id":1}"#,
            r#"{"metadata":[]}"#,
            r#"{"metadata":{"a":1}}"#,
            r#"{"signature":"AQIDBA"}"#,
            r#"{"signature":"_-8="}"#,
            r#"{"signature":[1]}"#,
            "\u{feff}{}",
            &deep,
        ];
        for text in wrong {
            assert_eq!(parsed(text), None, "{text}");
        }
        assert_eq!(EnrollRequest::parse(b"{\"peel_id\":\"\xff\"}"), None);
        let body = |size: usize| format!("{{\"hostname\":\"{}\"}}", "x".repeat(size - 15));
        assert_eq!(body(ENROLL_BYTES_MAX).len(), ENROLL_BYTES_MAX);
        assert!(parsed(&body(ENROLL_BYTES_MAX)).is_some());
        assert_eq!(parsed(&body(ENROLL_BYTES_MAX + 1)), None);
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_kept() {
        let request = EnrollRequest {
            hostname: "a\u{1b}[2Jb\n\u{202e}c".into(),
            metadata: BTreeMap::from([("k\u{7}".into(), "v\u{9b}1m".into())]),
            ..EnrollRequest::default()
        };
        assert_eq!(request.plain_hostname().unwrap(), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c");
        assert_eq!(request.plain_metadata(), BTreeMap::from([("k\u{fffd}".into(), "v\u{fffd}1m".into())]));
        assert_eq!(EnrollRequest::default().plain_hostname(), None);
    }
}
