//! Contexts: named places in one file, `$XDG_CONFIG_HOME/pilothouse/contexts.toml`. It holds addresses and paths and never a
//! secret, so that it may be kept and shown; it is private all the same, because it tells where the credentials lie.

use crate::error::CliError;
use crate::files::{read_small, write_whole};
use crate::surroundings::{Surroundings, XDG_CONFIG_HOME};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

const NAME_CHARS_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    pub server: String,
    /// Absolute, as is `ca_file`.
    pub creds: PathBuf,
    pub ca_file: Option<PathBuf>,
    pub project: Option<String>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Contexts {
    /// The one in use.
    pub current: Option<String>,
    pub contexts: BTreeMap<String, Context>,
}

impl Contexts {
    /// None: there is neither XDG_CONFIG_HOME nor HOME.
    pub fn path(around: &Surroundings) -> Option<PathBuf> {
        let config = around.path(XDG_CONFIG_HOME).filter(|path| path.is_absolute());
        let config = config.or_else(|| Some(around.path("HOME")?.join(".config")))?;
        Some(config.join("pilothouse/contexts.toml"))
    }

    /// Without a file there are no contexts.
    pub fn load(around: &Surroundings) -> Result<Contexts, CliError> {
        let Some(path) = Contexts::path(around) else {
            return Ok(Contexts::default());
        };
        let text = match read_small(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contexts::default()),
            Err(error) => {
                return Err(CliError::Usage(format!("could not read the contexts in {} ({error})", path.display())));
            }
        };
        toml::from_str(&text).map_err(|error| {
            let reason = error.message();
            CliError::Usage(format!("{} does not hold contexts: {reason}", path.display()))
        })
    }

    pub fn save(&self, around: &Surroundings) -> Result<(), CliError> {
        let path = Contexts::path(around)
            .ok_or_else(|| CliError::Usage("nowhere to keep contexts: set XDG_CONFIG_HOME or HOME".to_owned()))?;
        let failed = |source| CliError::System { action: "write the contexts", source };
        let text = toml::to_string(self).map_err(|error| failed(io::Error::other(error.to_string())))?;
        write_whole(&path, &text).map_err(failed)
    }

    pub fn get(&self, name: &str) -> Result<&Context, CliError> {
        self.contexts.get(name).ok_or_else(|| self.unknown(name))
    }

    fn unknown(&self, name: &str) -> CliError {
        let names: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
        CliError::NoContext(match names.as_slice() {
            [] => format!("there is no context {name:?}; `pilothouse context add` makes one"),
            names => format!("there is no context {name:?}; known are {}", names.join(", ")),
        })
    }

    /// Removes a context; when it was in use, none is.
    pub fn remove(&mut self, name: &str) -> Result<(), CliError> {
        if self.contexts.remove(name).is_none() {
            return Err(self.unknown(name));
        }
        self.current.take_if(|current| current == name);
        Ok(())
    }
}

/// A name for a person to type: letters, digits, `.`, `_` and `-`, not at the beginning.
pub(crate) fn parse_name(text: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let fits = text.len() <= NAME_CHARS_MAX && text.starts_with(|c: char| c.is_ascii_alphanumeric());
    match fits && text.chars().all(inner) {
        true => Ok(text.to_owned()),
        false => Err(format!("must be 1 to {NAME_CHARS_MAX} letters, digits, dots, hyphens or underscores")),
    }
}

/// Relative paths of the command line mean the directory that it was typed in.
pub(crate) fn absolute(path: &Path, around: &Surroundings) -> Result<PathBuf, CliError> {
    std::path::absolute(around.here.join(path))
        .map_err(|source| CliError::System { action: "find the working directory", source })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn the_file_lies_in_the_configuration_directory() {
        let path = |variables: &[(&str, &str)]| Contexts::path(&Surroundings::of_test(Path::new(""), variables));
        let file = |text: &str| Some(PathBuf::from(text));
        assert_eq!(path(&[("XDG_CONFIG_HOME", "/c"), ("HOME", "/h")]), file("/c/pilothouse/contexts.toml"));
        let home = file("/h/.config/pilothouse/contexts.toml");
        assert_eq!(path(&[("HOME", "/h")]), home);
        assert_eq!(path(&[("XDG_CONFIG_HOME", ""), ("HOME", "/h")]), home);
        assert_eq!(path(&[("XDG_CONFIG_HOME", "relative"), ("HOME", "/h")]), home, "the rule of the base directories");
        assert_eq!(path(&[]), None);
    }

    #[test]
    fn what_is_saved_is_loaded_and_a_broken_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let around = Surroundings::of_test(dir.path(), &[("HOME", dir.path().to_str().unwrap())]);
        assert_eq!(Contexts::load(&around).unwrap(), Contexts::default());
        let prod = Context {
            server: "tls://control.example".to_owned(),
            creds: "/keys/op.creds".into(),
            ca_file: Some("/keys/ca.pem".into()),
            project: None,
        };
        let mut contexts = Contexts { current: Some("prod".to_owned()), contexts: BTreeMap::new() };
        contexts.contexts.insert("prod".to_owned(), prod);
        contexts.save(&around).unwrap();
        assert_eq!(Contexts::load(&around).unwrap(), contexts);
        assert_eq!(contexts.get("stage").unwrap_err().to_string(), "there is no context \"stage\"; known are prod");
        contexts.remove("prod").unwrap();
        assert_eq!(contexts, Contexts::default());
        assert_eq!(contexts.remove("prod").unwrap_err().exit(), Exit::NotFound);
        std::fs::write(Contexts::path(&around).unwrap(), "current = 1").unwrap();
        let error = Contexts::load(&around).unwrap_err();
        assert!(error.to_string().contains("contexts.toml does not hold contexts: "), "{error}");
    }

    #[test]
    fn names_can_be_typed() {
        assert!(["prod", "eu-1.prod_2", "7"].iter().all(|name| parse_name(name).is_ok()));
        for wrong in ["", "-x", ".x", "a b", "a/b", "ü", "a\u{1b}", &"x".repeat(65)] {
            assert!(parse_name(wrong).is_err(), "{wrong}");
        }
    }
}
