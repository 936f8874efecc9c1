//! Ids of enrollments and challenges: a prefix and a KSUID, as the enrollment document shows them. A KSUID is four bytes of
//! time and sixteen random ones in base62, 27 characters that sort by time.

use crate::IdError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const CHARS: usize = 27;
/// The text of 20 bytes of 0xff. Texts sort as the numbers that they are, so nothing valid is greater.
const GREATEST: &str = "aWgEPTl1tmebfsQzFP4bxwgy80V";
/// 2014-05-13T16:53:20Z, where a KSUID's time begins.
const EPOCH_UNIX_S: u64 = 1_400_000_000;

macro_rules! ksuid_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// From the time in seconds since 1970 and random bytes that the caller drew.
            pub fn from_parts(unix_s: u64, random: [u8; 16]) -> Self {
                Self(format!(concat!($prefix, "{}"), encode(unix_s, random)))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                match text.strip_prefix($prefix).is_some_and(is_ksuid) {
                    true => Ok(Self(text)),
                    false => Err(IdError),
                }
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

ksuid_id!(/// One enrollment of a host, from its request to its end.
    EnrollmentId, "enr-");
ksuid_id!(/// A challenge that a host signs to prove its key.
    ChallengeId, "chl-");

fn encode(unix_s: u64, random: [u8; 16]) -> String {
    let time = u32::try_from(unix_s.saturating_sub(EPOCH_UNIX_S)).unwrap_or(u32::MAX);
    let mut number = [0; 20];
    number[..4].copy_from_slice(&time.to_be_bytes());
    number[4..].copy_from_slice(&random);
    let mut text = [0; CHARS];
    for place in text.iter_mut().rev() {
        let mut rest = 0u32;
        for byte in &mut number {
            let value = rest * 256 + u32::from(*byte);
            *byte = (value / 62) as u8;
            rest = value % 62;
        }
        *place = ALPHABET[rest as usize];
    }
    text.iter().map(|byte| char::from(*byte)).collect()
}

fn is_ksuid(text: &str) -> bool {
    text.len() == CHARS && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) && text <= GREATEST
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_that_of_other_implementations() {
        // The example of the format's reference implementation.
        let payload = [0xb5, 0xa1, 0xcd, 0x34, 0xb5, 0xf9, 0x9d, 0x11, 0x54, 0xfb, 0x68, 0x53, 0x34, 0x5c, 0x97, 0x35];
        assert_eq!(encode(EPOCH_UNIX_S + 107_608_047, payload), "0ujtsYcgvSTl8PAuAdqWYSMnLOv");
        assert_eq!(encode(u64::MAX, [0xff; 16]), GREATEST);
        assert_eq!(encode(0, [0; 16]), "0".repeat(27));
    }

    #[test]
    fn ids_read_back_and_sort_by_time() {
        let (earlier, later) =
            (EnrollmentId::from_parts(1_800_000_000, [9; 16]), EnrollmentId::from_parts(1_800_000_001, [0; 16]));
        assert!(earlier < later);
        assert_eq!(earlier.to_string().parse(), Ok(earlier));
    }

    #[test]
    fn nothing_else_is_an_id() {
        let good = EnrollmentId::from_parts(1_800_000_000, [9; 16]).to_string();
        let wrong = [
            String::new(),
            "enr-".to_owned(),
            good.replace("enr-", "chl-"),
            format!("{good}0"),
            good[..30].to_owned(),
            format!("enr-{}", "*".repeat(27)),
            format!("enr-{}", "ä".repeat(14)),
            "enr-aWgEPTl1tmebfsQzFP4bxwgy80W".to_owned(),
        ];
        for text in wrong {
            assert_eq!(text.parse::<EnrollmentId>(), Err(IdError), "{text}");
        }
    }
}
