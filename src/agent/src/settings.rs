//! What the agent is told by its operator, from three places: flags win over the environment, which wins over the file.
//!
//! Invariant: a [`Settings`] is complete and checked, and no key of the file is ignored. It holds no secret: the join token
//! is named by its file. Absent: any default that would trust a server which was not named.

mod enrollment;
mod file;
mod flags;

use crate::client::{FingerprintError, Trust};
use contract::Register;
use domain::{Labels, NodeName, Slug};
use hyper::Uri;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

pub use enrollment::EnrollSettings;
pub use file::CommandLine;
pub use flags::{Flags, LogFormat};

const DATA_DIR: &str = "/var/lib/pilothouse-agent";
const COMMAND_TIMEOUT_S: u64 = 30;
const COMMAND_TIMEOUT_S_MAX: u64 = 3600;
const INTERVAL_S_MAX: u64 = 3600;
const WAIT_S: u64 = 30;
const KEEP_BUNDLES: usize = 3;
const KEEP_BUNDLES_MAX: usize = 100;
const HOSTNAME_FILE: &str = "/proc/sys/kernel/hostname";

#[derive(Debug, Error)]
pub enum SettingsError {
    #[error("could not read the settings file {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the settings file {} is not valid: {message}", path.display())]
    File { path: PathBuf, message: String },
    #[error("unknown setting `{key}` in {}: {advice}", path.display())]
    UnknownKey { path: PathBuf, key: String, advice: String },
    #[error(
        "the setting {setting} is missing: give --{}, {} or `{setting}` in the file",
        flag(setting),
        variable(setting)
    )]
    Missing { setting: &'static str },
    #[error("the setting {setting} {problem}")]
    Invalid { setting: &'static str, problem: String },
}

/// What a running agent needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Scheme, host and port; no path.
    pub server_url: Uri,
    /// Present for https.
    pub trust: Option<Trust>,
    /// None: this host has its NATS credentials from elsewhere, or needs none.
    pub enrollment: Option<EnrollSettings>,
    pub project: Slug,
    pub name: NodeName,
    pub labels: Labels,
    pub data_dir: PathBuf,
    pub join_token_file: Option<PathBuf>,
    pub proxy_version: Option<String>,
    pub hostname: Option<String>,
    pub command: Option<CommandLine>,
    pub check_command: Option<CommandLine>,
    pub command_timeout: Duration,
    /// None: what the server says.
    pub poll_interval: Option<Duration>,
    /// How long the server may let a question for bundles wait. None: it is to answer at once, as always with a fixed
    /// `poll_interval`.
    pub wait: Option<Duration>,
    /// None: what the server says.
    pub heartbeat_interval: Option<Duration>,
    pub keep_bundles: usize,
}

impl Settings {
    pub fn resolve(flags: Flags) -> Result<Settings, SettingsError> {
        let said = flags.over_file()?;
        let enrollment = (!said.enroll_urls.is_empty()).then(|| EnrollSettings::of(&said)).transpose()?;
        let trust = trust(&said)?;
        let server_url = said.server_url.ok_or(SettingsError::Missing { setting: "server_url" })?;
        let server_url = server("server_url", &server_url, said.allow_plain_http.unwrap_or(false))?;
        if server_url.scheme_str() == Some("https") && trust.is_none() {
            return Err(trusts_nobody());
        }
        let project = said.project.ok_or(SettingsError::Missing { setting: "project" })?;
        let project = project.parse().map_err(|e: domain::TextError| invalid("project", e.to_string()))?;
        let hostname = hostname();
        let poll_interval = interval("poll_interval_s", said.poll_interval_s)?;
        let wait_s = bounded("wait_s", said.wait_s, WAIT_S, 0..=u64::from(contract::WAIT_S_MAX))?;
        let settings = Settings {
            server_url,
            trust,
            enrollment,
            project,
            name: name(said.name, hostname.as_deref())?,
            labels: labels(said.labels)?,
            data_dir: said.data_dir.unwrap_or_else(|| PathBuf::from(DATA_DIR)),
            join_token_file: said.join_token_file,
            proxy_version: said.proxy_version,
            hostname,
            command: said.command,
            check_command: said.check_command,
            command_timeout: Duration::from_secs(bounded(
                "command_timeout_s",
                said.command_timeout_s,
                COMMAND_TIMEOUT_S,
                1..=COMMAND_TIMEOUT_S_MAX,
            )?),
            poll_interval,
            wait: (wait_s > 0 && poll_interval.is_none()).then(|| Duration::from_secs(wait_s)),
            heartbeat_interval: interval("heartbeat_interval_s", said.heartbeat_interval_s)?,
            keep_bundles: bounded("keep_bundles", said.keep_bundles, KEEP_BUNDLES as u64, 1..=KEEP_BUNDLES_MAX as u64)?
                as usize,
        };
        // The server's own rules, now rather than at the registration.
        let body = serde_json::to_value(settings.registration()).unwrap_or_default();
        Register::parse(body).map_err(|e| invalid("name, labels or proxy_version", format!("will be refused: {e}")))?;
        Ok(settings)
    }

    /// Where the agent keeps its things, as far as `status` needs to know.
    pub fn data_dir(flags: Flags) -> Result<PathBuf, SettingsError> {
        Ok(flags.over_file()?.data_dir.unwrap_or_else(|| PathBuf::from(DATA_DIR)))
    }

    pub fn registration(&self) -> Register {
        let agent = format!("pilothouse-agent/{}", env!("CARGO_PKG_VERSION"));
        let metadata = [("agent".to_owned(), agent.into())].into_iter().collect();
        let node = domain::node::Registered {
            name: self.name.clone(),
            labels: self.labels.clone(),
            version: self.proxy_version.clone(),
            ip: None,
            hostname: self.hostname.clone(),
            capabilities: Vec::new(),
            metadata,
            join_token_id: None,
            approval_required: false,
            public_key: None,
        };
        Register { node }
    }
}

fn invalid(setting: &'static str, problem: impl Into<String>) -> SettingsError {
    SettingsError::Invalid { setting, problem: problem.into() }
}

fn flag(setting: &str) -> String {
    setting.replace('_', "-")
}

fn variable(setting: &str) -> String {
    format!("PILOTHOUSE_AGENT_{}", setting.to_uppercase())
}

/// None: nothing is said of whom to trust.
fn trust(said: &file::Said) -> Result<Option<Trust>, SettingsError> {
    let pinned = said.ca_fingerprint.as_ref().map(|text| text.parse());
    let pinned = pinned.transpose().map_err(|e: FingerprintError| invalid("ca_fingerprint", e.to_string()))?;
    let said = [
        said.ca_file.clone().map(Trust::File),
        pinned.map(Trust::Pinned),
        said.ca_system.unwrap_or(false).then_some(Trust::System),
    ];
    let mut said = said.into_iter().flatten();
    match (said.next(), said.next()) {
        (trust, None) => Ok(trust),
        _ => {
            Err(invalid("ca_file", "stands beside another of ca_file, ca_fingerprint and ca_system: give one of them"))
        }
    }
}

fn trusts_nobody() -> SettingsError {
    let problem = "is missing, and an https server is never trusted blindly: name the PEM file with the control plane's CA \
                   certificate (`pilothouse dev` writes its path to dev.json as ca_cert), or give ca_fingerprint or ca_system";
    invalid("ca_file", problem)
}

fn server(setting: &'static str, text: &str, allow_plain_http: bool) -> Result<Uri, SettingsError> {
    let shape = || invalid(setting, "must look like https://control.example.net:8443, without a path");
    let uri: Uri = text.parse().map_err(|_| shape())?;
    let host = uri.host().ok_or_else(shape)?;
    let plain_path = matches!(uri.path(), "" | "/") && uri.query().is_none();
    let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    if !plain_path || has_user {
        return Err(shape());
    }
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if allow_plain_http || is_loopback(host) => Ok(uri),
        Some("http") => Err(invalid(
            setting,
            "is plain http to another host, which shows the node's key to everybody on the way: use https, or \
             --allow-plain-http where the network itself is trusted",
        )),
        _ => Err(shape()),
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn name(said: Option<String>, hostname: Option<&str>) -> Result<NodeName, SettingsError> {
    match (said, hostname) {
        (Some(name), _) => name.parse().map_err(|e: domain::TextError| invalid("name", e.to_string())),
        (None, Some(host)) => host.parse().map_err(|e: domain::TextError| {
            invalid("name", format!("is not given, and the host name {host:?} cannot serve: it {e}"))
        }),
        (None, None) => Err(SettingsError::Missing { setting: "name" }),
    }
}

fn labels(pairs: BTreeMap<String, String>) -> Result<Labels, SettingsError> {
    Labels::try_from(pairs).map_err(|e| invalid("labels", e.to_string()))
}

fn interval(setting: &'static str, said: Option<u64>) -> Result<Option<Duration>, SettingsError> {
    let seconds = bounded(setting, said, 0, 0..=INTERVAL_S_MAX)?;
    Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
}

fn bounded(
    setting: &'static str,
    said: Option<u64>,
    default: u64,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, SettingsError> {
    let value = said.unwrap_or(default);
    if range.contains(&value) {
        return Ok(value);
    }
    Err(invalid(setting, format!("is {value}, which must be from {} to {}", range.start(), range.end())))
}

fn hostname() -> Option<String> {
    let text = std::fs::read_to_string(HOSTNAME_FILE).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
#[path = "settings/tests.rs"]
mod tests;
