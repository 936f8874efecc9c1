//! Subscribers, by org. Those that are removed stay: their keys make no other one.

use domain::subscriber::{Event, Subscriber};
use domain::{Position, Slug, SubscriberId};
use jiff::Timestamp;
use std::collections::BTreeMap;

#[derive(Debug, Default, PartialEq)]
pub struct Subscribers {
    by_id: BTreeMap<SubscriberId, Subscriber>,
}

impl Subscribers {
    pub fn get(&self, id: &SubscriberId) -> Option<&Subscriber> {
        self.by_id.get(id)
    }

    /// Those that are there.
    pub fn live<'s>(&'s self, org: &Slug) -> impl Iterator<Item = &'s Subscriber> {
        self.by_id.values().filter(move |subscriber| subscriber.is_live() && subscriber.org == *org)
    }

    /// Where the newest subscriber of the org was created: guards their names.
    pub fn created_position(&self, org: &Slug) -> Position {
        let of_org = self.by_id.values().filter(|subscriber| subscriber.org == *org);
        of_org.map(|subscriber| subscriber.created_position).max().unwrap_or(Position::START)
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &Subscriber> {
        self.by_id.values()
    }

    pub(crate) fn apply(
        &mut self,
        (org, id): (&Slug, &SubscriberId),
        event: &Event,
        time: Timestamp,
        position: Position,
    ) {
        match event {
            Event::Created(fact) => {
                self.insert(Subscriber::created(org.clone(), id.clone(), fact, time, position));
            }
            Event::Removed(_) => {
                if let Some(subscriber) = self.by_id.get_mut(id) {
                    subscriber.evolve(event, time, position);
                }
            }
        }
    }

    pub(crate) fn insert(&mut self, subscriber: Subscriber) {
        self.by_id.insert(subscriber.id.clone(), subscriber);
    }
}
