//! The settings of a replica: `config/default.toml`, a file over it, the environment over both.
//!
//! Invariant: a [`Settings`] is complete and in range, and each problem names the setting, where its value came from and what
//! to write instead. Every setting and its default stand in `config/default.toml`; a test holds the two together.
//! Absent: secrets (settings name their files), and reading those files.

mod layers;
mod reader;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use thiserror::Error;

use layers::Layers;
use reader::Reader;

/// The most rules of `enrollment.auto_approve`.
const RULES_MAX: usize = 64;

/// The text of `config/default.toml`: every setting with its default and what it means.
pub const DEFAULTS: &str = include_str!("../../../config/default.toml");

/// Where a value came from is part of each message: `file.toml:12`, or the name of the variable.
#[derive(Debug, Error)]
pub enum SettingsError {
    #[error("could not read the settings file {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{place}: {message}")]
    Syntax { place: String, message: String },
    #[error("{place}: there is no setting `{name}`{advice}")]
    Unknown {
        place: String,
        name: String,
        /// `: did you mean ...?`, or another way out.
        advice: String,
    },
    #[error("{place}: `{name}` {problem}")]
    Value { place: String, name: String, problem: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub http: Http,
    pub https: Https,
    pub nats: Nats,
    pub storage: Storage,
    pub keys: Keys,
    pub nodes: Nodes,
    pub enrollment: Enrollment,
    pub bundles: Bundles,
    pub rollouts: Rollouts,
    pub pulse: Pulse,
    pub limits: Limits,
    pub log: Log,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    pub listen: SocketAddr,
    /// Scheme and authority without a slash at the end, or empty: taken from the Host header.
    pub public_url: String,
}

/// Certificate and key are both given or both absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Https {
    /// `None`: no TLS listener.
    pub listen: Option<SocketAddr>,
    pub certificate: Option<PathBuf>,
    pub private_key: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nats {
    /// At least one URL, `nats://` or `tls://`.
    pub servers: Vec<String>,
    pub runtime_creds: Option<PathBuf>,
    pub provisioning_creds: Option<PathBuf>,
    pub monitor_creds: Option<PathBuf>,
    pub accounts_creds: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    pub replicas: usize,
    pub profile: Profile,
    pub expected_sync: ExpectedSync,
    /// At most `replicas`.
    pub expected_replicas: usize,
    pub snapshot_every_facts: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    Dev,
    Production,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedSync {
    Any,
    Always,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    pub master_key: Option<PathBuf>,
    pub clients_account: Option<PathBuf>,
    pub node_signing_key: Option<PathBuf>,
    pub operator_signing_key: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nodes {
    pub poll_interval_s: u32,
    pub heartbeat_interval_s: u32,
    /// At least twice `heartbeat_interval_s`.
    pub offline_after_s: u32,
    pub token_ttl_s: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrollment {
    pub credentials_ttl_s: i64,
    pub renewal: Renewal,
    pub pending_s: i64,
    pub pending_max: usize,
    pub pending_per_address_max: usize,
    /// As they were given; whoever uses them reads them.
    pub auto_approve: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    Renew,
    Manual,
    Never,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundles {
    pub source_bytes_max: usize,
    pub download_url_ttl_s: u32,
    pub assignment_ttl_s: u32,
    pub compile_concurrency: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollouts {
    pub paused_max_s: u32,
    pub pending_max_s: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulse {
    pub linger_ms: u64,
    pub batch_beats_max: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    pub connections_max: usize,
    /// At least `bundles.source_bytes_max`.
    pub request_bytes_max: usize,
    pub request_timeout_s: u32,
    pub header_timeout_s: u32,
    pub node_per_s: u32,
    pub node_burst: u32,
    pub api_per_s: u32,
    pub api_burst: u32,
    pub registration_per_s: u32,
    pub registration_burst: u32,
    pub enrollment_per_min: u32,
    pub enrollment_burst: u32,
    pub enrollment_token_per_s: u32,
    pub enrollment_token_burst: u32,
    pub enrollment_streams_max: usize,
    pub waiting_max: usize,
    pub streams_max: usize,
    pub streams_per_key_max: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A level, or a list of `target=level` with one.
    pub level: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl Settings {
    /// The defaults, overlaid by `file` and then by those variables of `environment` that begin with `PILOTHOUSE_`.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let mut layers = Layers::defaults()?;
        if let Some(path) = file {
            layers.overlay_file(path)?;
        }
        layers.overlay_environment(environment)?;
        Self::read(&Reader::new(&layers))
    }

    fn read(from: &Reader<'_>) -> Result<Self, SettingsError> {
        let settings = Self {
            http: Http { listen: from.address("http.listen")?, public_url: from.base_url("http.public_url")? },
            https: Https {
                listen: from.optional_address("https.listen")?,
                certificate: from.path("https.certificate")?,
                private_key: from.path("https.private_key")?,
            },
            nats: Nats {
                servers: from.nats_servers("nats.servers")?,
                runtime_creds: from.path("nats.runtime_creds")?,
                provisioning_creds: from.path("nats.provisioning_creds")?,
                monitor_creds: from.path("nats.monitor_creds")?,
                accounts_creds: from.path("nats.accounts_creds")?,
            },
            storage: Storage::read(from)?,
            keys: Keys {
                master_key: from.path("keys.master_key")?,
                clients_account: from.path("keys.clients_account")?,
                node_signing_key: from.path("keys.node_signing_key")?,
                operator_signing_key: from.path("keys.operator_signing_key")?,
            },
            nodes: Nodes {
                poll_interval_s: from.integer("nodes.poll_interval_s", 1..=3_600)?,
                heartbeat_interval_s: from.integer("nodes.heartbeat_interval_s", 1..=3_600)?,
                offline_after_s: from.integer("nodes.offline_after_s", 2..=86_400)?,
                token_ttl_s: from.integer("nodes.token_ttl_s", 60..=2_592_000)?,
            },
            enrollment: Enrollment::read(from)?,
            bundles: Bundles {
                source_bytes_max: from.integer("bundles.source_bytes_max", 1_024..=1_048_576)?,
                download_url_ttl_s: from.integer("bundles.download_url_ttl_s", 60..=604_800)?,
                assignment_ttl_s: from.integer("bundles.assignment_ttl_s", 300..=2_592_000)?,
                compile_concurrency: from.integer("bundles.compile_concurrency", 1..=64)?,
            },
            rollouts: Rollouts {
                paused_max_s: from.integer("rollouts.paused_max_s", 60..=31_536_000)?,
                pending_max_s: from.integer("rollouts.pending_max_s", 60..=31_536_000)?,
            },
            pulse: Pulse {
                linger_ms: from.integer("pulse.linger_ms", 0..=1_000)?,
                batch_beats_max: from.integer("pulse.batch_beats_max", 1..=10_000)?,
            },
            limits: Limits::read(from)?,
            log: Log {
                level: from.log_level("log.level")?,
                format: from.choice("log.format", &[("text", LogFormat::Text), ("json", LogFormat::Json)])?,
            },
        };
        settings.check_together(from)?;
        Ok(settings)
    }

    /// What no setting can be wrong about alone.
    fn check_together(&self, from: &Reader<'_>) -> Result<(), SettingsError> {
        if self.https.certificate.is_some() != self.https.private_key.is_some() {
            let (missing, given) = match self.https.certificate {
                Some(_) => ("https.private_key", "https.certificate"),
                None => ("https.certificate", "https.private_key"),
            };
            return Err(from.problem(missing, format!("is empty although `{given}` is given: both or neither")));
        }
        self.check_signing_keys(from)?;
        let nodes = &self.nodes;
        if nodes.offline_after_s < nodes.heartbeat_interval_s.saturating_mul(2) {
            return Err(from.problem(
                "nodes.offline_after_s",
                format!(
                    "is {}, less than twice `nodes.heartbeat_interval_s` ({}): one late heartbeat would make a node offline",
                    nodes.offline_after_s, nodes.heartbeat_interval_s
                ),
            ));
        }
        if self.limits.request_bytes_max < self.bundles.source_bytes_max {
            return Err(from.problem(
                "limits.request_bytes_max",
                format!(
                    "is {}, less than `bundles.source_bytes_max` ({}): no request could carry such a source",
                    self.limits.request_bytes_max, self.bundles.source_bytes_max
                ),
            ));
        }
        if self.storage.expected_replicas > self.storage.replicas {
            return Err(from.problem(
                "storage.expected_replicas",
                format!(
                    "is {}, more than `storage.replicas` ({}): streams are created with fewer copies than expected",
                    self.storage.expected_replicas, self.storage.replicas
                ),
            ));
        }
        Ok(())
    }
}

impl Settings {
    /// Which files make no sense without which.
    fn check_signing_keys(&self, from: &Reader<'_>) -> Result<(), SettingsError> {
        let keys = &self.keys;
        let needs = |missing: &str, given: &str| {
            Err(from.problem(missing, format!("is empty although `{given}` is given: both or neither")))
        };
        if keys.clients_account.is_none() {
            match (&keys.node_signing_key, &keys.operator_signing_key) {
                (Some(_), _) => return needs("keys.clients_account", "keys.node_signing_key"),
                (None, Some(_)) => return needs("keys.clients_account", "keys.operator_signing_key"),
                (None, None) => {}
            }
        }
        match (&keys.operator_signing_key, &self.nats.accounts_creds) {
            (Some(_), None) => needs("nats.accounts_creds", "keys.operator_signing_key"),
            (None, Some(_)) => needs("keys.operator_signing_key", "nats.accounts_creds"),
            _ => Ok(()),
        }
    }
}

impl Storage {
    fn read(from: &Reader<'_>) -> Result<Self, SettingsError> {
        let replicas = from.integer("storage.replicas", 1..=5)?;
        if replicas % 2 == 0 {
            // An even number of copies survives no more lost servers than one copy fewer.
            return Err(from.problem("storage.replicas", format!("is {replicas}, which is not one of 1, 3, 5")));
        }
        Ok(Self {
            replicas,
            profile: from.choice("storage.profile", &[("dev", Profile::Dev), ("production", Profile::Production)])?,
            expected_sync: from
                .choice("storage.expected_sync", &[("any", ExpectedSync::Any), ("always", ExpectedSync::Always)])?,
            expected_replicas: from.integer("storage.expected_replicas", 1..=5)?,
            snapshot_every_facts: from.integer("storage.snapshot_every_facts", 1_000..=10_000_000)?,
        })
    }
}

impl Enrollment {
    fn read(from: &Reader<'_>) -> Result<Self, SettingsError> {
        let renewals = [("renew", Renewal::Renew), ("manual", Renewal::Manual), ("never", Renewal::Never)];
        Ok(Self {
            credentials_ttl_s: from.integer("enrollment.credentials_ttl_s", 3_600..=63_072_000)?,
            renewal: from.choice("enrollment.renewal", &renewals)?,
            pending_s: from.integer("enrollment.pending_s", 60..=31_536_000)?,
            pending_max: from.integer("enrollment.pending_max", 1..=1_000_000)?,
            pending_per_address_max: from.integer("enrollment.pending_per_address_max", 1..=1_000_000)?,
            auto_approve: from.texts("enrollment.auto_approve", RULES_MAX)?,
        })
    }
}

impl Limits {
    fn read(from: &Reader<'_>) -> Result<Self, SettingsError> {
        const RATE: std::ops::RangeInclusive<i64> = 1..=100_000;
        const BURST: std::ops::RangeInclusive<i64> = 1..=1_000_000;
        Ok(Self {
            connections_max: from.integer("limits.connections_max", 16..=1_000_000)?,
            request_bytes_max: from.integer("limits.request_bytes_max", 65_536..=2_097_152)?,
            request_timeout_s: from.integer("limits.request_timeout_s", 1..=600)?,
            header_timeout_s: from.integer("limits.header_timeout_s", 1..=600)?,
            node_per_s: from.integer("limits.node_per_s", RATE)?,
            node_burst: from.integer("limits.node_burst", BURST)?,
            api_per_s: from.integer("limits.api_per_s", RATE)?,
            api_burst: from.integer("limits.api_burst", BURST)?,
            registration_per_s: from.integer("limits.registration_per_s", RATE)?,
            registration_burst: from.integer("limits.registration_burst", BURST)?,
            enrollment_per_min: from.integer("limits.enrollment_per_min", RATE)?,
            enrollment_burst: from.integer("limits.enrollment_burst", BURST)?,
            enrollment_token_per_s: from.integer("limits.enrollment_token_per_s", RATE)?,
            enrollment_token_burst: from.integer("limits.enrollment_token_burst", BURST)?,
            enrollment_streams_max: from.integer("limits.enrollment_streams_max", 0..=100_000)?,
            waiting_max: from.integer("limits.waiting_max", 0..=1_000_000)?,
            streams_max: from.integer("limits.streams_max", 0..=100_000)?,
            streams_per_key_max: from.integer("limits.streams_per_key_max", 1..=10_000)?,
        })
    }
}

#[cfg(test)]
mod tests;
