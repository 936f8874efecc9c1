//! The flags and their environment variables. Their help is the documentation of the settings.

use super::SettingsError;
use super::file::{self, CommandLine, Said};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use std::path::PathBuf;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Every setting, as flag and environment variable; the settings file knows the same names with underscores.
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {
    /// TOML file with any of the settings below, dashes written as underscores; flags and environment win over it
    #[arg(long, value_name = "FILE", env = "PILOTHOUSE_AGENT_CONFIG")]
    pub config: Option<PathBuf>,

    /// The control plane: https://host:port, or http:// on this host
    #[arg(long, value_name = "URL", env = "PILOTHOUSE_AGENT_SERVER_URL")]
    pub server_url: Option<String>,

    /// PEM file with the CA certificates that the control plane's certificate must lead to; https needs this or one of the
    /// next two
    #[arg(long, value_name = "FILE", env = "PILOTHOUSE_AGENT_CA_FILE")]
    pub ca_file: Option<PathBuf>,

    /// The key that the control plane's certificate, or a CA certificate it sends along, must have: sha256: and the hex digits
    /// that `openssl x509 -in ca.pem -noout -pubkey | openssl pkey -pubin -outform der | sha256sum` prints
    #[arg(long, value_name = "FINGERPRINT", env = "PILOTHOUSE_AGENT_CA_FINGERPRINT")]
    pub ca_fingerprint: Option<String>,

    /// Trust the CAs that this host's system trusts
    #[arg(
        long, env = "PILOTHOUSE_AGENT_CA_SYSTEM", value_name = "BOOL",
        num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    pub ca_system: Option<bool>,

    /// Permit http:// to another host: node key and configuration are then open to everybody on the way
    #[arg(
        long, env = "PILOTHOUSE_AGENT_ALLOW_PLAIN_HTTP", value_name = "BOOL",
        num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    pub allow_plain_http: Option<bool>,

    /// Slug of the project that this node joins
    #[arg(long, value_name = "SLUG", env = "PILOTHOUSE_AGENT_PROJECT")]
    pub project: Option<String>,

    /// Name of this node, unique in its project [default: the host name]
    #[arg(long, value_name = "NAME", env = "PILOTHOUSE_AGENT_NAME")]
    pub name: Option<String>,

    /// Label that rollouts can select by; repeatable, in the environment divided by commas, in the file a table
    #[arg(
        long, visible_alias = "label", value_name = "KEY=VALUE", env = "PILOTHOUSE_AGENT_LABELS",
        value_delimiter = ',', value_parser = pair
    )]
    pub labels: Vec<(String, String)>,

    /// Directory for credentials, state and bundles; `current` in it leads to the active bundle; made with mode 0750, so
    /// that a proxy of the agent's group can read it [default: /var/lib/pilothouse-agent]
    #[arg(long, value_name = "DIR", env = "PILOTHOUSE_AGENT_DATA_DIR")]
    pub data_dir: Option<PathBuf>,

    /// File with the join token, where the project or an enrollment asks for one; readable by its owner alone
    #[arg(long, value_name = "FILE", env = "PILOTHOUSE_AGENT_JOIN_TOKEN_FILE")]
    pub join_token_file: Option<PathBuf>,

    /// Where this host asks for its NATS credentials: https://host:port of a control plane; repeatable, in the environment
    /// divided by commas, in the file an array; the next one serves when one cannot be reached. `run` enrolls first when given
    #[arg(
        long,
        visible_alias = "enroll-url",
        value_name = "URL",
        env = "PILOTHOUSE_AGENT_ENROLL_URLS",
        value_delimiter = ','
    )]
    pub enroll_urls: Vec<String>,

    /// Id of this host, unique in the installation: letters, digits, - and _ [default: the host name with _ for each dot, kept
    /// from the first time on]
    #[arg(long, value_name = "ID", env = "PILOTHOUSE_AGENT_HOST_ID")]
    pub host_id: Option<String>,

    /// Enroll once more although an operator rejected or revoked this host; after a revocation with a new key
    #[arg(
        long, env = "PILOTHOUSE_AGENT_ENROLL_AGAIN", value_name = "BOOL",
        num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    pub enroll_again: Option<bool>,

    /// Seconds to wait for an operator's decision before exiting with 4; the next start goes on waiting; 0: no limit
    /// [default: 0]
    #[arg(long, value_name = "SECONDS", env = "PILOTHOUSE_AGENT_ENROLL_TIMEOUT_S")]
    pub enroll_timeout_s: Option<u64>,

    /// Version of the proxy, as shown to operators
    #[arg(long, value_name = "VERSION", env = "PILOTHOUSE_AGENT_PROXY_VERSION")]
    pub proxy_version: Option<String>,

    /// Program (and arguments) that makes the proxy use the new bundle, run after `current` was switched: words, or a JSON
    /// array of strings; it finds PILOTHOUSE_BUNDLE_DIR, PILOTHOUSE_BUNDLE_ID and PILOTHOUSE_BUNDLE_VERSION in its environment
    #[arg(long, value_name = "COMMAND", env = "PILOTHOUSE_AGENT_COMMAND")]
    pub command: Option<CommandLine>,

    /// Program (and arguments) that may refuse a bundle by failing, run before the switch, such as the proxy's own test
    #[arg(long, value_name = "COMMAND", env = "PILOTHOUSE_AGENT_CHECK_COMMAND")]
    pub check_command: Option<CommandLine>,

    /// Seconds after which a command is killed with its children and counts as failed [default: 30]
    #[arg(long, value_name = "SECONDS", env = "PILOTHOUSE_AGENT_COMMAND_TIMEOUT_S")]
    pub command_timeout_s: Option<u64>,

    /// Seconds between questions for new bundles, which are then answered at once; 0: what the server says, and the server
    /// may let a question wait [default: 0]
    #[arg(long, value_name = "SECONDS", env = "PILOTHOUSE_AGENT_POLL_INTERVAL_S")]
    pub poll_interval_s: Option<u64>,

    /// Seconds for which the server may let a question for new bundles wait, so that a bundle arrives when it is assigned;
    /// 0: it answers at once and is asked again after an interval [default: 30]
    #[arg(long, value_name = "SECONDS", env = "PILOTHOUSE_AGENT_WAIT_S")]
    pub wait_s: Option<u64>,

    /// Seconds between heartbeats; 0: what the server says [default: 0]
    #[arg(long, value_name = "SECONDS", env = "PILOTHOUSE_AGENT_HEARTBEAT_INTERVAL_S")]
    pub heartbeat_interval_s: Option<u64>,

    /// How many unpacked bundles stay on the disk; the active and the previous one always do [default: 3]
    #[arg(long, value_name = "COUNT", env = "PILOTHOUSE_AGENT_KEEP_BUNDLES")]
    pub keep_bundles: Option<u64>,

    /// What is logged: error, warn, info, debug, trace, or a filter such as `agent=debug` [default: info]
    #[arg(long, value_name = "FILTER", env = "PILOTHOUSE_AGENT_LOG_LEVEL")]
    pub log_level: Option<String>,

    /// How it is logged, on the standard error [default: text]
    #[arg(long, value_name = "FORMAT", env = "PILOTHOUSE_AGENT_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
}

impl Flags {
    /// The flags (and environment), and the file where they are silent.
    pub(super) fn over_file(self) -> Result<Said, SettingsError> {
        let file = self.config.as_deref().map(file::read).transpose()?.unwrap_or_default();
        let enroll_urls = if self.enroll_urls.is_empty() { file.enroll_urls } else { self.enroll_urls };
        let labels = if self.labels.is_empty() { file.labels } else { self.labels.into_iter().collect() };
        Ok(Said {
            server_url: self.server_url.or(file.server_url),
            ca_file: self.ca_file.or(file.ca_file),
            ca_fingerprint: self.ca_fingerprint.or(file.ca_fingerprint),
            ca_system: self.ca_system.or(file.ca_system),
            allow_plain_http: self.allow_plain_http.or(file.allow_plain_http),
            project: self.project.or(file.project),
            name: self.name.or(file.name),
            labels,
            data_dir: self.data_dir.or(file.data_dir),
            join_token_file: self.join_token_file.or(file.join_token_file),
            enroll_urls,
            host_id: self.host_id.or(file.host_id),
            enroll_again: self.enroll_again.or(file.enroll_again),
            enroll_timeout_s: self.enroll_timeout_s.or(file.enroll_timeout_s),
            proxy_version: self.proxy_version.or(file.proxy_version),
            command: self.command.or(file.command),
            check_command: self.check_command.or(file.check_command),
            command_timeout_s: self.command_timeout_s.or(file.command_timeout_s),
            poll_interval_s: self.poll_interval_s.or(file.poll_interval_s),
            wait_s: self.wait_s.or(file.wait_s),
            heartbeat_interval_s: self.heartbeat_interval_s.or(file.heartbeat_interval_s),
            keep_bundles: self.keep_bundles.or(file.keep_bundles),
            log_level: self.log_level.or(file.log_level),
            log_format: self.log_format.or(file.log_format),
        })
    }

    /// Filter and format of the log.
    pub fn log(&self) -> Result<(String, LogFormat), SettingsError> {
        let said = self.clone().over_file()?;
        Ok((said.log_level.unwrap_or_else(|| "info".to_owned()), said.log_format.unwrap_or_default()))
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a label looks like key=value")?;
    Ok((key.to_owned(), value.to_owned()))
}
