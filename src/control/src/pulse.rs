//! Writing heartbeats: many of them share one message of the `PULSE` stream, and each is answered when that message is
//! acknowledged. A tick every second says that this edge could have written.

use crate::control::Control;
use crate::execute::unavailable;
use crate::settings::ControlSettings;
use contract::ApiError;
use journal::{BODY_BYTES_MAX, PulseKind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use views::BeatRecord;

/// Heartbeats waiting for a message; more wait at the door.
const QUEUE_BEATS_MAX: usize = 16_384;
/// Messages on their way at once.
const IN_FLIGHT_MAX: usize = 32;
/// Room for what MessagePack adds to a heartbeat's texts.
const BEAT_OVERHEAD_BYTES: usize = 128;
const TICK_EVERY: Duration = Duration::from_secs(1);

struct Waiting {
    beat: BeatRecord,
    answer: oneshot::Sender<bool>,
}

pub(crate) struct Beats {
    /// This edge in the subjects of `PULSE`: random per process.
    edge: String,
    linger: Duration,
    batch_max: usize,
    queue: mpsc::Sender<Waiting>,
    /// Taken by the one task that writes.
    waiting: Mutex<Option<mpsc::Receiver<Waiting>>>,
}

impl Beats {
    pub fn new(settings: &ControlSettings) -> Beats {
        let (queue, waiting) = mpsc::channel(QUEUE_BEATS_MAX);
        Beats {
            edge: data_encoding::HEXLOWER.encode(&trust::random_bytes::<8>()),
            linger: Duration::from_millis(settings.pulse_linger_ms),
            batch_max: settings.pulse_batch_beats_max.max(1),
            queue,
            waiting: Mutex::new(Some(waiting)),
        }
    }

    /// Ends well once the stream has acknowledged the message that carries the beat.
    pub async fn write(&self, beat: BeatRecord) -> Result<(), ApiError> {
        let (answer, answered) = oneshot::channel();
        let queued = self.queue.send(Waiting { beat, answer }).await.is_ok();
        if queued && answered.await == Ok(true) {
            return Ok(());
        }
        Err(unavailable("the heartbeat could not be stored; beat again"))
    }
}

/// Collects beats for a moment and writes them, several messages at a time.
pub(crate) async fn write_beats(control: Control) {
    let beats = control.beats();
    let taken = beats.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut queue) = taken else {
        tracing::error!("the beats of this replica are written already");
        return;
    };
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, beats.batch_max).await > 0 {
        if batch.len() < beats.batch_max {
            tokio::time::sleep(beats.linger).await;
            while batch.len() < beats.batch_max
                && let Ok(waiting) = queue.try_recv()
            {
                batch.push(waiting);
            }
        }
        for part in parts(std::mem::take(&mut batch)) {
            let Ok(permit) = in_flight.clone().acquire_owned().await else { return };
            let control = control.clone();
            tokio::spawn(async move {
                write_batch(&control, part).await;
                drop(permit);
            });
        }
    }
}

async fn write_batch(control: &Control, batch: Vec<Waiting>) {
    let (beats, answers): (Vec<_>, Vec<_>) = batch.into_iter().map(|w| (w.beat, w.answer)).unzip();
    let stored = match rmp_serde::to_vec_named(&beats) {
        Ok(body) => control.pulse().publish(PulseKind::Beat, &control.beats().edge, body.into()).await,
        Err(e) => Err(journal::StoreError::Corrupt(e.to_string())),
    };
    control.store_metrics().beats(beats.len(), stored.is_ok());
    if let Err(e) = &stored {
        tracing::warn!(beats = beats.len(), error = e as &dyn std::error::Error, "heartbeats not stored");
    }
    for answer in answers {
        // Whoever asked may have gone; the beat counts all the same.
        let _ = answer.send(stored.is_ok());
    }
}

/// Cuts a batch so that no part's body exceeds the store's limit.
fn parts(batch: Vec<Waiting>) -> Vec<Vec<Waiting>> {
    let mut parts: Vec<Vec<Waiting>> = Vec::new();
    let mut bytes = BODY_BYTES_MAX;
    for waiting in batch {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let size = BEAT_OVERHEAD_BYTES + text(&waiting.beat.health) + text(&waiting.beat.metrics);
        if bytes + size > BODY_BYTES_MAX {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(part) = parts.last_mut() {
            part.push(waiting);
        }
    }
    parts
}

/// One tick a second for as long as the replica runs. A tick that cannot be stored is simply absent: no silence counts.
pub(crate) async fn write_ticks(control: Control) {
    let mut ticks = tokio::time::interval(TICK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        let stored = control.pulse().publish(PulseKind::Tick, &control.beats().edge, bytes::Bytes::new()).await;
        if let Err(e) = &stored
            && !failing
        {
            tracing::warn!(
                error = e as &dyn std::error::Error,
                "ticks cannot be stored; silence is not counted meanwhile"
            );
        }
        failing = stored.is_err();
    }
}
