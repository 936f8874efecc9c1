//! The traits that every backend serves. Reading and writing the journal are two traits, so that the read side can be built
//! without the ability to append.

use bytes::Bytes;
use domain::Position;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use std::ops::Range;
use thiserror::Error;

/// One fact on its way into the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The stored subject, `fleet.<org>.<project>.<kind>.<id>.<event>`. The backend maps it to the subject that writers may
    /// publish on.
    pub subject: String,
    /// What must still be true for the fact to be stored.
    pub guard: Guard,
    /// `<command id>.<index>`, the `Nats-Msg-Id`: by it a repeat of a stored fact is recognised.
    pub message_id: String,
    /// The JSON envelope, at most [`BODY_BYTES_MAX`].
    pub body: Bytes,
}

/// The optimistic check: the newest fact whose stored subject matches `filter` stands at `expected`
/// ([`Position::START`]: there is none). Every writer of an aggregate uses the same filter text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    pub filter: String,
    pub expected: Position,
}

/// The largest fact body in bytes; well under the server's default `max_payload` of 1 MiB.
pub const BODY_BYTES_MAX: usize = 512 * 1024;
/// The most facts in one atomic batch.
pub const BATCH_FACTS_MAX: usize = 1000;

/// What became of an append. There are exactly three answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Stored; for a batch, the position of its last fact (fact i of n stands at `position - (n - 1 - i)`).
    /// `duplicate` is set when the server recognised the message id of an earlier append: nothing new was stored and the
    /// position is the earlier fact's.
    Committed { position: Position, duplicate: bool },
    /// Somebody was first; nothing was stored. `actual` is the newest matching position where the server tells it.
    Conflict { actual: Option<Position> },
    /// It may have been stored or not: look for the command id before trying again.
    Unknown(String),
}

/// A fact as it stands in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub position: Position,
    pub subject: String,
    /// The server's time of storing.
    pub time: Timestamp,
    pub body: Bytes,
    /// False while further facts of the same atomic batch follow: a view does not publish its position yet.
    pub batch_end: bool,
}

#[derive(Debug, Error)]
pub enum StoreError {
    /// The store could not be reached or did not answer in time; trying again may help.
    #[error("the store did not answer: {0}")]
    Unavailable(String),
    /// The compare-and-set lost: the record is not at the expected revision.
    #[error("the record changed meanwhile")]
    Conflict,
    /// What was read does not match its digest or cannot be decoded.
    #[error("stored data is damaged: {0}")]
    Corrupt(String),
    /// The caller asked for something that the store's limits refuse.
    #[error("refused by the store's limits: {0}")]
    TooLarge(String),
}

/// The half of the journal that the write side holds.
pub trait JournalWriter: Send + Sync {
    fn append(&self, fact: Append) -> BoxFuture<'_, Outcome>;
    /// All or nothing, an expectation each; 1 to [`BATCH_FACTS_MAX`] facts.
    fn append_batch(&self, facts: Vec<Append>) -> BoxFuture<'_, Outcome>;
}

/// The half of the journal that everybody may hold.
pub trait JournalReader: Send + Sync {
    /// The position of the newest fact, asked of the stream's leader.
    fn last_position(&self) -> BoxFuture<'_, Result<Position, StoreError>>;
    /// Every fact after `after`, in order, without gaps and without end. The stream mends itself over reconnects and server
    /// restarts; it never skips. Dropping it stops following.
    fn follow(&self, after: Position) -> BoxStream<'static, Stored>;
    /// Facts of the past under one filter, oldest first, as far as the question's bounds allow.
    fn facts(&self, question: FactQuestion) -> BoxFuture<'_, Result<Facts, StoreError>>;
}

/// Which facts somebody wants, and how many at most: the work of one question is bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactQuestion {
    /// A stored subject, with wildcards where wanted.
    pub filter: String,
    /// Only facts after this one.
    pub after: Position,
    pub facts_max: usize,
    /// Reading ends with the fact whose body reaches this many bytes in all.
    pub bytes_max: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub found: Vec<Stored>,
    /// A bound ended the reading, and there are more.
    pub is_cut: bool,
}

/// A KV record with the revision that the next compare-and-set must name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub key: String,
    pub value: Bytes,
    pub revision: u64,
}

/// One step of a watch: the record was put, or (value `None`) removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordChange {
    Put(Record),
    Removed {
        key: String,
        revision: u64,
    },
    /// All that was there when the watch began has been delivered (once per watch).
    CaughtUp,
}

/// Buckets of records that are not history. Keys are `[A-Za-z0-9_-]+` tokens joined by dots.
pub trait Records: Send + Sync {
    /// The newest value, read from the bucket's leader (read-after-write on every deployment).
    fn get(&self, bucket: Bucket, key: &str) -> BoxFuture<'_, Result<Option<Record>, StoreError>>;
    /// Creates; [`StoreError::Conflict`] when the key is live. Returns the revision.
    fn create(&self, bucket: Bucket, key: &str, value: Bytes) -> BoxFuture<'_, Result<u64, StoreError>>;
    /// Replaces the value at `revision`; [`StoreError::Conflict`] when it has moved on. Returns the new revision.
    fn update(&self, bucket: Bucket, key: &str, value: Bytes, revision: u64) -> BoxFuture<'_, Result<u64, StoreError>>;
    /// Removes whatever is there; removing nothing is fine.
    fn remove(&self, bucket: Bucket, key: &str) -> BoxFuture<'_, Result<(), StoreError>>;
    /// All records of the bucket, then [`RecordChange::CaughtUp`], then every change; mends itself like a follower.
    fn watch(&self, bucket: Bucket) -> BoxStream<'static, RecordChange>;
}

/// The KV buckets. Declared in `streams/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// Hashes of node keys, API keys and join tokens.
    Credentials,
    /// Private keys of orgs, encrypted under the installation's master key.
    Secrets,
    /// Where the newest snapshot of each read model is.
    Pointers,
    /// What hosts sign to prove their keys; each lives for five minutes.
    Challenges,
    /// The newest JWTs of NATS accounts.
    Accounts,
}

/// Immutable bytes named by their SHA-256, in chunks `blob.<sha256>.<n>`.
pub trait Blobs: Send + Sync {
    /// Stores and returns the digest as 64 lowercase hex digits. Storing twice is harmless and resumes what broke off.
    fn put(&self, bytes: Bytes) -> BoxFuture<'_, Result<String, StoreError>>;
    /// Length in bytes, or none when the blob is not (wholly) there.
    fn len(&self, digest: &str) -> BoxFuture<'_, Result<Option<u64>, StoreError>>;
    /// The bytes of a range that lies within the blob; `None` when the blob is not there. Whole reads are checked against
    /// the digest.
    fn read(&self, digest: &str, range: Option<Range<u64>>) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>>;
}

/// A heartbeat batch or an edge tick as it stands in `PULSE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulseMessage {
    /// Position in the `PULSE` stream; says nothing about the journal.
    pub sequence: u64,
    /// The server's time of storing: the only clock that liveness uses.
    pub time: Timestamp,
    /// `beat` or `tick`, the last subject token but one; the last one is the edge's id.
    pub kind: PulseKind,
    pub edge: String,
    pub body: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PulseKind {
    Beat,
    Tick,
}

/// The heartbeat stream: short-lived, not history.
pub trait Pulse: Send + Sync {
    /// Acknowledged by the stream when the future ends well. Body at most [`BODY_BYTES_MAX`].
    fn publish(&self, kind: PulseKind, edge: &str, body: Bytes) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Everything that the stream still holds, then everything new.
    fn follow(&self) -> BoxStream<'static, PulseMessage>;
    /// Sequence of the newest message, asked of the leader (0: none).
    fn last_sequence(&self) -> BoxFuture<'_, Result<u64, StoreError>>;
}

/// Node events, metrics, WAF events and runtime configs: `telemetry.<org>.<project>.<node>.<kind>`.
pub trait Telemetry: Send + Sync {
    /// Acknowledged by the stream when the future ends well.
    fn record(&self, subject: String, body: Bytes) -> BoxFuture<'_, Result<(), StoreError>>;
    /// What was recorded and is still there, oldest first, as far as the question's bounds allow.
    fn reports(&self, question: ReportQuestion) -> BoxFuture<'_, Result<Reports, StoreError>>;
    /// The newest report under a literal subject.
    fn newest_report(&self, subject: &str) -> BoxFuture<'_, Result<Option<Report>, StoreError>>;
}

/// Which reports somebody wants, and how many at most: the work of one question is bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportQuestion {
    /// A subject, with wildcards where wanted.
    pub filter: String,
    pub from: ReportsFrom,
    /// No report that was stored after this time.
    pub until: Timestamp,
    pub reports_max: usize,
    /// Reading ends with the report whose body reaches this many bytes in all.
    pub bytes_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportsFrom {
    /// This place in the stream and all after it.
    Sequence(u64),
    /// Stored at this time or later.
    Time(Timestamp),
}

/// One message of the telemetry stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub sequence: u64,
    /// The server's time of storing.
    pub time: Timestamp,
    pub subject: String,
    pub body: Bytes,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reports {
    pub found: Vec<Report>,
    /// A bound ended the reading; there may be more after the last one found.
    pub is_cut: bool,
}

/// Where snapshots of read models are kept: a blob each, and a pointer that names the newest.
pub trait Snapshots: Send + Sync {
    /// Keeps `bytes` as the newest snapshot of `view` (`<name>-v<schema>`) at `position`.
    fn save(&self, view: &str, position: Position, bytes: Bytes) -> BoxFuture<'_, Result<(), StoreError>>;
    /// The newest snapshot that is whole, or none. A damaged one counts as none.
    fn newest(&self, view: &str) -> BoxFuture<'_, Result<Option<(Position, Bytes)>, StoreError>>;
}

impl Bucket {
    pub const ALL: [Bucket; 5] =
        [Bucket::Credentials, Bucket::Secrets, Bucket::Pointers, Bucket::Challenges, Bucket::Accounts];

    pub fn name(self) -> &'static str {
        match self {
            Bucket::Credentials => "credentials",
            Bucket::Secrets => "secrets",
            Bucket::Pointers => "pointers",
            Bucket::Challenges => "challenges",
            Bucket::Accounts => "accounts",
        }
    }

    /// Refuses what is not `[A-Za-z0-9_-]+` tokens joined by dots.
    pub(crate) fn check(self, key: &str) -> Result<(), StoreError> {
        let is_token = |token: &str| {
            !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        };
        match key.split('.').all(is_token) {
            true => Ok(()),
            false => Err(StoreError::TooLarge(format!("{key:?} is not a key of {}", self.name()))),
        }
    }
}

impl PulseKind {
    /// As it stands in subjects.
    pub fn token(self) -> &'static str {
        match self {
            PulseKind::Beat => "beat",
            PulseKind::Tick => "tick",
        }
    }

    pub fn from_token(token: &str) -> Option<PulseKind> {
        [PulseKind::Beat, PulseKind::Tick].into_iter().find(|kind| kind.token() == token)
    }
}
