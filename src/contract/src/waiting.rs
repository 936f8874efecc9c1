//! How long a node lets its question for an offer wait.

use crate::fields::FieldErrors;
use std::collections::BTreeMap;

/// The most seconds that `wait` may ask for.
pub const WAIT_S_MAX: u32 = 60;

/// The parameter `wait`, in seconds; 0 without it: answered at once.
pub fn wait_s(query: &BTreeMap<String, String>) -> Result<u32, FieldErrors> {
    let Some(text) = query.get("wait") else { return Ok(0) };
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let seconds = text.parse().ok().filter(|seconds| digits && (0..=WAIT_S_MAX).contains(seconds));
    seconds.ok_or_else(|| FieldErrors::one("wait", format!("must be a whole number of seconds from 0 to {WAIT_S_MAX}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_seconds_up_to_a_minute_are_taken() {
        let of = |text: &str| wait_s(&BTreeMap::from([("wait".to_owned(), text.to_owned())])).ok();
        assert_eq!(wait_s(&BTreeMap::new()), Ok(0));
        assert_eq!(["0", "30", "60"].map(of), [Some(0), Some(30), Some(60)]);
        for wrong in ["61", "-1", "+1", "1.5", "", " 1", "x", "99999999999"] {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
    }
}
