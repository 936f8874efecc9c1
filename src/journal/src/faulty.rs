//! A backend that lies in every way a network can: requests that never arrive, answers that get lost after the work was done,
//! requests that arrive twice, and delays. What it returns still obeys the contract, so that a caller which honours the
//! contract cannot tell it from a bad day.
//!
//! Reading is delayed and refused but never reordered or repeated: followers of the real backend mend that themselves.

use crate::contract::{
    Append, Bucket, FactQuestion, Facts, JournalReader, JournalWriter, Outcome, Pulse, PulseKind, PulseMessage, Record,
    RecordChange, Records, StoreError, Stored,
};
use bytes::Bytes;
use domain::Position;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often each fault happens, in per mille of the requests, and the seed that decides when.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    pub seed: u64,
    /// The request never arrives.
    pub lost_request_pm: u64,
    /// It is carried out, and the answer never arrives.
    pub lost_answer_pm: u64,
    /// It arrives twice; the second answer is the one that is seen.
    pub duplicate_pm: u64,
    pub delay_pm: u64,
    pub delay_max: Duration,
}

impl Faults {
    /// One request in three goes wrong somehow.
    pub fn many(seed: u64) -> Faults {
        let delay_max = Duration::from_millis(2);
        Faults { seed, lost_request_pm: 100, lost_answer_pm: 150, duplicate_pm: 100, delay_pm: 200, delay_max }
    }
}

/// Cheap to clone; clones share the sequence of faults.
#[derive(Clone)]
pub struct Faulty<B> {
    backend: B,
    dice: Arc<Dice>,
}

struct Dice {
    faults: Faults,
    thrown: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    LostRequest,
    LostAnswer,
    Duplicate,
}

impl<B> Faulty<B> {
    pub fn new(backend: B, faults: Faults) -> Faulty<B> {
        Faulty { backend, dice: Arc::new(Dice { faults, thrown: AtomicU64::new(0) }) }
    }

    /// The backend without its faults.
    pub fn inner(&self) -> &B {
        &self.backend
    }

    /// Does `work` as the dice say; `None` when the caller gets no answer.
    async fn attempt<T, Fut: Future<Output = T>>(&self, work: impl Fn() -> Fut) -> Option<T> {
        self.dice.delay().await;
        let answer = match self.dice.fault() {
            Fault::None => Some(work().await),
            Fault::LostRequest => None,
            Fault::LostAnswer => {
                work().await;
                None
            }
            Fault::Duplicate => {
                work().await;
                Some(work().await)
            }
        };
        self.dice.delay().await;
        answer
    }

    /// The same for what may not be done twice without being noticed, such as compare-and-set.
    async fn attempt_once<T, Fut: Future<Output = Result<T, StoreError>>>(&self, work: Fut) -> Result<T, StoreError> {
        self.dice.delay().await;
        match self.dice.fault() {
            Fault::None | Fault::Duplicate => work.await,
            Fault::LostRequest => Err(timed_out()),
            Fault::LostAnswer => {
                // What came of it is what the caller never learns.
                let _ = work.await;
                Err(timed_out())
            }
        }
    }
}

impl Dice {
    /// splitmix64 of the seed and the number of throws: the same seed gives the same sequence.
    fn throw(&self, sides: u64) -> u64 {
        let n = self.thrown.fetch_add(1, Ordering::Relaxed) + 1;
        let mut z = self.faults.seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides.max(1)
    }

    fn fault(&self) -> Fault {
        let Faults { lost_request_pm, lost_answer_pm, duplicate_pm, .. } = self.faults;
        let thrown = self.throw(1000);
        if thrown < lost_request_pm {
            Fault::LostRequest
        } else if thrown < lost_request_pm + lost_answer_pm {
            Fault::LostAnswer
        } else if thrown < lost_request_pm + lost_answer_pm + duplicate_pm {
            Fault::Duplicate
        } else {
            Fault::None
        }
    }

    async fn delay(&self) {
        if self.throw(1000) < self.faults.delay_pm {
            let micros = self.throw(self.faults.delay_max.as_micros() as u64 + 1);
            tokio::time::sleep(Duration::from_micros(micros)).await;
        }
    }
}

impl<B: JournalWriter> JournalWriter for Faulty<B> {
    fn append(&self, fact: Append) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let answer = self.attempt(|| self.backend.append(fact.clone())).await;
            answer.unwrap_or_else(|| Outcome::Unknown("timed out".to_owned()))
        })
    }

    fn append_batch(&self, facts: Vec<Append>) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let answer = self.attempt(|| self.backend.append_batch(facts.clone())).await;
            answer.unwrap_or_else(|| Outcome::Unknown("timed out".to_owned()))
        })
    }
}

impl<B: JournalReader> JournalReader for Faulty<B> {
    fn last_position(&self) -> BoxFuture<'_, Result<Position, StoreError>> {
        Box::pin(self.attempt_once(self.backend.last_position()))
    }

    fn follow(&self, after: Position) -> BoxStream<'static, Stored> {
        late(self.dice.clone(), self.backend.follow(after))
    }

    fn facts(&self, question: FactQuestion) -> BoxFuture<'_, Result<Facts, StoreError>> {
        Box::pin(self.attempt_once(self.backend.facts(question)))
    }
}

impl<B: Pulse> Pulse for Faulty<B> {
    fn publish(&self, kind: PulseKind, edge: &str, body: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        let edge = edge.to_owned();
        Box::pin(async move {
            let answer = self.attempt(|| self.backend.publish(kind, &edge, body.clone())).await;
            answer.unwrap_or_else(|| Err(timed_out()))
        })
    }

    fn follow(&self) -> BoxStream<'static, PulseMessage> {
        late(self.dice.clone(), self.backend.follow())
    }

    fn last_sequence(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.attempt_once(self.backend.last_sequence()))
    }
}

impl<B: Records> Records for Faulty<B> {
    fn get(&self, bucket: Bucket, key: &str) -> BoxFuture<'_, Result<Option<Record>, StoreError>> {
        Box::pin(self.attempt_once(self.backend.get(bucket, key)))
    }

    fn create(&self, bucket: Bucket, key: &str, value: Bytes) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.attempt_once(self.backend.create(bucket, key, value)))
    }

    fn update(&self, bucket: Bucket, key: &str, value: Bytes, revision: u64) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.attempt_once(self.backend.update(bucket, key, value, revision)))
    }

    fn remove(&self, bucket: Bucket, key: &str) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.attempt_once(self.backend.remove(bucket, key)))
    }

    fn watch(&self, bucket: Bucket) -> BoxStream<'static, RecordChange> {
        late(self.dice.clone(), self.backend.watch(bucket))
    }
}

fn late<T: Send + 'static>(dice: Arc<Dice>, stream: BoxStream<'static, T>) -> BoxStream<'static, T> {
    let wait = move |item| {
        let dice = dice.clone();
        async move {
            dice.delay().await;
            item
        }
    };
    stream.then(wait).boxed()
}

fn timed_out() -> StoreError {
    StoreError::Unavailable("timed out".to_owned())
}
