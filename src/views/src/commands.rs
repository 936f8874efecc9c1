//! Which commands with an `Idempotency-Key` have been carried out in the last 24 hours, and as what.

use domain::{Aggregate, CommandId, Position, Recorded};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};

/// How long a repeat is recognised.
const KEPT_H: i64 = 24;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    pub position: Position,
    pub time: Timestamp,
    /// Stored subject of the (last) fact: which resource the command made or changed.
    pub subject: String,
    /// Hash of the request body, see [`domain::Envelope::request`].
    pub request: u64,
}

impl Done {
    pub fn aggregate(&self) -> Option<Aggregate> {
        Aggregate::parse(&self.subject).ok().map(|(aggregate, _)| aggregate)
    }
}

#[derive(Debug, Default, PartialEq)]
pub struct Commands {
    done: HashMap<CommandId, Done>,
    by_age: BTreeSet<(Timestamp, CommandId)>,
}

impl Commands {
    pub fn get(&self, id: &CommandId) -> Option<&Done> {
        self.done.get(id)
    }

    /// Oldest first.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&CommandId, &Done)> {
        self.by_age.iter().filter_map(|(_, id)| Some((id, self.done.get(id)?)))
    }

    pub(crate) fn apply(&mut self, fact: &Recorded) {
        let Some(request) = fact.envelope.request else {
            return;
        };
        let subject = fact.aggregate.subject(fact.envelope.event.name());
        let done = Done { position: fact.position, time: fact.envelope.time, subject, request };
        self.insert(fact.envelope.command, done);
    }

    pub(crate) fn insert(&mut self, id: CommandId, done: Done) {
        self.by_age.insert((done.time, id));
        if let Some(old) = self.done.insert(id, done)
            && self.done.get(&id).is_some_and(|new| new.time != old.time)
        {
            self.by_age.remove(&(old.time, id));
        }
        // Age counts from the newest time that any writer gave, so that the order of insertion does not matter.
        let newest = self.by_age.last().map_or(Timestamp::MIN, |(time, _)| *time);
        let oldest = newest.saturating_sub(SignedDuration::from_hours(KEPT_H)).unwrap_or(Timestamp::MIN);
        while let Some((time, old)) = self.by_age.first().copied()
            && time < oldest
        {
            self.by_age.pop_first();
            self.done.remove(&old);
        }
    }
}
