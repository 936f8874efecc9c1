//! Arguments that several verbs share, and how their text is read.

use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Confirm {
    /// Do it without asking
    #[arg(long, short)]
    pub yes: bool,
}

/// Options of every verb that changes something.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Mutation {
    /// Repeats of a command with the same key are done once [default: a random key]
    #[arg(long, value_name = "KEY", value_parser = parse_key)]
    pub idempotency_key: Option<String>,
}

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Watching {
    /// Show it again whenever something changes, until stopped
    #[arg(long, short)]
    pub watch: bool,
}

/// `key=value`; the value may be empty and may hold `=`.
pub fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must be key=value".to_owned()),
    }
}

/// Pairs as a map; a key that is given twice with different values is an error.
pub(crate) fn label_map(pairs: &[(String, String)]) -> Result<BTreeMap<String, String>, crate::error::CliError> {
    let mut map = BTreeMap::new();
    for (key, value) in pairs {
        if map.insert(key.clone(), value.clone()).is_some_and(|before| before != *value) {
            return Err(crate::error::CliError::Usage(format!("--label {key} is given twice with different values")));
        }
    }
    Ok(map)
}

/// When something ends: a point in time (RFC 3339) or a duration from now such as `12h` or `90d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    At(Timestamp),
    In(SignedDuration),
}

impl Expiry {
    pub fn parse(text: &str) -> Result<Expiry, String> {
        if let Ok(time) = text.parse() {
            return Ok(Expiry::At(time));
        }
        let unit_s: i64 = match text.chars().last() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            _ => return Err(EXPIRY_ADVICE.to_owned()),
        };
        // The unit is one ASCII character, so the cut is at a character boundary.
        let amount: u32 = text[..text.len() - 1].parse().map_err(|_| EXPIRY_ADVICE.to_owned())?;
        let seconds =
            i64::from(amount).checked_mul(unit_s).filter(|s| *s > 0).ok_or_else(|| EXPIRY_ADVICE.to_owned())?;
        Ok(Expiry::In(SignedDuration::from_secs(seconds)))
    }

    /// The same, read backwards: a duration is that long ago. None: earlier than any time that can be written.
    pub fn before(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Expiry::At(time) => Some(time),
            Expiry::In(duration) => now.checked_sub(duration).ok(),
        }
    }

    /// None: later than any time that can be written.
    pub fn from(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Expiry::At(time) => Some(time),
            Expiry::In(duration) => now.checked_add(duration).ok(),
        }
    }
}

const EXPIRY_ADVICE: &str = "must be a time such as 2030-01-31T00:00:00Z, or a duration such as 12h or 90d";
const KEY_CHARS_MAX: usize = 255;

fn parse_key(text: &str) -> Result<String, String> {
    match text.chars().count() {
        1..=KEY_CHARS_MAX => Ok(text.to_owned()),
        _ => Err(format!("must have 1 to {KEY_CHARS_MAX} characters")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::noon;

    #[test]
    fn labels_are_pairs() {
        assert_eq!(parse_label("env=a=b"), Ok(("env".to_owned(), "a=b".to_owned())));
        assert_eq!(parse_label("env="), Ok(("env".to_owned(), String::new())));
        assert!(parse_label("env").is_err() && parse_label("=x").is_err());
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert_eq!(label_map(&[pair("a", "1"), pair("a", "1")]).unwrap().len(), 1);
        assert!(label_map(&[pair("a", "1"), pair("a", "2")]).is_err());
    }

    #[test]
    fn an_expiry_is_a_time_or_a_duration() {
        let at = |text: &str| Expiry::parse(text).unwrap().from(noon()).unwrap().to_string();
        assert_eq!(at("2030-01-31T00:00:00Z"), "2030-01-31T00:00:00Z");
        assert_eq!(at("90d"), "2026-04-02T12:00:00Z");
        assert_eq!(at("12h"), "2026-01-03T00:00:00Z");
        for wrong in ["", "d", "0d", "-1d", "1.5h", "12", "1ä", "tomorrow", "99999999999d"] {
            assert!(Expiry::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Expiry::parse("4294967295d").unwrap().from(noon()), None);
    }
}
