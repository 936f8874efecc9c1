//! The settings file: TOML, every key known by name.

use super::SettingsError;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use thiserror::Error;

/// Every key of the file. Each has a flag and an environment variable; a test holds that.
pub const KEYS: [&str; 24] = [
    "server_url",
    "ca_file",
    "ca_fingerprint",
    "ca_system",
    "allow_plain_http",
    "project",
    "name",
    "labels",
    "data_dir",
    "join_token_file",
    "enroll_urls",
    "host_id",
    "enroll_again",
    "enroll_timeout_s",
    "proxy_version",
    "command",
    "check_command",
    "command_timeout_s",
    "poll_interval_s",
    "wait_s",
    "heartbeat_interval_s",
    "keep_bundles",
    "log_level",
    "log_format",
];

/// Below this likeness a suggestion would only confuse.
const LIKENESS_MIN: f64 = 0.7;

/// A program and its arguments; no shell in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine(Vec<String>);

impl CommandLine {
    pub fn new(words: Vec<String>) -> CommandLine {
        CommandLine(words)
    }

    /// None: empty, so that nothing is run.
    pub fn split(&self) -> Option<(&str, &[String])> {
        self.0.split_first().map(|(program, arguments)| (program.as_str(), arguments))
    }
}

/// What a shell would read differently than we do.
const SHELL_SIGNS: [char; 10] = ['"', '\'', '\\', '$', '`', '|', '&', ';', '<', '>'];

#[derive(Debug, Error)]
#[error(
    "{0:?} is not run by a shell, so its quotes and signs would mean nothing: write it as a JSON array, such as \
     [\"sh\", \"-c\", \"…\"]"
)]
pub struct CommandLineError(String);

impl FromStr for CommandLine {
    type Err = CommandLineError;

    /// A JSON array of strings, or words between white space.
    fn from_str(text: &str) -> Result<Self, CommandLineError> {
        if let Ok(words) = serde_json::from_str(text) {
            return Ok(CommandLine(words));
        }
        if text.contains(SHELL_SIGNS) {
            return Err(CommandLineError(text.to_owned()));
        }
        Ok(CommandLine(text.split_whitespace().map(str::to_owned).collect()))
    }
}

impl<'de> Deserialize<'de> for CommandLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected an array of strings, or a string of words")]
        enum Either {
            Words(Vec<String>),
            Text(String),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Words(words) => CommandLine(words),
            Either::Text(text) => text.parse().map_err(serde::de::Error::custom)?,
        })
    }
}

/// What one place says; absent means that it says nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Said {
    pub server_url: Option<String>,
    pub ca_file: Option<PathBuf>,
    pub ca_fingerprint: Option<String>,
    pub ca_system: Option<bool>,
    pub allow_plain_http: Option<bool>,
    pub project: Option<String>,
    pub name: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub data_dir: Option<PathBuf>,
    pub join_token_file: Option<PathBuf>,
    pub enroll_urls: Vec<String>,
    pub host_id: Option<String>,
    pub enroll_again: Option<bool>,
    pub enroll_timeout_s: Option<u64>,
    pub proxy_version: Option<String>,
    pub command: Option<CommandLine>,
    pub check_command: Option<CommandLine>,
    pub command_timeout_s: Option<u64>,
    pub poll_interval_s: Option<u64>,
    pub wait_s: Option<u64>,
    pub heartbeat_interval_s: Option<u64>,
    pub keep_bundles: Option<u64>,
    pub log_level: Option<String>,
    pub log_format: Option<super::LogFormat>,
}

pub fn read(path: &Path) -> Result<Said, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Said, SettingsError> {
    let not_valid = |e: toml::de::Error| SettingsError::File { path: path.to_owned(), message: e.to_string() };
    let table: toml::Table = text.parse().map_err(not_valid)?;
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(SettingsError::UnknownKey { path: path.to_owned(), key: key.clone(), advice: advice(key) });
    }
    // From the text rather than the table, so that the message names the line.
    toml::from_str(text).map_err(not_valid)
}

fn advice(key: &str) -> String {
    let likeness = |known: &str| strsim::jaro_winkler(known, key);
    let nearest = KEYS.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest {
        Some(nearest) if likeness(nearest) >= LIKENESS_MIN => format!("did you mean `{nearest}`?"),
        _ => format!("known are {}", KEYS.join(", ")),
    }
}
