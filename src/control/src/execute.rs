//! The only place that appends. A decision is made on this replica's views and stored with the position that it was made on;
//! when somebody was first, the views catch up and the decision is made again.

use crate::control::Control;
use crate::store_metrics::Appended;
use contract::{ApiError, ErrorCode};
use domain::{Actor, Aggregate, CommandId, Envelope, Event, Position};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use journal::{Append, BODY_BYTES_MAX, Guard, Outcome};
use sha2::{Digest, Sha256};
use std::time::Duration;
use tokio::time::Instant;
use views::State;

/// How often a decision is made again after losing to another writer.
const CONFLICTS_MAX: u32 = 32;
/// How long a command may take, retries included.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(12);
/// How long an answer waits for this replica's views.
pub(crate) const FOLD_WAIT_MAX: Duration = Duration::from_secs(5);
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(20);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);

/// What is common to the facts of one command.
#[derive(Clone, Debug)]
pub(crate) struct Meta {
    pub actor: Actor,
    pub command: CommandId,
    /// Hash of the request, when it came with an `Idempotency-Key`.
    pub request: Option<u64>,
}

impl Meta {
    /// A command that nobody repeats by key.
    pub fn once(actor: Actor) -> Meta {
        Meta { actor, command: CommandId(trust::random_bytes()), request: None }
    }

    /// A command of Pilothouse itself: the same `parts` on two replicas are the same command.
    pub fn system(parts: &[&str]) -> Meta {
        Meta { actor: Actor::System, command: command_id(parts), request: None }
    }
}

/// The first 16 bytes of the SHA-256 over the parts, each ended by a byte that none of them holds.
pub(crate) fn command_id(parts: &[&str]) -> CommandId {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0xff]);
    }
    let mut id = [0; 16];
    id.copy_from_slice(&hash.finalize()[..16]);
    CommandId(id)
}

/// A fact to be stored, and what must still be true then.
pub(crate) struct Fact {
    pub aggregate: Aggregate,
    pub guard: Guard,
    pub event: Event,
}

impl Fact {
    /// A further fact of an aggregate that stands at `expected`.
    pub fn next(aggregate: Aggregate, expected: Position, event: Event) -> Fact {
        Fact { guard: Guard { filter: aggregate.filter(), expected }, aggregate, event }
    }

    /// The first fact of an aggregate that must be unique among its siblings, the newest of which was created at `expected`.
    pub fn first(aggregate: Aggregate, expected: Position, event: Event) -> Fact {
        Fact { guard: Guard { filter: aggregate.siblings_filter(event.name()), expected }, aggregate, event }
    }

    /// A fact that was decided on what all aggregates of its kind in the project look like; the newest fact of any of them
    /// stands at `expected`. While facts are in flight, a replicated stream compares only guards of the same filter: such facts
    /// exclude each other, and the aggregate must bear one of its other facts in between.
    pub fn among(aggregate: Aggregate, expected: Position, event: Event) -> Fact {
        Fact { guard: Guard { filter: aggregate.kind_filter(), expected }, aggregate, event }
    }
}

/// A decision: what to store, if anything, and what the caller wants to know of it.
pub(crate) enum Decision<T> {
    Append(Box<Fact>, T),
    /// All of these, of several aggregates, or none. The last one is what the command made.
    AppendAll(Vec<Fact>, T),
    Nothing(T),
}

pub(crate) struct Done<T> {
    pub value: T,
    /// Where the fact stands; the views' position when nothing was stored.
    pub position: Position,
    /// The store knew the command already. It was an earlier attempt of this very call whose answer got lost, or a twin's: then
    /// `value` describes something that was not stored. [`Done::is_ours`] tells.
    pub duplicate: bool,
}

impl<T> Done<T> {
    /// Whether this call stored it. `known` is what the views say the command made; a command without a key has no twin.
    pub fn is_ours(&self, known: Option<&T>) -> bool
    where
        T: PartialEq,
    {
        !self.duplicate || known.is_none_or(|known| *known == self.value)
    }
}

impl Control {
    /// Decides and appends. The views hold the fact when this returns.
    pub(crate) async fn commit<T>(
        &self,
        meta: &Meta,
        mut decide: impl FnMut(&State) -> Result<Decision<T>, ApiError>,
    ) -> Result<Done<T>, ApiError> {
        let deadline = Instant::now() + COMMAND_TIME_MAX;
        for attempt in 0..CONFLICTS_MAX {
            let decision = decide(&self.views().read())?;
            let (facts, value) = match decision {
                Decision::Nothing(value) => {
                    return Ok(Done { value, position: self.position(), duplicate: false });
                }
                Decision::Append(fact, value) => (vec![*fact], value),
                Decision::AppendAll(facts, value) => (facts, value),
            };
            let appends = to_appends(meta, facts)?;
            match self.store(meta, deadline, || self.send(&appends)).await? {
                Stored::At(position, duplicate) => {
                    self.wait_for(position).await?;
                    return Ok(Done { value, position, duplicate });
                }
                Stored::Conflict(actual) => self.catch_up_with(actual, attempt).await?,
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        Err(unavailable("too many writers at once; nothing was changed, try again"))
    }

    /// Several aggregates at once: all facts or none. The decision is not repeated; a conflict is the caller's to judge.
    pub(crate) async fn commit_batch(&self, meta: &Meta, facts: Vec<Fact>) -> Result<Option<Position>, ApiError> {
        let appends = to_appends(meta, facts)?;
        let deadline = Instant::now() + COMMAND_TIME_MAX;
        match self.store(meta, deadline, || self.writer().append_batch(appends.clone())).await? {
            Stored::At(position, _) => {
                self.wait_for(position).await?;
                Ok(Some(position))
            }
            Stored::Conflict(actual) => {
                self.catch_up_with(actual, 0).await?;
                Ok(None)
            }
        }
    }

    fn send(&self, appends: &[Append]) -> BoxFuture<'_, Outcome> {
        match appends {
            [append] => self.writer().append(append.clone()),
            all => self.writer().append_batch(all.to_vec()),
        }
    }

    /// Sends until there is an answer, without waiting for the views.
    async fn store<'a>(
        &self,
        meta: &Meta,
        deadline: Instant,
        send: impl Fn() -> BoxFuture<'a, Outcome>,
    ) -> Result<Stored, ApiError> {
        tracing::Span::current().record("command_id", tracing::field::display(meta.command));
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let sent = Instant::now();
            let outcome = send().await;
            self.store_metrics().appended(appended(&outcome), sent.elapsed());
            match outcome {
                Outcome::Committed { position, duplicate } => return Ok(Stored::At(position, duplicate)),
                Outcome::Conflict { actual } => return Ok(Stored::Conflict(actual)),
                // The repeat is harmless: if the first one was stored, its position is no longer the expected one, and the
                // journal recognises it as ours and answers with its position.
                Outcome::Unknown(cause) => {
                    tracing::warn!(command = %meta.command, cause, "append without an answer; trying again");
                    if Instant::now() + pause >= deadline {
                        return Err(not_known(&cause));
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_PAUSE_MAX);
                }
            }
        }
    }

    async fn catch_up_with(&self, actual: Option<Position>, attempt: u32) -> Result<(), ApiError> {
        let position = match actual {
            Some(position) => position,
            None => self.reader().last_position().await.map_err(store_error)?,
        };
        if position <= self.position() {
            // The winner is in the views already: the next decision sees it, after a moment that keeps two losers apart.
            let jitter_ms = u64::from(trust::random_bytes::<1>()[0] % 5) + u64::from(attempt / 4);
            tokio::time::sleep(Duration::from_millis(jitter_ms)).await;
        }
        self.wait_for(position).await
    }

    /// Waits until the views hold a position that a client names; one that the journal has not reached is the client's mistake.
    pub(crate) async fn wait_for_named(&self, position: Position) -> Result<(), ApiError> {
        if position > self.position() {
            let last = self.reader().last_position().await.map_err(store_error)?;
            if position > last {
                let message = format!("min_position {position} lies beyond the journal, which ends at {last}");
                return Err(ApiError::new(ErrorCode::MalformedRequest, message));
            }
        }
        self.wait_for(position).await
    }

    /// Waits until the views hold `position`.
    pub(crate) async fn wait_for(&self, position: Position) -> Result<(), ApiError> {
        if self.views().wait_for(position, FOLD_WAIT_MAX).await {
            return Ok(());
        }
        Err(unavailable(&format!("this replica has not caught up with position {position}; try again")))
    }
}

enum Stored {
    At(Position, bool),
    Conflict(Option<Position>),
}

fn to_appends(meta: &Meta, facts: Vec<Fact>) -> Result<Vec<Append>, ApiError> {
    let time = now();
    let facts = (0..).zip(facts);
    facts.map(|(index, fact)| to_append(meta, index, time, fact)).collect()
}

/// A fact that the journal can never take is refused here: sent, it would look like a store that does not answer.
fn to_append(meta: &Meta, index: u32, time: Timestamp, fact: Fact) -> Result<Append, ApiError> {
    let subject = fact.aggregate.subject(fact.event.name());
    let (command, actor, request) = (meta.command, meta.actor.clone(), meta.request);
    let envelope = Envelope { command, index, time, actor, request, event: fact.event };
    let body = envelope.encode();
    if body.len() > BODY_BYTES_MAX {
        let message = format!("this would make a fact of {} bytes; {BODY_BYTES_MAX} are allowed", body.len());
        return Err(ApiError::new(ErrorCode::PayloadTooLarge, message));
    }
    Ok(Append { subject, guard: fact.guard, message_id: envelope.id(), body: body.into() })
}

fn appended(outcome: &Outcome) -> Appended {
    match outcome {
        Outcome::Committed { duplicate: false, .. } => Appended::Committed,
        Outcome::Committed { duplicate: true, .. } => Appended::Duplicate,
        Outcome::Conflict { .. } => Appended::Conflict,
        Outcome::Unknown(_) => Appended::Unknown,
    }
}

/// The time in whole milliseconds: what facts and answers carry.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// The time that new ids carry.
pub(crate) fn unix_ms() -> u64 {
    u64::try_from(now().as_millisecond()).unwrap_or(0)
}

pub(crate) fn unavailable(message: &str) -> ApiError {
    ApiError::new(ErrorCode::Unavailable, message)
}

fn not_known(cause: &str) -> ApiError {
    tracing::error!(cause, "the store gave no answer to an append");
    unavailable("the store did not answer; repeat the request with the same Idempotency-Key to learn what became of it")
}

pub(crate) fn store_error(error: journal::StoreError) -> ApiError {
    tracing::warn!(error = &error as &dyn std::error::Error, "store request failed");
    match error {
        journal::StoreError::TooLarge(what) => {
            ApiError::new(ErrorCode::PayloadTooLarge, format!("refused by the store's limits: {what}"))
        }
        _ => unavailable("the store did not answer; try again"),
    }
}
