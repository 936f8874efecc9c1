//! Events are forever: every version has a file of the exact bytes that it is written as, and is read from.

use super::{expect_file, here, samples};
use crate::{DecodeError, Envelope, Event, Position};
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

fn every_event_of_the_catalogue_has_a_golden_and_every_golden_an_event() {
    let catalogue = Event::catalogue();
    let declared: BTreeSet<String> =
        catalogue.iter().map(|d| format!("{}.{}.v{}.json", d.kind.token(), d.name, d.version)).collect();
    assert_eq!(declared.len(), catalogue.len(), "two events share a name");
    let files = std::fs::read_dir(here("goldens")).unwrap();
    let found: BTreeSet<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(found, declared);
    let sampled: BTreeSet<String> = samples::all().iter().map(|(_, envelope)| file_name(&envelope.event)).collect();
    assert_eq!(sampled, declared);
}

#[test]
fn an_event_or_version_of_the_future_is_an_error() {
    for (aggregate, envelope) in samples::all() {
        let (name, body) = (envelope.event.name(), String::from_utf8(envelope.encode()).unwrap());
        let type_name = envelope.event.type_name();
        let newer = body.replacen("\"v\":1", "\"v\":2", 1);
        let found = Envelope::decode(Position(1), &aggregate.subject(name), newer.as_bytes());
        let expected = format!("{type_name} v2");
        assert!(matches!(&found, Err(DecodeError::UnknownEvent { found, .. }) if *found == expected), "{found:?}");
        let renamed = body.replacen(&type_name, &format!("{type_name}_again"), 1);
        let subject = aggregate.subject(&format!("{name}_again"));
        let found = Envelope::decode(Position(1), &subject, renamed.as_bytes());
        let expected = format!("{type_name}_again v1");
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
