//! Facts of a project for those who listen over HTTP: one ring of the newest facts in memory, and readers with a place in it.
//!
//! Invariant: a reader owns nothing but its place. One that is slower than the facts falls out of the ring and is told so, and
//! memory is bounded by the ring, however many read and however slowly.
//!
//! Absent on purpose: the way a fact is written on the wire, and history beyond the ring. That is what reads are for.

use crate::caller::Caller;
use crate::control::Control;
use crate::execute::now;
use crate::settings::ControlSettings;
use bytes::Bytes;
use contract::{ApiError, ErrorCode};
use domain::{Actor, Aggregate, ApiKeyId, Kind, Position, Recorded, Slug};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::watch;
use tokio::time::Instant;

/// How much memory the facts that can be had again may take. Facts that list nodes or files are larger than others.
const RING_BYTES_MAX: usize = 32 << 20;
/// How much is handed out at once.
const PIECE_FACTS_MAX: usize = 256;
const PIECE_BYTES_MAX: usize = 256 << 10;

/// A fact as it is told.
#[derive(Debug)]
pub struct StreamFact {
    pub position: Position,
    /// `<kind>.<event>`
    pub name: String,
    /// The stored body with `position` and `subject`, one line.
    pub json: Bytes,
    aggregate: Aggregate,
}

/// What comes next in a stream.
#[derive(Debug)]
pub enum StreamItem {
    /// In order, at least one.
    Facts(Vec<Arc<StreamFact>>),
    /// Nothing to tell for a while; a reader that comes back may go on after this position.
    Quiet { position: Position },
    /// Facts are missing: what the reader knows must be read anew. What follows comes after this position.
    Reset { position: Position },
}

pub(crate) struct Streams {
    ring: RwLock<Ring>,
    /// Counts what was added.
    news: watch::Sender<u64>,
    closed: AtomicBool,
    open: Mutex<Open>,
    streams_max: usize,
    per_caller_max: usize,
}

#[derive(Default)]
struct Ring {
    facts: VecDeque<Arc<StreamFact>>,
    facts_max: usize,
    bytes: usize,
    /// Every fact after this one is in `facts`. None: nobody follows yet.
    floor: Option<Position>,
    newest: Position,
}

#[derive(Default)]
struct Open {
    all: usize,
    by_caller: BTreeMap<String, usize>,
}

/// What a reader wants to hear.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub org: Slug,
    pub project: Slug,
    pub kinds: Vec<Kind>,
    /// Of one aggregate only.
    pub id: Option<String>,
}

impl Filter {
    fn matches(&self, aggregate: &Aggregate) -> bool {
        aggregate.project() == Some(&self.project)
            && *aggregate.org() == self.org
            && self.kinds.contains(&aggregate.kind())
            && self.id.as_ref().is_none_or(|id| *id == aggregate.id())
    }
}

/// One reader. Dropping it frees its place among the open streams.
pub struct FactStream {
    control: Control,
    caller: Caller,
    filter: Filter,
    /// Facts up to here were looked at.
    after: Position,
    news: watch::Receiver<u64>,
    quiet_at: Instant,
    /// It named a place that does not exist.
    misplaced: bool,
    /// Something was handed out already.
    begun: bool,
    ended: bool,
}

impl Streams {
    pub fn new(settings: &ControlSettings) -> Streams {
        let (streams_max, per_caller_max) = (settings.streams_max, settings.streams_per_key_max);
        let ring = Ring { facts_max: settings.stream_facts_max, ..Ring::default() };
        Streams {
            ring: RwLock::new(ring),
            news: watch::Sender::new(0),
            closed: AtomicBool::new(false),
            open: Mutex::default(),
            streams_max,
            per_caller_max,
        }
    }

    /// From here on every fact is added; what was before cannot be had.
    pub fn begin(&self, position: Position) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        *ring = Ring { floor: Some(position), newest: position, facts_max: ring.facts_max, ..Ring::default() };
        drop(ring);
        self.tell();
    }

    pub fn add(&self, fact: &Recorded) {
        self.ring.write().unwrap_or_else(PoisonError::into_inner).add(fact);
        self.tell();
    }

    /// Ends all streams, and lets none begin.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.tell();
    }

    fn tell(&self) {
        self.news.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn admit(&self, caller: &str) -> Result<(), ApiError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_caller = open.by_caller.get(caller).copied().unwrap_or(0);
        let limited = |what: String| Err(ApiError::new(ErrorCode::RateLimited, what));
        if of_caller >= self.per_caller_max {
            return limited(format!("Too many open streams: {of_caller} of this API key. Close one first."));
        }
        if open.all >= self.streams_max {
            return limited("Too many open streams on this replica. Try again later.".to_owned());
        }
        open.all += 1;
        open.by_caller.insert(caller.to_owned(), of_caller + 1);
        Ok(())
    }

    fn leave(&self, caller: &str) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all = open.all.saturating_sub(1);
        if let Some(count) = open.by_caller.get_mut(caller) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.by_caller.remove(caller);
            }
        }
    }
}

impl Ring {
    fn add(&mut self, fact: &Recorded) {
        if fact.position <= self.newest {
            return;
        }
        self.newest = fact.position;
        if !matches!(fact.aggregate.kind(), Kind::Node | Kind::Bundle | Kind::Rollout) {
            return;
        }
        let told = StreamFact::of(fact);
        self.bytes += told.json.len();
        self.facts.push_back(Arc::new(told));
        while self.facts.len() > self.facts_max || self.bytes > RING_BYTES_MAX {
            let Some(oldest) = self.facts.pop_front() else { break };
            self.bytes -= oldest.json.len();
            self.floor = Some(oldest.position);
        }
    }

    /// The next piece after a position, and where it ends; none when some of it is gone.
    fn piece(&self, after: Position, filter: &Filter) -> Option<(Vec<Arc<StreamFact>>, Position)> {
        if self.floor.is_none_or(|floor| after < floor) {
            return None;
        }
        let from = self.facts.partition_point(|fact| fact.position <= after);
        let (mut piece, mut bytes) = (Vec::new(), 0);
        for fact in self.facts.range(from..).filter(|fact| filter.matches(&fact.aggregate)) {
            bytes += fact.json.len();
            piece.push(fact.clone());
            if piece.len() == PIECE_FACTS_MAX || bytes >= PIECE_BYTES_MAX {
                return Some((piece, fact.position));
            }
        }
        // A reader that knew of newer facts than this replica keeps its place.
        Some((piece, self.newest.max(after)))
    }
}

impl StreamFact {
    fn of(fact: &Recorded) -> StreamFact {
        let subject = fact.aggregate.subject(fact.envelope.event.name());
        let body = fact.envelope.encode();
        // The body is an object with fields, and neither a position nor a subject has anything to escape.
        let mut json = format!(r#"{{"position":{},"subject":"{subject}","#, fact.position).into_bytes();
        json.extend_from_slice(body.get(1..).unwrap_or_default());
        StreamFact {
            position: fact.position,
            name: fact.envelope.event.type_name(),
            json: json.into(),
            aggregate: fact.aggregate.clone(),
        }
    }
}

impl FactStream {
    /// Begins after a position, or with what happens from now on.
    pub(crate) async fn begin(
        control: &Control,
        caller: &Caller,
        filter: Filter,
        after: Option<Position>,
    ) -> Result<FactStream, ApiError> {
        if after.is_some_and(|after| after > control.position()) {
            control.catch_up().await?;
        }
        let streams = control.streams();
        let begun = streams.ring.read().unwrap_or_else(PoisonError::into_inner).floor.is_some();
        if streams.is_closed() || !begun {
            return Err(crate::execute::unavailable("this replica does not stream now; try again"));
        }
        streams.admit(&caller.actor.to_string())?;
        let known = control.position();
        // A place beyond the journal's end is none of this journal's.
        let misplaced = after.is_some_and(|after| after > known);
        let after = after.unwrap_or(known);
        let (control, caller, news) = (control.clone(), caller.clone(), streams.news.subscribe());
        let quiet_at = Instant::now() + control.settings().stream_quiet;
        Ok(FactStream { control, caller, filter, after, news, quiet_at, misplaced, begun: false, ended: false })
    }

    /// None: the stream is over, as when its key is revoked or the replica stops.
    pub async fn next(&mut self) -> Option<StreamItem> {
        let item = self.find().await?;
        self.begun = true;
        self.quiet_at = Instant::now() + self.control.settings().stream_quiet;
        Some(item)
    }

    async fn find(&mut self) -> Option<StreamItem> {
        loop {
            // First the count, then the look: what is added after the look changes the count.
            self.news.borrow_and_update();
            if self.ended || self.control.streams().is_closed() || !self.is_allowed() {
                return None;
            }
            match self.look() {
                Some(facts) if !facts.is_empty() => return Some(StreamItem::Facts(facts)),
                Some(_) => {}
                None => return Some(self.reset()),
            }
            match tokio::time::timeout_at(self.quiet_at, self.news.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => return Some(StreamItem::Quiet { position: self.after }),
            }
        }
    }

    /// None: something is missing.
    fn look(&mut self) -> Option<Vec<Arc<StreamFact>>> {
        if std::mem::take(&mut self.misplaced) {
            return None;
        }
        let ring = self.control.streams().ring.read().unwrap_or_else(PoisonError::into_inner);
        let (facts, after) = ring.piece(self.after, &self.filter)?;
        self.after = after;
        Some(facts)
    }

    /// Who comes from too far back goes on from now. Who read too slowly is cut off.
    fn reset(&mut self) -> StreamItem {
        self.ended = self.begun;
        self.after = self.control.streams().ring.read().unwrap_or_else(PoisonError::into_inner).newest;
        StreamItem::Reset { position: self.after }
    }

    /// A key that is revoked or expires ends its streams.
    fn is_allowed(&self) -> bool {
        let Actor::ApiKey(id) = &self.caller.actor else { return true };
        let Ok(id) = id.parse::<ApiKeyId>() else { return false };
        self.control.views().read().orgs.api_key(id).is_some_and(|key| key.is_live(now()))
    }
}

impl Drop for FactStream {
    fn drop(&mut self) {
        self.control.streams().leave(&self.caller.actor.to_string());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use domain::{CommandId, Envelope, Event, NodeId, node};

    fn fact(position: u64, project: &str) -> Recorded {
        let id = NodeId::from_parts(position, [1; 10]);
        let aggregate = Aggregate::Node { org: "o".parse().unwrap(), project: project.parse().unwrap(), id };
        let event = Event::Node(node::Event::Deleted(node::Deleted {}));
        let (command, time) = (CommandId([1; 16]), jiff::Timestamp::UNIX_EPOCH);
        let envelope = Envelope { command, index: 0, time, actor: Actor::System, request: None, event };
        Recorded { position: Position(position), aggregate, envelope }
    }

    fn filter() -> Filter {
        let (org, project) = ("o".parse().unwrap(), "p".parse().unwrap());
        Filter { org, project, kinds: vec![Kind::Node], id: None }
    }

    fn ring(facts_max: usize) -> Ring {
        Ring { floor: Some(Position(10)), newest: Position(10), facts_max, ..Ring::default() }
    }

    fn seen(ring: &Ring, after: u64) -> Option<(Vec<u64>, u64)> {
        let (facts, end) = ring.piece(Position(after), &filter())?;
        Some((facts.iter().map(|fact| fact.position.0).collect(), end.0))
    }

    #[test]
    fn a_place_is_kept_over_facts_of_others_and_repeats() {
        let mut ring = ring(10);
        [fact(11, "p"), fact(12, "q"), fact(12, "q"), fact(11, "p"), fact(14, "p"), fact(15, "q")]
            .iter()
            .for_each(|fact| ring.add(fact));
        assert_eq!(seen(&ring, 10), Some((vec![11, 14], 15)));
        assert_eq!(seen(&ring, 11), Some((vec![14], 15)));
        assert_eq!(seen(&ring, 15), Some((vec![], 15)));
        assert_eq!(seen(&ring, 99), Some((vec![], 99)), "ahead of this replica");
        assert_eq!(seen(&ring, 9), None);
    }

    #[test]
    fn what_falls_out_is_known_to_be_gone() {
        let mut ring = ring(2);
        (11..=14).for_each(|n| ring.add(&fact(n, "p")));
        assert_eq!((seen(&ring, 11), seen(&ring, 12)), (None, Some((vec![13, 14], 14))));
        assert_eq!(ring.bytes, ring.facts.iter().map(|fact| fact.json.len()).sum::<usize>());
        assert_eq!(seen(&Ring::default(), 99), None, "nobody follows yet");
    }

    #[test]
    fn a_piece_is_bounded_and_goes_on_where_it_ended() {
        let mut ring = ring(1000);
        (11..=11 + 2 * PIECE_FACTS_MAX as u64).for_each(|n| ring.add(&fact(n, "p")));
        let (first, end) = seen(&ring, 10).unwrap();
        assert_eq!((first.len(), end), (PIECE_FACTS_MAX, *first.last().unwrap()));
        assert_eq!(seen(&ring, end).unwrap().0[0], end + 1);
    }

    #[test]
    fn a_told_fact_is_one_line_of_json() {
        let told = StreamFact::of(&fact(7, "p"));
        let json: serde_json::Value = serde_json::from_slice(&told.json).unwrap();
        assert_eq!((&json["position"], &json["type"]), (&7.into(), &"node.deleted".into()));
        assert!(!told.json.contains(&b'\n'));
    }
}
