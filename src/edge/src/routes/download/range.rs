//! The `Range` of a request (RFC 9110 §14.2). What cannot be read as one range of bytes is ignored, as the RFC asks.

use axum::http::{HeaderMap, header};
use std::ops::Range;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Whole,
    Part(Range<u64>),
    /// A range that no byte lies in.
    Outside,
}

/// `tag` is the entity tag with its quotes. A range under an `If-Range` that does not name it is not a range of these bytes.
pub(super) fn asked(headers: &HeaderMap, is_head: bool, tag: &str, total: u64) -> Asked {
    let mut values = headers.get_all(header::RANGE).iter();
    let (Some(range), None, false) = (values.next(), values.next(), is_head) else { return Asked::Whole };
    if headers.get_all(header::IF_RANGE).iter().any(|value| value.as_bytes() != tag.as_bytes()) {
        return Asked::Whole;
    }
    range.to_str().ok().and_then(|text| parse(text, total)).unwrap_or(Asked::Whole)
}

fn parse(text: &str, total: u64) -> Option<Asked> {
    let (unit, set) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        let length = number(last)?;
        let outside = length == 0 || total == 0;
        return Some(if outside { Asked::Outside } else { Asked::Part(total.saturating_sub(length)..total) });
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    Some(if first >= total { Asked::Outside } else { Asked::Part(first..last.saturating_add(1).min(total)) })
}

/// Digits alone; what is larger than any archive is as good as the largest number.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn range(text: &str) -> Asked {
        asked(&HeaderMap::from_iter([(header::RANGE, text.parse().unwrap())]), false, "\"d\"", 10)
    }

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        assert_eq!(range("bytes=0-0"), Asked::Part(0..1));
        assert_eq!(range("bytes=2-"), Asked::Part(2..10));
        assert_eq!(range("bytes=-3"), Asked::Part(7..10));
        assert_eq!(range("bytes=-99"), Asked::Part(0..10));
        assert_eq!(range("bytes=5-99"), Asked::Part(5..10));
        assert_eq!(range("Bytes = 5-18446744073709551615"), Asked::Part(5..10));
        assert_eq!(range("bytes=5-99999999999999999999999"), Asked::Part(5..10));
        for outside in ["bytes=10-", "bytes=10-11", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(range(outside), Asked::Outside, "{outside}");
        }
        for ignored in
            ["bytes=", "bytes=-", "bytes=5-4", "bytes=a-b", "bytes=0-1,3-4", "lines=0-1", "bytes=+1-2", "0-1"]
        {
            assert_eq!(range(ignored), Asked::Whole, "{ignored}");
        }
    }

    #[test]
    fn a_range_of_other_bytes_is_ignored() {
        let with = |tag: &str| {
            let mut headers = HeaderMap::from_iter([(header::RANGE, "bytes=1-".parse().unwrap())]);
            headers.insert(header::IF_RANGE, tag.parse().unwrap());
            asked(&headers, false, "\"d\"", 10)
        };
        assert_eq!(with("\"d\""), Asked::Part(1..10));
        assert_eq!(with("\"e\""), Asked::Whole);
        assert_eq!(with("W/\"d\""), Asked::Whole);
        assert_eq!(with("Wed, 21 Oct 2015 07:28:00 GMT"), Asked::Whole);
    }
}
