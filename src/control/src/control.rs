//! One replica's write side: the parts that it is made of, and how its background work starts.

use crate::credentials::Credentials;
use crate::enrollment::Watches;
use crate::execute::store_error;
use crate::org_keys::OrgKeys;
use crate::pulse::Beats;
use crate::readiness::DurabilityContract;
use crate::settings::ControlSettings;
use crate::store_metrics::StoreMetrics;
use crate::streams::Streams;
use crate::tokens::TokenCache;
use crate::waiting::Waiters;
use crate::{credentials, enrollment, pulse, reactors};
use bytes::Bytes;
use contract::ApiError;
use domain::{NodeId, Position, Slug};
use journal::{Blobs, JournalReader, JournalWriter, Pulse, Records, Snapshots, StoreError, Telemetry};
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Mutex, Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use trust::MasterKey;
use trust::nats::HostSigner;
use views::{FollowError, Presence, Views};

/// The least time between two questions for the journal's end.
const CATCH_UP_EVERY: Duration = Duration::from_millis(10);
/// Questions about unknown credentials at once; more wait.
const ASKING_MAX: usize = 32;

/// What a replica is made of.
pub struct Parts {
    pub writer: Arc<dyn JournalWriter>,
    pub reader: Arc<dyn JournalReader>,
    pub records: Arc<dyn Records>,
    pub blobs: Arc<dyn Blobs>,
    pub pulse: Arc<dyn Pulse>,
    pub telemetry: Arc<dyn Telemetry>,
    pub snapshots: Arc<dyn Snapshots>,
    pub views: Views,
    pub master_key: MasterKey,
    /// Signs the credentials of hosts; none where that is done elsewhere.
    pub host_signer: Option<HostSigner>,
    /// The org of those who come without one: the first operator, projects that operators create.
    pub default_org: Slug,
    /// Read from the server at start; none where the backend has no server.
    pub durability: Option<DurabilityContract>,
    pub settings: ControlSettings,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Control(Arc<Inner>);

struct Inner {
    parts: Parts,
    presence: Presence,
    credentials: Credentials,
    org_keys: OrgKeys,
    tokens: TokenCache,
    store_metrics: StoreMetrics,
    beats: Beats,
    waiters: Waiters,
    streams: Streams,
    watches: Watches,
    /// Why the newest revocations are not with the servers yet.
    revocations_behind: std::sync::Mutex<Option<String>>,
    download_key: [u8; 32],
    compiling: Semaphore,
    /// Held while something that must be unique among its siblings is created, so that this replica does not race itself.
    naming: Mutex<()>,
    /// When the newest catching-up began, and what came of it.
    catching_up: Mutex<Option<(Instant, Result<(), ApiError>)>>,
    /// Bounds the questions to the store about credentials that this replica does not know.
    asking: Semaphore,
    /// A heartbeat arrived that a rollout may wait for.
    heard: Notify,
    /// An edge's tick arrived: a silence may be long enough by now.
    ticked: Notify,
    /// Set once the views hold everything that was stored before this replica began.
    caught_up: OnceLock<()>,
}

impl Control {
    pub fn new(parts: Parts) -> Control {
        let beats = Beats::new(&parts.settings);
        let waiters = Waiters::new(parts.settings.waiting_max);
        let streams = Streams::new(&parts.settings);
        let org_keys = OrgKeys::default();
        let download_key = parts.master_key.derive("download-url");
        let compiling = Semaphore::new(parts.settings.compile_concurrency.max(1));
        Control(Arc::new(Inner {
            parts,
            presence: Presence::default(),
            credentials: Credentials::default(),
            org_keys,
            tokens: TokenCache::default(),
            store_metrics: StoreMetrics::default(),
            beats,
            waiters,
            streams,
            watches: Watches::default(),
            revocations_behind: std::sync::Mutex::new(None),
            download_key,
            compiling,
            naming: Mutex::new(()),
            catching_up: Mutex::new(None),
            asking: Semaphore::new(ASKING_MAX),
            heard: Notify::new(),
            ticked: Notify::new(),
            caught_up: OnceLock::new(),
        }))
    }

    /// Runs all background work of this replica. Returns only when the journal holds something that this version cannot
    /// understand; dropping the future stops everything.
    pub async fn run(&self) -> FollowError {
        let mut tasks = JoinSet::new();
        tasks.spawn(pulse::write_beats(self.clone()));
        tasks.spawn(pulse::write_ticks(self.clone()));
        tasks.spawn(credentials::follow(self.clone()));
        tasks.spawn(reactors::liveness::follow_pulse(self.clone()));
        tasks.spawn(reactors::liveness::follow_facts(self.clone()));
        tasks.spawn(reactors::liveness::mark_offline(self.clone()));
        tasks.spawn(reactors::rollout::run(self.clone()));
        tasks.spawn(reactors::late::run(self.clone()));
        tasks.spawn(reactors::compile::run(self.clone()));
        tasks.spawn(reactors::orphans::run(self.clone()));
        tasks.spawn(reactors::waiting::run(self.clone()));
        tasks.spawn(reactors::streams::run(self.clone()));
        tasks.spawn(reactors::enrollment::run(self.clone()));
        tasks.spawn(enrollment::follow(self.clone()));
        let parts = &self.0.parts;
        let every = parts.settings.snapshot_every_facts;
        let followed = parts.views.follow(parts.reader.clone(), parts.snapshots.clone(), every);
        tokio::select! {
            error = followed => error,
            Some(ended) = tasks.join_next() => {
                tracing::error!(?ended, "background work ended");
                FollowError::Ended
            }
        }
    }

    /// Writes a snapshot, for a clean stop.
    pub async fn save_snapshot(&self) {
        self.views().save(self.0.parts.snapshots.as_ref()).await;
    }

    /// Answers everybody who waits, ends all streams, and lets none of both begin: the replica is about to stop.
    pub fn stop_waiting(&self) {
        self.waiters().close();
        self.streams().close();
        self.watches().close();
    }

    /// Nodes that wait for an offer.
    pub fn waiting(&self) -> usize {
        self.waiters().len()
    }

    pub fn position(&self) -> Position {
        self.views().position()
    }

    pub fn default_org(&self) -> &Slug {
        &self.0.parts.default_org
    }

    pub fn settings(&self) -> &ControlSettings {
        &self.0.parts.settings
    }

    pub fn views(&self) -> &Views {
        &self.0.parts.views
    }

    pub(crate) fn presence(&self) -> &Presence {
        &self.0.presence
    }

    pub(crate) fn writer(&self) -> &dyn JournalWriter {
        self.0.parts.writer.as_ref()
    }

    pub(crate) fn reader(&self) -> &dyn JournalReader {
        self.0.parts.reader.as_ref()
    }

    pub(crate) fn records(&self) -> &dyn Records {
        self.0.parts.records.as_ref()
    }

    pub(crate) async fn blob_len(&self, digest: &str) -> Result<Option<u64>, StoreError> {
        self.0.parts.blobs.len(digest).await
    }

    /// The bytes of a blob, or of a range of it; none when it is not there.
    pub(crate) async fn read_blob(&self, digest: &str, range: Option<Range<u64>>) -> Result<Option<Bytes>, StoreError> {
        let read = self.0.parts.blobs.read(digest, range).await;
        if let Ok(Some(bytes)) = &read {
            self.store_metrics().blob_read(bytes.len());
        }
        read
    }

    /// Stores a blob and returns its digest.
    pub(crate) async fn put_blob(&self, bytes: Bytes) -> Result<String, StoreError> {
        let size = bytes.len();
        let put = self.0.parts.blobs.put(bytes).await;
        if put.is_ok() {
            self.store_metrics().blob_written(size);
        }
        put
    }

    pub(crate) fn pulse(&self) -> &dyn Pulse {
        self.0.parts.pulse.as_ref()
    }

    pub(crate) fn telemetry(&self) -> &dyn Telemetry {
        self.0.parts.telemetry.as_ref()
    }

    pub(crate) fn master_key(&self) -> &MasterKey {
        &self.0.parts.master_key
    }

    pub(crate) fn host_signer(&self) -> Option<&HostSigner> {
        self.0.parts.host_signer.as_ref()
    }

    pub(crate) fn revocations_behind(&self) -> Option<String> {
        self.0.revocations_behind.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(crate) fn set_revocations_behind(&self, why: Option<String>) {
        *self.0.revocations_behind.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = why;
    }

    pub(crate) fn watches(&self) -> &Watches {
        &self.0.watches
    }

    pub(crate) fn durability(&self) -> Option<&DurabilityContract> {
        self.0.parts.durability.as_ref()
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.0.credentials
    }

    pub(crate) fn org_keys(&self) -> &OrgKeys {
        &self.0.org_keys
    }

    /// What the store costs this replica, for `/metrics`.
    pub fn store_metrics(&self) -> &StoreMetrics {
        &self.0.store_metrics
    }

    pub(crate) fn tokens(&self) -> &TokenCache {
        &self.0.tokens
    }

    pub(crate) fn beats(&self) -> &Beats {
        &self.0.beats
    }

    pub(crate) fn waiters(&self) -> &Waiters {
        &self.0.waiters
    }

    pub(crate) fn streams(&self) -> &Streams {
        &self.0.streams
    }

    pub(crate) fn download_key(&self) -> &[u8; 32] {
        &self.0.download_key
    }

    pub(crate) fn compiling(&self) -> &Semaphore {
        &self.0.compiling
    }

    pub(crate) fn naming(&self) -> &Mutex<()> {
        &self.0.naming
    }

    pub(crate) fn heard(&self) -> &Notify {
        &self.0.heard
    }

    pub(crate) fn ticked(&self) -> &Notify {
        &self.0.ticked
    }

    pub(crate) fn asking(&self) -> &Semaphore {
        &self.0.asking
    }

    /// Whether this replica may judge: its views hold all that was stored before it began.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.0.caught_up.get().is_some()
    }

    pub(crate) fn set_caught_up(&self) {
        // Set twice means the same thing.
        let _ = self.0.caught_up.set(());
    }

    /// Brings the views to the journal's end, so that what another replica has just stored is known here. Callers that come
    /// together share one question to the store and its answer, and there is a pause between two questions: strangers who ask
    /// for what does not exist cost the store nothing.
    pub(crate) async fn catch_up(&self) -> Result<(), ApiError> {
        let called = Instant::now();
        let mut newest = self.0.catching_up.lock().await;
        if let Some((began, outcome)) = newest.as_ref() {
            if *began > called {
                return outcome.clone();
            }
            tokio::time::sleep_until(*began + CATCH_UP_EVERY).await;
        }
        let began = Instant::now();
        let outcome = match self.reader().last_position().await {
            Ok(last) => self.wait_for(last).await,
            Err(e) => Err(store_error(e)),
        };
        *newest = Some((began, outcome.clone()));
        outcome
    }

    /// Whether the views know the node, after catching up when they do not.
    pub(crate) async fn knows_node(&self, id: NodeId) -> Result<bool, ApiError> {
        if self.views().read().nodes.get(id).is_some() {
            return Ok(true);
        }
        self.catch_up().await?;
        Ok(self.views().read().nodes.get(id).is_some())
    }
}
