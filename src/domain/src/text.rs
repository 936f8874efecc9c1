//! Text that people choose: slugs, names, versions, labels. The rules are the registration document's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Why a text was refused; the message completes "<field> …".
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TextError {
    #[error("can't be blank")]
    Blank,
    #[error("should be at most {0} character(s)")]
    TooLong(usize),
    #[error("must start with alphanumeric and contain only alphanumeric, underscore, dot, or hyphen")]
    NameFormat,
    #[error("must be lowercase letters, digits and inner hyphens")]
    SlugFormat,
    #[error("must not contain control characters")]
    ControlCharacter,
    #[error("has more than {0} entries")]
    TooMany(usize),
    #[error("has the key {0:?}, which must be 1 to 63 characters of letters, digits, '_', '.', '-' and '/'")]
    LabelKey(String),
    #[error("has a value for {0:?} that is longer than 255 characters or contains control characters")]
    LabelValue(String),
}

macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
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
            type Error = TextError;

            fn try_from(text: String) -> Result<Self, TextError> {
                $check(&text)?;
                Ok(Self(text))
            }
        }

        impl FromStr for $name {
            type Err = TextError;

            fn from_str(text: &str) -> Result<Self, TextError> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }
    };
}

const SLUG_CHARS_MAX: usize = 50;
const NAME_CHARS_MAX: usize = 100;
const LABELS_MAX: usize = 64;
const LABEL_KEY_CHARS_MAX: usize = 63;
const LABEL_VALUE_CHARS_MAX: usize = 255;

checked_text!(
    /// The short name of an org or project: 1 to 50 of `a-z0-9` and inner hyphens. Unique in the installation, never changes,
    /// and is the token of the org or project in every subject.
    Slug,
    check_slug
);
checked_text!(
    /// A node's name: 1 to 100 characters, unique in its project.
    NodeName,
    check_name
);
checked_text!(
    /// A bundle's version: free text of 1 to 100 characters, unique in its project.
    BundleVersion,
    check_version
);

/// Key-value pairs that selectors match on; at most 64.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    pub fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every pair of `wanted` is here with the same value.
    pub fn contains_all(&self, wanted: &Labels) -> bool {
        wanted.0.iter().all(|(key, value)| self.0.get(key) == Some(value))
    }
}

impl TryFrom<BTreeMap<String, String>> for Labels {
    type Error = TextError;

    fn try_from(map: BTreeMap<String, String>) -> Result<Self, TextError> {
        if map.len() > LABELS_MAX {
            return Err(TextError::TooMany(LABELS_MAX));
        }
        for (key, value) in &map {
            let key_ok = |c: char| c.is_ascii_alphanumeric() || "_.-/".contains(c);
            if key.is_empty() || key.chars().count() > LABEL_KEY_CHARS_MAX || !key.chars().all(key_ok) {
                return Err(TextError::LabelKey(key.chars().take(LABEL_KEY_CHARS_MAX).collect()));
            }
            if value.chars().count() > LABEL_VALUE_CHARS_MAX || value.chars().any(char::is_control) {
                return Err(TextError::LabelValue(key.clone()));
            }
        }
        Ok(Self(map))
    }
}

impl From<Labels> for BTreeMap<String, String> {
    fn from(labels: Labels) -> Self {
        labels.0
    }
}

fn check_slug(text: &str) -> Result<(), TextError> {
    check_length(text, SLUG_CHARS_MAX)?;
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let edges = text.bytes().next().is_some_and(plain) && text.bytes().last().is_some_and(plain);
    if !edges || !text.bytes().all(|b| plain(b) || b == b'-') {
        return Err(TextError::SlugFormat);
    }
    Ok(())
}

fn check_name(text: &str) -> Result<(), TextError> {
    check_length(text, NAME_CHARS_MAX)?;
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if !first || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)) {
        return Err(TextError::NameFormat);
    }
    Ok(())
}

fn check_version(text: &str) -> Result<(), TextError> {
    check_length(text, NAME_CHARS_MAX)?;
    if text.trim().is_empty() {
        return Err(TextError::Blank);
    }
    if text.chars().any(char::is_control) {
        return Err(TextError::ControlCharacter);
    }
    Ok(())
}

fn check_length(text: &str, chars_max: usize) -> Result<(), TextError> {
    match text.chars().count() {
        0 => Err(TextError::Blank),
        n if n > chars_max => Err(TextError::TooLong(chars_max)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_registration_document() {
        assert!("proxy-us-east-1".parse::<NodeName>().is_ok());
        assert!("9_a.b-".parse::<NodeName>().is_ok());
        assert_eq!("".parse::<NodeName>(), Err(TextError::Blank));
        assert_eq!("-a".parse::<NodeName>(), Err(TextError::NameFormat));
        assert_eq!("a b".parse::<NodeName>(), Err(TextError::NameFormat));
        assert_eq!("a".repeat(101).parse::<NodeName>(), Err(TextError::TooLong(100)));
    }

    #[test]
    fn slugs_are_safe_subject_tokens() {
        assert!("demo".parse::<Slug>().is_ok());
        for bad in ["_", "a.b", "A", "-a", "a-", "a*", "a>", "ä"] {
            assert_eq!(bad.parse::<Slug>(), Err(TextError::SlugFormat), "{bad}");
        }
    }

    #[test]
    fn versions_are_free_text_without_control_characters() {
        assert!("1.4 (märz) /x".parse::<BundleVersion>().is_ok());
        assert_eq!("  ".parse::<BundleVersion>(), Err(TextError::Blank));
        assert_eq!("a\n".parse::<BundleVersion>(), Err(TextError::ControlCharacter));
        assert!("ä".repeat(100).parse::<BundleVersion>().is_ok(), "characters are counted, not bytes");
        assert_eq!("ä".repeat(101).parse::<BundleVersion>(), Err(TextError::TooLong(100)));
    }

    fn labels(pairs: &[(&str, &str)]) -> Result<Labels, TextError> {
        Labels::try_from(pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect::<BTreeMap<_, _>>())
    }

    #[test]
    fn labels_are_bounded() {
        assert!(labels(&[("topology/zone", ""), ("a_b.c-d", "ä b")]).is_ok());
        let long = "k".repeat(64);
        let (key, value) = (|k: &str| TextError::LabelKey(k.into()), |k: &str| TextError::LabelValue(k.into()));
        assert_eq!(labels(&[("", "x")]), Err(key("")));
        assert_eq!(labels(&[("a b", "x")]), Err(key("a b")));
        assert_eq!(labels(&[(&long, "x")]), Err(key(&long[..63])));
        assert_eq!(labels(&[("a", &"v".repeat(256))]), Err(value("a")));
        assert_eq!(labels(&[("a", "\0")]), Err(value("a")));
        let many: BTreeMap<String, String> = (0..65).map(|i| (format!("k{i}"), String::new())).collect();
        assert_eq!(Labels::try_from(many), Err(TextError::TooMany(64)));
    }

    #[test]
    fn labels_match_when_every_wanted_pair_is_there() {
        let has = labels(&[("env", "prod"), ("zone", "a")]).unwrap_or_default();
        let cases: [(&[(&str, &str)], bool); 4] = [
            (&[], true),
            (&[("env", "prod")], true),
            (&[("env", "prod"), ("zone", "b")], false),
            (&[("rack", "1")], false),
        ];
        for (wanted, matches) in cases {
            assert_eq!(has.contains_all(&labels(wanted).unwrap_or_default()), matches, "{wanted:?}");
        }
    }
}
