//! Whether a client takes JSON (RFC 9110 §12.5.1).

use axum::http::{HeaderMap, header};

/// True without `Accept`. The most specific range that covers `application/json` decides.
pub(crate) fn takes_json(headers: &HeaderMap) -> bool {
    let mut best: Option<(u8, bool)> = None;
    let mut any = false;
    for value in headers.get_all(header::ACCEPT) {
        any = true;
        let Ok(text) = value.to_str() else { continue };
        for range in text.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let Some(rank) = parts.next().and_then(rank) else { continue };
            let wanted = !parts.any(is_zero_weight);
            if best.is_none_or(|(known, yes)| rank > known || (rank == known && wanted && !yes)) {
                best = Some((rank, wanted));
            }
        }
    }
    !any || best.is_some_and(|(_, wanted)| wanted)
}

/// How specifically a media range names JSON; none when it does not cover it.
fn rank(range: &str) -> Option<u8> {
    if range == "*/*" {
        Some(0)
    } else if range.eq_ignore_ascii_case("application/*") {
        Some(1)
    } else if range.eq_ignore_ascii_case("application/json") {
        Some(2)
    } else {
        None
    }
}

fn is_zero_weight(parameter: &str) -> bool {
    let Some((name, weight)) = parameter.split_once('=') else { return false };
    name.trim().eq_ignore_ascii_case("q") && weight.trim().parse::<f32>().is_ok_and(|q| q <= 0.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_range_decides() {
        let cases = [
            ("*/*", true),
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/html, application/*;q=0.1", true),
            ("text/html,application/xhtml+xml,*/*;q=0.8", true),
            ("text/html", false),
            ("application/json;q=0, */*", false),
            ("application/json;q=0.0", false),
            ("application/zstd", false),
            ("", false),
        ];
        for (accept, expected) in cases {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
            assert_eq!(takes_json(&headers), expected, "{accept}");
        }
        assert!(takes_json(&HeaderMap::new()));
    }
}
