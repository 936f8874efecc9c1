//! The id by which operators know a host.
//!
//! Invariant: it is safe as a token of a NATS subject, in a URL, as a file's name and on a terminal.

use std::fmt;
use std::str::FromStr;

const CHARS_MAX: usize = 128;
/// Every host's name for itself.
const EVERYBODY: [&str; 3] = ["localhost", "localhost4", "localhost6"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostId(String);

impl HostId {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host name with an underscore for each dot. The error is a sentence.
    pub fn from_hostname(name: &str) -> Result<HostId, String> {
        let id: HostId =
            name.replace('.', "_").parse().map_err(|problem| format!("the host name {name:?} {problem}"))?;
        if EVERYBODY.iter().any(|everybody| name.eq_ignore_ascii_case(everybody) || name.starts_with("localhost.")) {
            return Err(format!("the host name {name:?} is the name of every host"));
        }
        Ok(id)
    }
}

impl FromStr for HostId {
    type Err = String;

    fn from_str(text: &str) -> Result<HostId, String> {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !begins || !text.chars().all(inner) || text.len() > CHARS_MAX {
            let shape =
                format!("is not 1 to {CHARS_MAX} letters, digits, - and _, the first of them a letter or digit");
            return Err(shape);
        }
        Ok(HostId(text.to_owned()))
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_are_one_safe_word() {
        for good in ["a", "7", "web-03", "a_b", "A-1", "a-", &"x".repeat(CHARS_MAX)] {
            assert_eq!(good.parse::<HostId>().unwrap().as_str(), good);
        }
        let long = "x".repeat(CHARS_MAX + 1);
        let bad =
            ["", "_lead", "-a", "web.01", "*", ">", "a b", "a\nb", "a\u{1b}[31m", "a\u{0}", "ä", "a/b", "..", &long];
        assert!(bad.iter().all(|bad| bad.parse::<HostId>().is_err()));
    }

    #[test]
    fn a_host_name_becomes_an_id_unless_it_is_everybodys() {
        assert_eq!(HostId::from_hostname("web-03.prod.internal").unwrap().as_str(), "web-03_prod_internal");
        for bad in ["", "localhost", "LOCALHOST", "localhost.localdomain", "localhost6", "a b"] {
            assert!(HostId::from_hostname(bad).unwrap_err().contains(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_id_has_a_control_character(text in any::<String>()) {
            if let Ok(id) = text.parse::<HostId>() {
                prop_assert!(id.as_str().bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.'));
            }
        }
    }
}
