//! Settings of the write side. The operator binary fills them from its settings file.

use crate::enrollment::EnrollmentSettings;
use domain::project::Registration;
use domain::rollout::Limits;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct ControlSettings {
    pub poll_interval_s: u32,
    pub heartbeat_interval_s: u32,
    /// Counted silence after which a node is offline.
    pub offline_after_s: u32,
    pub token_ttl_s: u32,
    pub source_bytes_max: usize,
    pub download_url_ttl_s: u32,
    pub assignment_ttl_s: u32,
    /// Compilations at once.
    pub compile_concurrency: usize,
    pub rollout_paused_max_s: u32,
    pub rollout_pending_max_s: u32,
    /// How long a heartbeat waits for others to share a message with.
    pub pulse_linger_ms: u64,
    pub pulse_batch_beats_max: usize,
    pub snapshot_every_facts: u64,
    /// The policy of a project whose creation names none.
    pub default_registration: Registration,
    /// Nodes that may wait for an offer at the same time; more are answered at once.
    pub waiting_max: usize,
    /// Open streams of facts, all together and of one API key.
    pub streams_max: usize,
    pub streams_per_key_max: usize,
    /// How many facts a reader that comes back can have again.
    pub stream_facts_max: usize,
    /// How long a stream may be silent before it says that it lives.
    pub stream_quiet: Duration,
    pub enrollment: EnrollmentSettings,
    /// Scheme and authority of links given to operators over NATS, such as `https://control.example`.
    pub public_url: String,
}

impl Default for ControlSettings {
    fn default() -> Self {
        ControlSettings {
            poll_interval_s: 30,
            heartbeat_interval_s: 30,
            offline_after_s: 120,
            token_ttl_s: 43_200,
            source_bytes_max: 1024 * 1024,
            download_url_ttl_s: 3_600,
            assignment_ttl_s: 86_400,
            compile_concurrency: 1,
            rollout_paused_max_s: 604_800,
            rollout_pending_max_s: 2_592_000,
            pulse_linger_ms: 1,
            pulse_batch_beats_max: 2_000,
            snapshot_every_facts: 50_000,
            default_registration: Registration::Token,
            waiting_max: 20_000,
            streams_max: 1_000,
            streams_per_key_max: 16,
            stream_facts_max: 10_000,
            stream_quiet: Duration::from_secs(15),
            enrollment: EnrollmentSettings::default(),
            public_url: String::new(),
        }
    }
}

impl ControlSettings {
    pub(crate) fn rollout_limits(&self) -> Limits {
        Limits {
            paused_max_s: self.rollout_paused_max_s,
            pending_max_s: self.rollout_pending_max_s,
            beat_age_max_s: self.heartbeat_interval_s.saturating_mul(2),
        }
    }
}
