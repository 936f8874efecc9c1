//! Events are forever: every version has a file of the exact bytes that it is written as, and is read from.

use super::{expect_file, here, samples};
use crate::{Declaration, DecodeError, Envelope, Event, Position, node};
use std::collections::BTreeSet;

fn file_name(event: &Event) -> String {
    format!("{}.v{}.json", event.type_name(), event.version())
}

#[test]
fn every_fact_is_written_as_its_golden_says_and_read_back() {
    for (aggregate, envelope) in samples::all() {
        let path = here("goldens").join(file_name(&envelope.event));
        expect_file(&path, &String::from_utf8(envelope.encode()).unwrap());
        let subject = aggregate.subject(envelope.event.name());
        let read = Envelope::decode(Position(7), &subject, &std::fs::read(&path).unwrap()).unwrap();
        assert_eq!((read.position, read.aggregate, read.envelope), (Position(7), aggregate, envelope));
    }
    every_event_of_the_catalogue_has_a_golden_and_every_golden_an_event();
}

#[test]
fn what_an_earlier_version_wrote_is_still_read() {
    for (aggregate, envelope) in samples::all() {
        let declared = Event::catalogue().into_iter();
        let of_event = |d: &Declaration| (d.kind, d.name) == (envelope.event.kind(), envelope.event.name());
        for version in declared.filter(of_event).flat_map(|declaration| declaration.older) {
            let golden = here("goldens").join(format!("{}.v{version}.json", envelope.event.type_name()));
            let subject = aggregate.subject(envelope.event.name());
            let read = Envelope::decode(Position(7), &subject, &std::fs::read(&golden).unwrap()).unwrap();
            assert_eq!(read.envelope.event.name(), envelope.event.name());
        }
    }
}

#[test]
fn a_node_of_the_first_version_is_approved_and_came_without_a_token() {
    let (aggregate, body) = (samples::node(), std::fs::read(here("goldens/node.registered.v1.json")).unwrap());
    let read = Envelope::decode(Position(7), &aggregate.subject("registered"), &body).unwrap();
    let Event::Node(node::Event::Registered(fact)) = read.envelope.event else { panic!("another event") };
    assert_eq!((fact.join_token_id, fact.approval_required, fact.public_key), (None, false, None));
}

fn every_event_of_the_catalogue_has_a_golden_and_every_golden_an_event() {
    let catalogue = Event::catalogue();
    let declared: BTreeSet<String> =
        catalogue.iter().map(|d| format!("{}.{}.v{}.json", d.kind.token(), d.name, d.version)).collect();
    assert_eq!(declared.len(), catalogue.len(), "two events share a name");
    let files = std::fs::read_dir(here("goldens")).unwrap();
    let found: BTreeSet<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let older = |d: &Declaration| {
        let (kind, name) = (d.kind.token(), d.name);
        d.older.iter().map(|version| format!("{kind}.{name}.v{version}.json")).collect::<Vec<_>>()
    };
    let kept = declared.iter().cloned().chain(catalogue.iter().flat_map(older)).collect();
    assert_eq!(found, kept);
    let sampled: BTreeSet<String> = samples::all().iter().map(|(_, envelope)| file_name(&envelope.event)).collect();
    assert_eq!(sampled, declared);
}

#[test]
fn an_event_or_version_of_the_future_is_an_error() {
    for (aggregate, envelope) in samples::all() {
        let (name, body) = (envelope.event.name(), String::from_utf8(envelope.encode()).unwrap());
        let type_name = envelope.event.type_name();
        let (this, next) = (envelope.event.version(), envelope.event.version() + 1);
        let newer = body.replacen(&format!("\"v\":{this}"), &format!("\"v\":{next}"), 1);
        let found = Envelope::decode(Position(1), &aggregate.subject(name), newer.as_bytes());
        let expected = format!("{type_name} v{next}");
        assert!(matches!(&found, Err(DecodeError::UnknownEvent { found, .. }) if *found == expected), "{found:?}");
        let renamed = body.replacen(&type_name, &format!("{type_name}_again"), 1);
        let subject = aggregate.subject(&format!("{name}_again"));
        let found = Envelope::decode(Position(1), &subject, renamed.as_bytes());
        let expected = format!("{type_name}_again v{this}");
        assert!(matches!(&found, Err(DecodeError::UnknownEvent { found, .. }) if *found == expected), "{found:?}");
    }
}

#[test]
fn the_catalogue_tells_what_every_event_means() {
    for declaration in Event::catalogue() {
        let Some(last) = declaration.doc.chars().last() else { panic!("{} says nothing", declaration.name) };
        assert_eq!(last, '.', "{}.{}", declaration.kind.token(), declaration.name);
    }
}
