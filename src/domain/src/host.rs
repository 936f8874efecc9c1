//! What a host calls itself when it enrolls. The enrollment document says `peel_id`; the id is a token of NATS subjects, so it
//! can hold nothing that means something there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

const CHARS_MAX: usize = 128;

/// The messages are part of the wire contract.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HostIdError {
    #[error("peel ID is required")]
    Missing,
    #[error("peel ID exceeds maximum length of 128 characters")]
    TooLong,
    #[error("peel ID must not start with '_' (reserved)")]
    Reserved,
    #[error("peel ID must not contain '.', '*', or '>' (peel IDs become NATS subject tokens)")]
    Subject,
    #[error("peel ID contains invalid characters (must match ^[a-zA-Z0-9][a-zA-Z0-9_-]*$)")]
    Characters,
}

/// 1 to 128 of letters, digits, `_` and `-`, the first a letter or digit. Unique among the live hosts of an installation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct HostId(String);

impl HostId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for HostId {
    type Error = HostIdError;

    fn try_from(text: String) -> Result<Self, HostIdError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric();
        match text.bytes().next() {
            None => Err(HostIdError::Missing),
            Some(_) if text.chars().count() > CHARS_MAX => Err(HostIdError::TooLong),
            Some(b'_') => Err(HostIdError::Reserved),
            Some(_) if text.contains(['.', '*', '>']) => Err(HostIdError::Subject),
            Some(first) if plain(first) && text.bytes().all(|byte| plain(byte) || b"_-".contains(&byte)) => {
                Ok(Self(text))
            }
            Some(_) => Err(HostIdError::Characters),
        }
    }
}

impl FromStr for HostId {
    type Err = HostIdError;

    fn from_str(text: &str) -> Result<Self, HostIdError> {
        Self::try_from(text.to_owned())
    }
}

impl From<HostId> for String {
    fn from(id: HostId) -> String {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_safe_subject_tokens() {
        for good in ["a", "web-01", "A_b-", "9", &"x".repeat(128)] {
            assert!(good.parse::<HostId>().is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", HostIdError::Missing),
            (&"x".repeat(129), HostIdError::TooLong),
            ("_master", HostIdError::Reserved),
            ("_", HostIdError::Reserved),
            ("web.01", HostIdError::Subject),
            ("*", HostIdError::Subject),
            (">", HostIdError::Subject),
            ("web-01.example.com", HostIdError::Subject),
            ("-a", HostIdError::Characters),
            ("a b", HostIdError::Characters),
            ("ä", HostIdError::Characters),
            ("a\n", HostIdError::Characters),
            ("a\0", HostIdError::Characters),
        ] {
            assert_eq!(bad.parse::<HostId>(), Err(why), "{bad}");
        }
    }
}
