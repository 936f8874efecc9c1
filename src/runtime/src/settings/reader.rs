//! Typed values out of the layers, each checked alone.
//!
//! A number's range stands where it is read; the comment in `config/default.toml` repeats it and a test compares them.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::SettingsError;
use super::layers::{Entry, Layers, Origin, Value};

const SERVERS_MAX: usize = 16;
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

pub(super) struct Reader<'a> {
    layers: &'a Layers,
    /// Each name that was read, with the range of a number as its comment must give it.
    #[cfg(test)]
    pub reads: std::cell::RefCell<std::collections::BTreeMap<String, Option<String>>>,
}

impl<'a> Reader<'a> {
    pub fn new(layers: &'a Layers) -> Self {
        Self {
            layers,
            #[cfg(test)]
            reads: std::cell::RefCell::default(),
        }
    }

    /// An error about `name` that says where its value came from.
    pub fn problem(&self, name: &str, problem: String) -> SettingsError {
        let place = self.layers.get(name).map_or(Origin::Default, |entry| entry.origin.clone()).to_string();
        SettingsError::Value { place, name: name.to_owned(), problem }
    }

    pub fn integer<N: TryFrom<i64>>(&self, name: &str, range: RangeInclusive<i64>) -> Result<N, SettingsError> {
        #[cfg(test)]
        self.reads.borrow_mut().insert(name.to_owned(), Some(format!("{} to {}", range.start(), range.end())));
        let Value::Integer(number) = self.entry(name)?.value else {
            return Err(self.problem(name, "is not a number".to_owned()));
        };
        let fitting = range.contains(&number).then(|| N::try_from(number).ok()).flatten();
        fitting.ok_or_else(|| {
            self.problem(name, format!("is {number}, which is not in {} to {}", range.start(), range.end()))
        })
    }

    pub fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<T, SettingsError> {
        let text = self.text(name)?;
        choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            self.problem(name, format!("is {text:?}, which is neither {}", words.join(" nor ")))
        })
    }

    pub fn address(&self, name: &str) -> Result<SocketAddr, SettingsError> {
        self.optional_address(name)?.ok_or_else(|| {
            self.problem(name, "is empty: give an address and a port, such as \"127.0.0.1:4000\"".to_owned())
        })
    }

    /// An empty text is `None`.
    pub fn optional_address(&self, name: &str) -> Result<Option<SocketAddr>, SettingsError> {
        match self.text(name)? {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                self.problem(name, format!("is {text:?}, which is not an address and a port such as \"0.0.0.0:8443\""))
            }),
        }
    }

    /// An empty text is `None`; a relative path in a file is relative to the directory of that file.
    pub fn path(&self, name: &str) -> Result<Option<PathBuf>, SettingsError> {
        let text = self.text(name)?;
        if text.is_empty() {
            return Ok(None);
        }
        let directory = match &self.entry(name)?.origin {
            Origin::File { path, .. } => path.parent().unwrap_or(Path::new("")),
            Origin::Default | Origin::Variable(_) => Path::new(""),
        };
        Ok(Some(directory.join(text)))
    }

    /// Scheme and authority alone, because paths are appended to it; empty stays empty.
    pub fn base_url(&self, name: &str) -> Result<String, SettingsError> {
        let text = self.text(name)?;
        let text = text.strip_suffix('/').unwrap_or(text);
        let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        if text.is_empty() || authority.is_some_and(is_authority) {
            return Ok(text.to_owned());
        }
        Err(self.problem(
            name,
            format!("is {text:?}, which is not a scheme and a host such as \"https://control.example\""),
        ))
    }

    /// A list of at most `count_max` texts.
    pub fn texts(&self, name: &str, count_max: usize) -> Result<Vec<String>, SettingsError> {
        #[cfg(test)]
        self.reads.borrow_mut().insert(name.to_owned(), Some(format!("0 to {count_max}")));
        match &self.entry(name)?.value {
            Value::List(texts) if texts.len() <= count_max => Ok(texts.clone()),
            Value::List(texts) => {
                Err(self.problem(name, format!("has {} entries, which is not in 0 to {count_max}", texts.len())))
            }
            Value::Text(_) | Value::Integer(_) => Err(self.problem(name, "is not a list of texts".to_owned())),
        }
    }

    pub fn nats_servers(&self, name: &str) -> Result<Vec<String>, SettingsError> {
        #[cfg(test)]
        self.reads.borrow_mut().insert(name.to_owned(), Some(format!("1 to {SERVERS_MAX}")));
        let Value::List(servers) = &self.entry(name)?.value else {
            return Err(self.problem(name, "is not a list of texts".to_owned()));
        };
        if servers.is_empty() || servers.len() > SERVERS_MAX {
            return Err(
                self.problem(name, format!("has {} entries, which is not in 1 to {SERVERS_MAX}", servers.len()))
            );
        }
        for server in servers {
            let authority = server.strip_prefix("nats://").or_else(|| server.strip_prefix("tls://"));
            if server.contains('@') {
                // The value may hold a password, so it is not repeated.
                return Err(
                    self.problem(name, "holds credentials: name a file in `nats.runtime_creds` instead".to_owned())
                );
            }
            if !authority.is_some_and(is_authority) {
                let expected = "which is not a URL such as \"nats://127.0.0.1:4222\"";
                return Err(self.problem(name, format!("has {server:?}, {expected}")));
            }
        }
        Ok(servers.clone())
    }

    /// Comma-separated levels, each for everything or for one target.
    pub fn log_level(&self, name: &str) -> Result<String, SettingsError> {
        let text = self.text(name)?;
        for directive in text.split(',') {
            let level = directive.rsplit('=').next().unwrap_or_default().trim();
            if !LEVELS.contains(&level) {
                return Err(self.problem(name, format!("is {text:?}: {level:?} is not one of {}", LEVELS.join(", "))));
            }
        }
        Ok(text.to_owned())
    }

    fn text(&self, name: &str) -> Result<&str, SettingsError> {
        match &self.entry(name)?.value {
            Value::Text(text) => Ok(text),
            Value::Integer(_) | Value::List(_) => Err(self.problem(name, "is not a text".to_owned())),
        }
    }

    fn entry(&self, name: &str) -> Result<&Entry, SettingsError> {
        #[cfg(test)]
        self.reads.borrow_mut().entry(name.to_owned()).or_default();
        self.layers.get(name).ok_or_else(|| self.problem(name, "is missing in config/default.toml".to_owned()))
    }
}

/// A host with an optional port: no user, path, query or white space.
fn is_authority(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || "/?#@\\\"".contains(c))
}
