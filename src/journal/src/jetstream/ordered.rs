//! Reading a stream in order for as long as somebody reads: a push consumer without acknowledgements, made anew after every
//! break of the connection, missed message or silence, at the message after the last one that was handed out.
//!
//! Invariant: messages come in stream order, each once. A reader `without_gaps` never gets past a missing sequence; it reports
//! and tries again, because going on would be to skip.

use super::api::{Api, Failure};
use async_nats::{Message, Subscriber, header};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, stream};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How often an idle reader looks whether its connection is still the same.
const TICK: Duration = Duration::from_millis(200);
/// The server's sign of life on an idle consumer.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Silence after which the consumer counts as gone.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// How long the server keeps a consumer that nobody listens to.
const ABANDONED_AFTER: Duration = Duration::from_secs(10);
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Messages handed on together.
const CHUNK_MESSAGES_MAX: usize = 512;
const STALLED: header::HeaderName = header::HeaderName::from_static("Nats-Consumer-Stalled");

pub(super) struct Ordered {
    api: Api,
    stream: &'static str,
    start: Start,
    /// Whether sequences follow each other without holes.
    is_dense: bool,
    /// The newest sequence handed out; `None` before the first.
    last: Option<u64>,
    live: Option<Live>,
    pause: Duration,
    /// The consumer had nothing to deliver when it was made.
    is_empty: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Start {
    /// With the first message after this sequence.
    After(u64),
    /// With the newest message of each subject, in stream order.
    LastPerSubject,
}

pub(super) struct Delivery {
    pub sequence: u64,
    /// The server's time of storing.
    pub time: Timestamp,
    /// Messages that still follow of those that were there already.
    pub pending: u64,
    pub message: Message,
}

struct Live {
    subscriber: Subscriber,
    /// The consumer's own count of deliveries, to notice a lost one.
    delivered: u64,
    heard: Instant,
    connects: u64,
}

#[derive(Deserialize)]
struct Created {
    num_pending: u64,
}

impl Ordered {
    pub fn new(api: Api, stream: &'static str, start: Start) -> Ordered {
        let pause = Duration::ZERO;
        Ordered { api, stream, start, is_dense: false, last: None, live: None, pause, is_empty: false }
    }

    /// For a stream from which nothing is ever removed.
    pub fn without_gaps(mut self) -> Ordered {
        self.is_dense = true;
        self
    }

    pub fn into_stream<T, F>(self, pick: F) -> BoxStream<'static, T>
    where
        T: Send + 'static,
        F: Fn(Delivery) -> Option<T> + Send + Clone + 'static,
    {
        stream::unfold(Box::new(self), |mut this| async move { Some((stream::iter(this.next_chunk().await), this)) })
            .flatten()
            .filter_map(move |delivery| std::future::ready(pick(delivery)))
            .boxed()
    }

    /// The next messages. Empty once after every new consumer, so that the caller can look at [`Ordered::is_empty`].
    pub async fn next_chunk(&mut self) -> Vec<Delivery> {
        let Some(mut live) = self.live.take() else {
            self.live = Some(self.reopen().await);
            return Vec::new();
        };
        let mut chunk = Vec::new();
        while chunk.len() < CHUNK_MESSAGES_MAX {
            let message = match live.subscriber.next().now_or_never() {
                Some(message) => message,
                None if !chunk.is_empty() => break,
                None => match timeout(TICK, live.subscriber.next()).await {
                    Ok(message) => message,
                    Err(_) if live.is_lost(&self.api) => return chunk,
                    Err(_) => continue,
                },
            };
            let Some(message) = message else { return chunk };
            live.heard = Instant::now();
            if message.status.is_some() {
                if !self.answer(&live, message).await {
                    return chunk;
                }
                continue;
            }
            match self.accept(&mut live, message) {
                Ok(delivery) => chunk.push(delivery),
                Err(cause) => {
                    self.back_off(&cause);
                    return chunk;
                }
            }
        }
        self.live = Some(live);
        chunk
    }

    /// Whether the newest consumer found nothing to deliver.
    pub fn is_empty(&self) -> bool {
        self.is_empty
    }

    async fn reopen(&mut self) -> Live {
        loop {
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
            match self.open().await {
                Ok(live) => return live,
                Err(failure) => self.back_off(&failure.to_string()),
            }
        }
    }

    fn back_off(&mut self, cause: &str) {
        tracing::warn!(stream = self.stream, after = self.last, cause, "following starts anew");
        self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
    }

    async fn open(&mut self) -> Result<Live, Failure> {
        let connects = self.api.connects();
        let start = self.last.map_or(self.start, Start::After);
        if let Start::After(after @ 1..) = start {
            let end = self.api.info(self.stream).await?.state.last_seq;
            if end < after && self.is_dense {
                let cause = format!("the stream ends at {end}, before {after}: it is not the one that was followed");
                return Err(Failure::Silent(cause));
            }
            if end < after {
                // Perishable streams may be made anew; then all of the new one is news.
                self.last = None;
                self.start = self.start.reset();
            }
        }
        let start = self.last.map_or(self.start, Start::After);
        let inbox = self.api.client().new_inbox();
        let subscriber = self.api.client().subscribe(inbox.clone()).await;
        let subscriber = subscriber.map_err(|error| Failure::Silent(error.to_string()))?;
        let name = inbox.rsplit('.').next().unwrap_or(&inbox);
        let body = json!({ "stream_name": self.stream, "action": "create", "config": consumer(name, &inbox, start) });
        let what = format!("CONSUMER.CREATE.{}.{name}", self.stream);
        let created: Created = self.api.call(&what, body.to_string().into_bytes()).await?;
        self.is_empty = created.num_pending == 0;
        Ok(Live { subscriber, delivered: 0, heard: Instant::now(), connects })
    }

    /// The server's own messages: signs of life, and questions whether we keep up. False when a delivery got lost.
    async fn answer(&self, live: &Live, message: Message) -> bool {
        let headers = message.headers.as_ref();
        let stalled = headers.and_then(|h| h.get(STALLED)).map(|subject| subject.to_string());
        let told = headers.and_then(|h| h.get(header::NATS_LAST_CONSUMER)).and_then(|n| n.as_str().parse::<u64>().ok());
        if let Some(subject) = message.reply.map(|reply| reply.to_string()).or(stalled) {
            // A broken connection is noticed by itself.
            let _ = self.api.client().publish(subject, Bytes::new()).await;
        }
        told.is_none_or(|told| told <= live.delivered)
    }

    fn accept(&mut self, live: &mut Live, message: Message) -> Result<Delivery, String> {
        let place = message.reply.as_deref().and_then(Place::parse);
        let place = place.ok_or_else(|| format!("{:?} is not the place of a delivery", message.reply))?;
        if place.delivered != live.delivered + 1 {
            return Err(format!("delivery {} came after {}", place.delivered, live.delivered));
        }
        let before = match (self.last, self.start) {
            (Some(last), _) | (None, Start::After(last)) => last,
            (None, Start::LastPerSubject) => 0,
        };
        if self.is_dense && place.sequence != before + 1 {
            tracing::error!(stream = self.stream, before, found = place.sequence, "the stream has a gap");
            return Err(format!("sequence {} came after {before}", place.sequence));
        }
        live.delivered = place.delivered;
        self.last = Some(place.sequence);
        self.pause = Duration::ZERO;
        Ok(Delivery { sequence: place.sequence, time: place.time, pending: place.pending, message })
    }
}

impl Start {
    fn reset(self) -> Start {
        match self {
            Start::After(_) => Start::After(0),
            Start::LastPerSubject => Start::LastPerSubject,
        }
    }
}

impl Live {
    fn is_lost(&self, api: &Api) -> bool {
        self.connects != api.connects() || self.heard.elapsed() > SILENCE_MAX
    }
}

fn consumer(name: &str, inbox: &str, start: Start) -> Value {
    let mut config = json!({
        "name": name,
        "deliver_subject": inbox,
        "ack_policy": "none",
        "max_deliver": 1,
        "replay_policy": "instant",
        "flow_control": true,
        "idle_heartbeat": HEARTBEAT.as_nanos() as u64,
        "inactive_threshold": ABANDONED_AFTER.as_nanos() as u64,
        "num_replicas": 1,
        "mem_storage": true,
    });
    match start {
        Start::After(after) => {
            config["deliver_policy"] = json!("by_start_sequence");
            config["opt_start_seq"] = json!(after + 1);
        }
        Start::LastPerSubject => {
            config["deliver_policy"] = json!("last_per_subject");
            config["filter_subject"] = json!(">");
        }
    }
    config
}

/// Where a delivery stands, as its reply subject tells:
/// `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<tries>.<stream seq>.<consumer seq>.<time ns>.<pending>[.<token>]`.
#[derive(Debug, PartialEq)]
struct Place {
    sequence: u64,
    delivered: u64,
    time: Timestamp,
    pending: u64,
}

impl Place {
    fn parse(reply: &str) -> Option<Place> {
        let rest = reply.strip_prefix("$JS.ACK.")?;
        let skip = if rest.bytes().filter(|byte| *byte == b'.').count() >= 8 { 5 } else { 3 };
        let mut tokens = rest.split('.').skip(skip);
        let sequence = tokens.next()?.parse().ok()?;
        let delivered = tokens.next()?.parse().ok()?;
        let time = Timestamp::from_nanosecond(tokens.next()?.parse::<i64>().ok()?.into()).ok()?;
        let pending = tokens.next()?.parse().ok()?;
        Some(Place { sequence, delivered, time, pending })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_reply_subject_are_read() {
        let time = Timestamp::from_nanosecond(1_700_000_000_000_000_001).unwrap_or_default();
        let place = Some(Place { sequence: 7, delivered: 3, time, pending: 9 });
        assert_eq!(Place::parse("$JS.ACK.FLEET.c1.1.7.3.1700000000000000001.9"), place);
        assert_eq!(Place::parse("$JS.ACK.hub.ACC.FLEET.c1.1.7.3.1700000000000000001.9"), place);
        assert_eq!(Place::parse("$JS.ACK.hub.ACC.FLEET.c1.1.7.3.1700000000000000001.9.tok"), place);
        assert_eq!(Place::parse("$JS.ACK.FLEET.c1.1.x.3.1.9"), None);
        assert_eq!(Place::parse("_INBOX.a"), None);
    }
}
