//! What a command finds around it: the working directory and the environment. Of the process, or of a test.

use std::ffi::OsString;
use std::path::PathBuf;

/// Every variable that a verb reads, and what it does.
pub const VARIABLES: [(&str, &str); 9] = [
    (SERVER, "as --server"),
    (CREDS, "as --creds"),
    (CA_FILE, "as --ca-file"),
    (CONTEXT, "as --context"),
    (PROJECT, "as --project"),
    (XDG_CONFIG_HOME, "where `pilothouse/contexts.toml` lies; otherwise `~/.config`"),
    ("NO_COLOR", "not empty: no colours"),
    ("CLICOLOR_FORCE", "not empty and not 0: colours even where there is no terminal"),
    ("CLICOLOR", "0: no colours"),
];

pub(crate) const SERVER: &str = "PILOTHOUSE_SERVER";
pub(crate) const CREDS: &str = "PILOTHOUSE_CREDS";
pub(crate) const CA_FILE: &str = "PILOTHOUSE_CA_FILE";
pub(crate) const CONTEXT: &str = "PILOTHOUSE_CONTEXT";
pub(crate) const PROJECT: &str = "PILOTHOUSE_PROJECT";
pub(crate) const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";

/// The value of a variable.
type Lookup = dyn Fn(&str) -> Option<OsString>;

pub(crate) struct Surroundings {
    /// Empty: the process's own directory.
    pub here: PathBuf,
    lookup: Box<Lookup>,
}

impl Surroundings {
    pub fn of_process() -> Surroundings {
        Surroundings { here: PathBuf::new(), lookup: Box::new(|name| std::env::var_os(name)) }
    }

    #[cfg(test)]
    pub fn of_test(here: &std::path::Path, variables: &[(&str, &str)]) -> Surroundings {
        let variables: std::collections::BTreeMap<String, OsString> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
        Surroundings { here: here.to_owned(), lookup: Box::new(move |name| variables.get(name).cloned()) }
    }

    /// A variable that is set to nothing counts as not set.
    pub fn text(&self, name: &str) -> Option<String> {
        self.path(name).map(|value| value.to_string_lossy().into_owned())
    }

    pub fn path(&self, name: &str) -> Option<PathBuf> {
        (self.lookup)(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }
}
