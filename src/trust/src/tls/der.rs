//! The few fields of an X.509 certificate (RFC 5280 §4.1) that are needed here, out of its DER.
//!
//! Invariant: whatever the bytes are, the answer is the fields or nothing. Nothing is verified.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const INTEGER: u8 = 0x02;
const OBJECT_ID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
/// 2.5.4.3
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

pub(super) struct Fields<'a> {
    pub not_after: Timestamp,
    /// The `SubjectPublicKeyInfo`, tag and length included.
    pub public_key: &'a [u8],
    subject: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The subject when it is a common name and nothing else.
    pub fn common_name(&self) -> Option<&'a str> {
        let (set, rest) = element(self.subject, SET)?;
        let (attribute, more) = element(set, SEQUENCE)?;
        let (kind, value) = element(attribute, OBJECT_ID)?;
        let (text, after) = element(value, UTF8_STRING)?;
        let alone = rest.is_empty() && more.is_empty() && after.is_empty() && kind == COMMON_NAME;
        std::str::from_utf8(text).ok().filter(|_| alone)
    }
}

/// The fields of a certificate of version 2 or 3.
pub(super) fn read(certificate: &[u8]) -> Option<Fields<'_>> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (signed, _) = element(certificate, SEQUENCE)?;
    let (_version, rest) = element(signed, VERSION)?;
    let (_serial, rest) = element(rest, INTEGER)?;
    let (_algorithm, rest) = element(rest, SEQUENCE)?;
    let (_issuer, rest) = element(rest, SEQUENCE)?;
    let (validity, rest) = element(rest, SEQUENCE)?;
    let (subject, rest) = element(rest, SEQUENCE)?;
    let (_, after) = element(rest, SEQUENCE)?;
    let public_key = &rest[..rest.len() - after.len()];
    let not_after = any_element(validity)?.rest;
    Some(Fields { not_after: time(not_after)?, public_key, subject })
}

struct Element<'a> {
    tag: u8,
    contents: &'a [u8],
    /// What follows the element.
    rest: &'a [u8],
}

/// Contents and rest of the element at the front, which has this tag.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let front = any_element(bytes)?;
    (front.tag == tag).then_some((front.contents, front.rest))
}

fn any_element(bytes: &[u8]) -> Option<Element<'_>> {
    let (&[tag, first], mut rest) = bytes.split_first_chunk()?;
    let length = if first < 0x80 {
        usize::from(first)
    } else {
        let (length, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
        rest = after;
        // No certificate has 16 MiB, so no length has more than three bytes.
        (1..=3).contains(&length.len()).then(|| length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)))?
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some(Element { tag, contents, rest })
}

/// `YYMMDDHHMMSSZ` (50 to 99 are the nineteen-hundreds) or `YYYYMMDDHHMMSSZ`.
fn time(bytes: &[u8]) -> Option<Timestamp> {
    let Element { tag, contents, .. } = any_element(bytes)?;
    let digits = std::str::from_utf8(contents).ok()?.strip_suffix('Z')?;
    let digits = match (tag, digits.len()) {
        (UTC_TIME, 12) if digits < "5" => format!("20{digits}"),
        (UTC_TIME, 12) => format!("19{digits}"),
        (GENERALIZED_TIME, 14) => digits.to_owned(),
        _ => return None,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let two = |at: usize| digits[at..at + 2].parse::<i8>().ok();
    let year = digits[..4].parse().ok()?;
    let civil = DateTime::new(year, two(4)?, two(6)?, two(8)?, two(10)?, two(12)?, 0).ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn both_forms_of_time() {
        let time = |tag: u8, text: &str| {
            let bytes = [&[tag, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
            super::time(&bytes).map(|at| at.to_string())
        };
        assert_eq!(time(UTC_TIME, "491231235959Z").as_deref(), Some("2049-12-31T23:59:59Z"));
        assert_eq!(time(UTC_TIME, "500101000000Z").as_deref(), Some("1950-01-01T00:00:00Z"));
        assert_eq!(time(GENERALIZED_TIME, "20500101000000Z").as_deref(), Some("2050-01-01T00:00:00Z"));
        for wrong in ["", "Z", "491231235959", "49123123595Z", "491331235959Z", "+91231235959Z", "4912312359é"] {
            assert_eq!(time(UTC_TIME, wrong), None, "{wrong}");
        }
        assert_eq!(time(GENERALIZED_TIME, "491231235959Z"), None);
        assert_eq!(time(INTEGER, "491231235959Z"), None);
    }

    #[test]
    fn lengths_that_reach_beyond_the_end_are_nothing() {
        for bytes in [&[][..], &[0x30], &[0x30, 1], &[0x30, 0x80], &[0x30, 0x81], &[0x30, 0x82, 1], &[0x30, 0xff]] {
            assert!(any_element(bytes).is_none(), "{bytes:?}");
        }
        assert!(any_element(&[0x30, 0x84, 0, 0, 0, 1, 7]).is_none());
        assert_eq!(element(&[0x30, 0x81, 1, 7, 8], 0x30), Some((&[7][..], &[8][..])));
        assert_eq!(element(&[0x30, 1, 7], 0x31), None);
    }
}
