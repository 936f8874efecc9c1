//! Which commands with an `Idempotency-Key` have been carried out in the last 24 hours, and as what.

use domain::{Aggregate, CommandId, Position, Recorded};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};

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
        Aggregate::parse(&self.subject)
            .ok()
            .map(|(aggregate, _)| aggregate)
    }
}

#[derive(Debug, Default)]
pub struct Commands {
    done: HashMap<CommandId, Done>,
    by_age: VecDeque<(Timestamp, CommandId)>,
}

impl Commands {
    pub fn get(&self, id: &CommandId) -> Option<&Done> {
        self.done.get(id)
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = (&CommandId, &Done)> {
        self.by_age
            .iter()
            .filter_map(|(_, id)| Some((id, self.done.get(id)?)))
    }

    pub(crate) fn apply(&mut self, fact: &Recorded) {
        let Some(request) = fact.envelope.request else {
            return;
        };
        let subject = fact.aggregate.subject(fact.envelope.event.name());
        let done = Done {
            position: fact.position,
            time: fact.envelope.time,
            subject,
            request,
        };
        self.insert(fact.envelope.command, done);
    }

    pub(crate) fn insert(&mut self, id: CommandId, done: Done) {
        let oldest = done
            .time
            .saturating_sub(SignedDuration::from_hours(KEPT_H))
            .unwrap_or(Timestamp::MIN);
        while let Some((time, old)) = self.by_age.front()
            && *time < oldest
        {
            self.done.remove(old);
            self.by_age.pop_front();
        }
        self.by_age.push_back((done.time, id));
        self.done.insert(id, done);
    }
}
