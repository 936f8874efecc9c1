//! The id by which operators know this host: what the settings say, or its name.
//!
//! Invariant: what cannot be an id is refused here, before anything is sent, and is not repeated in the refusal.

use domain::HostId;

const CHARS_MAX: usize = 128;
/// Every host's name for itself.
const EVERYBODY: [&str; 3] = ["localhost", "localhost4", "localhost6"];

/// The error is the rest of a sentence that begins with what the text is.
pub fn host_id(text: &str) -> Result<HostId, String> {
    text.parse().map_err(|_: domain::HostIdError| {
        format!("is not 1 to {CHARS_MAX} letters, digits, - and _, the first of them a letter or digit")
    })
}

/// The host name with an underscore for each dot. The error is a sentence.
pub fn host_id_from_name(name: &str) -> Result<HostId, String> {
    let id = host_id(&name.replace('.', "_")).map_err(|problem| format!("the host name {name:?} {problem}"))?;
    if EVERYBODY.iter().any(|everybody| name.eq_ignore_ascii_case(everybody)) || name.starts_with("localhost.") {
        return Err(format!("the host name {name:?} is the name of every host"));
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_are_one_safe_word() {
        for good in ["a", "7", "web-03", "a_b", "A-1", "a-", &"x".repeat(CHARS_MAX)] {
            assert_eq!(host_id(good).unwrap().as_str(), good);
        }
        let long = "x".repeat(CHARS_MAX + 1);
        let bad =
            ["", "_lead", "-a", "web.01", "*", ">", "a b", "a\nb", "a\u{1b}[31m", "a\u{0}", "ä", "a/b", "..", &long];
        assert!(bad.iter().all(|bad| host_id(bad).is_err()));
    }

    #[test]
    fn a_host_name_becomes_an_id_unless_it_is_everybodys() {
        assert_eq!(host_id_from_name("web-03.prod.internal").unwrap().as_str(), "web-03_prod_internal");
        for bad in ["", "localhost", "LOCALHOST", "localhost.localdomain", "localhost6", "a b"] {
            assert!(host_id_from_name(bad).unwrap_err().contains(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_id_has_a_control_character(text in any::<String>()) {
            if let Ok(id) = host_id(&text) {
                prop_assert!(id.as_str().bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.'));
            }
        }
    }
}
