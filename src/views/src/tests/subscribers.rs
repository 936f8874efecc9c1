//! Subscribers keep their names while they live, their keys for good, and come through a snapshot.

use super::history::{History, demo, slug};
use crate::State;
use domain::subscriber::{Created, Event as SubscriberEvent, Removed, Start};
use domain::{Aggregate, Event, Position, SubscriberId};

fn id(letter: char) -> SubscriberId {
    format!("U{}", String::from(letter).repeat(55)).parse().unwrap()
}

fn fact(history: &mut History, letter: char, event: SubscriberEvent) -> Position {
    let aggregate = Aggregate::Subscriber { org: slug("default"), id: id(letter) };
    history.fact(aggregate, Event::Subscriber(event))
}

fn created(name: &str) -> SubscriberEvent {
    let project = Some(demo());
    SubscriberEvent::Created(Created { name: slug(name), project, start: Start::Position(3), expires_at: None })
}

#[test]
fn the_removed_are_remembered_and_all_come_through_a_snapshot() {
    let mut history = History::default();
    fact(&mut history, 'A', created("billing"));
    let newest = fact(&mut history, 'B', created("audit"));
    fact(&mut history, 'A', SubscriberEvent::Removed(Removed {}));
    let restored = State::from_snapshot(&history.state.to_snapshot().unwrap()).unwrap();
    assert_eq!(restored, history.state);
    let org = slug("default");
    let names: Vec<&str> = restored.subscribers.live(&org).map(|subscriber| subscriber.created.name.as_str()).collect();
    assert_eq!(names, ["audit"]);
    assert!(restored.subscribers.get(&id('A')).is_some_and(|subscriber| !subscriber.is_live()));
    let guard = |org: &str| restored.subscribers.created_position(&slug(org));
    assert_eq!((guard("default"), guard("other")), (newest, Position::START));
    assert_eq!(restored.subscribers.live(&slug("other")).count(), 0);
}
