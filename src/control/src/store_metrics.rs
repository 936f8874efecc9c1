//! What the store costs this replica: appends by outcome, heartbeat messages, blob bytes. The edge shows them under `/metrics`.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

const APPEND_S: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0, 10.0];

type Outcome = [(&'static str, &'static str); 1];

/// Cheap to clone; clones count together.
#[derive(Clone)]
pub struct StoreMetrics {
    appends: Family<Outcome, Counter>,
    append_duration: Histogram,
    beats: Counter,
    beat_messages: Counter,
    beats_failed: Counter,
    blob_bytes: Family<Outcome, Counter>,
    fold_lag: Gauge,
    receipts: Family<Outcome, Counter>,
}

/// What became of a receipt that a heartbeat carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReceiptOutcome {
    Kept,
    /// It is kept already, or a newer one is.
    Repeated,
    /// Not genuine, or of nothing that was assigned.
    Dropped,
}

impl ReceiptOutcome {
    const ALL: [ReceiptOutcome; 3] = [ReceiptOutcome::Kept, ReceiptOutcome::Repeated, ReceiptOutcome::Dropped];

    fn label(self) -> Outcome {
        let outcome = match self {
            ReceiptOutcome::Kept => "kept",
            ReceiptOutcome::Repeated => "repeated",
            ReceiptOutcome::Dropped => "dropped",
        };
        [("outcome", outcome)]
    }
}

/// What became of one append.
#[derive(Clone, Copy)]
pub(crate) enum Appended {
    Committed,
    Duplicate,
    Conflict,
    Unknown,
}

impl Appended {
    const ALL: [Appended; 4] = [Appended::Committed, Appended::Duplicate, Appended::Conflict, Appended::Unknown];

    fn label(self) -> Outcome {
        let outcome = match self {
            Appended::Committed => "committed",
            Appended::Duplicate => "duplicate",
            Appended::Conflict => "conflict",
            Appended::Unknown => "unknown",
        };
        [("outcome", outcome)]
    }
}

impl Default for StoreMetrics {
    fn default() -> StoreMetrics {
        let metrics = StoreMetrics {
            appends: Family::default(),
            append_duration: Histogram::new(APPEND_S),
            beats: Counter::default(),
            beat_messages: Counter::default(),
            beats_failed: Counter::default(),
            blob_bytes: Family::default(),
            fold_lag: Gauge::default(),
            receipts: Family::default(),
        };
        for outcome in ReceiptOutcome::ALL {
            drop(metrics.receipts.get_or_create(&outcome.label()));
        }
        for outcome in Appended::ALL {
            drop(metrics.appends.get_or_create(&outcome.label()));
        }
        for direction in ["read", "written"] {
            drop(metrics.blob_bytes.get_or_create(&[("direction", direction)]));
        }
        metrics
    }
}

impl StoreMetrics {
    pub fn register(&self, registry: &mut Registry) {
        registry.register("journal_appends", "Appends to the journal by what became of them", self.appends.clone());
        let help = "Time from sending an append to the stream's answer";
        registry.register_with_unit("journal_append_duration", help, Unit::Seconds, self.append_duration.clone());
        let help = "Facts that the journal holds and this replica's views do not, when readiness was last asked for";
        registry.register("journal_fold_lag", help, self.fold_lag.clone());
        registry.register("pulse_beats", "Heartbeats stored", self.beats.clone());
        let help = "Messages that carried them: heartbeats of one moment share one";
        registry.register("pulse_messages", help, self.beat_messages.clone());
        registry.register("pulse_beats_failed", "Heartbeats that could not be stored", self.beats_failed.clone());
        let help = "Receipts of activations in heartbeats by what became of them";
        registry.register("activation_receipts", help, self.receipts.clone());
        let help = "Bytes of bundles and their sources, to and from the store";
        registry.register_with_unit("blob", help, Unit::Bytes, self.blob_bytes.clone());
    }

    pub(crate) fn appended(&self, outcome: Appended, took: Duration) {
        self.appends.get_or_create(&outcome.label()).inc();
        self.append_duration.observe(took.as_secs_f64());
    }

    pub(crate) fn receipt(&self, outcome: ReceiptOutcome) {
        self.receipts.get_or_create(&outcome.label()).inc();
    }

    #[cfg(test)]
    pub(crate) fn receipts_dropped(&self) -> u64 {
        self.receipts.get_or_create(&ReceiptOutcome::Dropped.label()).get()
    }

    pub(crate) fn beats(&self, count: usize, stored: bool) {
        if stored {
            self.beats.inc_by(count as u64);
            self.beat_messages.inc();
        } else {
            self.beats_failed.inc_by(count as u64);
        }
    }

    pub(crate) fn blob_read(&self, bytes: usize) {
        self.blob_bytes.get_or_create(&[("direction", "read")]).inc_by(bytes as u64);
    }

    pub(crate) fn blob_written(&self, bytes: usize) {
        self.blob_bytes.get_or_create(&[("direction", "written")]).inc_by(bytes as u64);
    }

    pub(crate) fn lag(&self, facts: u64) {
        self.fold_lag.set(i64::try_from(facts).unwrap_or(i64::MAX));
    }
}
