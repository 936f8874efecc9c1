//! `docs/events.md`, written from the declarations of the events and from the samples that the goldens hold.

use super::{expect_file, here, samples};
use crate::{Aggregate, Declaration, Envelope, Event};
use serde_json::{Map, Value};
use std::fmt::Write;

const HEAD: &str = "\
# Events

Everything that happens in Pilothouse is a fact in its journal, the JetStream stream `FLEET`. The journal is the public
contract: this is the catalogue of its facts. An event version never changes; a change of shape is a new version beside it.

This file is generated from `src/domain` (`UPDATE=1 cargo test -p domain`); the examples are the goldens that the tests hold.

## Subjects

A fact stands under `fleet.<org>.<project>.<kind>.<id>.<event>`. Org and project are slugs; a fact of an org, of an API
key or of a host that enrolls has `_` as project. The id of an org or project is its slug, that of an enrollment the host's own
id, every other id is a UUIDv7. Names, versions and labels never appear in a subject.

| to hear of | subscribe to |
|---|---|
| everything | `fleet.>` |
| one project | `fleet.default.demo.>` |
| the org itself, its API keys and its hosts | `fleet.default._.>` |
| every host that waits for approval | `fleet.*._.enrollment.*.submitted` |
| every node that goes offline | `fleet.*.*.node.*.offline` |
| one rollout | `fleet.*.*.rollout.<id>.>` |

## Subscribing

Any NATS client whose user may subscribe to `fleet.>` (an operator's may) hears facts as plain messages. Writers publish
elsewhere and the server republishes to `fleet.>` what it has stored: what was refused, or was part of a batch that was not
committed, is never heard, and every fact is heard once, in order, while the subscription is up.

The header `Nats-Sequence` is the position of the fact in the journal: the number that answers of the API carry as
`X-Pilothouse-Position`. Positions only grow and none is left out, so a subscriber to `fleet.>` that sees a jump has missed
facts (its connection was away); time stamps and ids say nothing about the order. A message without this header was not
stored and is not a fact: drop it. The facts of one command stand at consecutive positions and are stored all or none.

Whoever must not miss anything remembers the position of the last fact that it has dealt with and reads the stream `FLEET`
from the next one with an ordered consumer (`opt_start_seq`), as the control plane itself does; that takes a user who may
create consumers on the stream. Reading a fact twice is recognised by its position, or by its `id`.

An event or version that a reader does not know is a reason to stop and upgrade. Pilothouse's own readers never skip one.

## Over HTTP

`GET /api/v1/projects/{slug}/stream` with an API key tells the facts of one project about nodes, rollouts and bundles as
server-sent events: `id` is the position, `event` the `type`, and `data` the body below with `position` and `subject` beside its
fields. `kind` and `id` choose; each kind needs its read scope. Positions of other projects are left out, so a jump means nothing
here: when facts are missing, the event `reset` says so, and what is known must be read anew. `after` or `Last-Event-ID` goes on
where a reader stopped, as far back as the replica's memory goes.

## The body

JSON, one object:

| field | type | meaning |
|---|---|---|
| `id` | string | `<command>.<index>`: the command that caused it, 32 hex digits, and the index among the facts of that command. Unique. |
| `type` | string | `<kind>.<event>`, as in the subject. |
| `v` | integer | Version of the shape of `data`. |
| `time` | string | RFC 3339, the clock of the replica that decided. |
| `actor` | string | Who caused it: `system`, `anonymous`, `api_key:<id>`, `node:<id>`, `join_token:<id>`, `host:<id>` or `operator:<nkey>`. |
| `request` | string, optional | First 8 bytes of the SHA-256 of the request body, 16 hex digits, where the command came with an `Idempotency-Key`. |
| `data` | object | What happened, by `type` and `v`. |

Secrets and personal data are never in it.

## CloudEvents

The fields carry CloudEvents 1.0 names where they overlap. The other attributes follow from the subject or are constant, so
they are derived and not stored:

| attribute | from |
|---|---|
| `specversion` | always `1.0` |
| `id` | `id` |
| `source` | `/<org>/<project>`, second and third token of the subject |
| `type` | `type` |
| `subject` | `<kind>/<id>`, fourth and fifth token of the subject |
| `time` | `time` |
| `datacontenttype` | always `application/json` |
| `dataschema` | `urn:pilothouse:event:<type>:v<v>` |
| `data` | `data` |
| `sequence` (extension) | the header `Nats-Sequence` |
| `actor` (extension) | `actor` |
";

#[test]
fn the_catalogue_of_events_is_written_down() {
    expect_file(&here("../../docs/events.md"), &document());
}

fn document() -> String {
    let mut text = HEAD.to_owned();
    let catalogue = Event::catalogue();
    text.push_str("\n## All events\n\n| type | version | meaning |\n|---|---|---|\n");
    for event in &catalogue {
        let name = type_name(event);
        writeln!(text, "| [`{name}`](#{}) | {} | {} |", anchor(event), event.version, event.doc).unwrap();
    }
    text.push_str("\nSchemas are JSON Schema, draft 2020-12.\n");
    for event in &catalogue {
        let (aggregate, envelope) = sample(event);
        write_event(&mut text, event, &aggregate, &envelope);
    }
    text
}

fn write_event(text: &mut String, event: &Declaration, aggregate: &Aggregate, envelope: &Envelope) {
    let subject = format!(
        "fleet.<org>.{}.{}.{}.{}",
        if aggregate.project().is_some() { "<project>" } else { "_" },
        event.kind.token(),
        match aggregate {
            Aggregate::Org(_) => "<org>",
            Aggregate::Project { .. } => "<project>",
            _ => "<id>",
        },
        event.name
    );
    let mut schema = event.schema.clone().to_value();
    if let Value::Object(map) = &mut schema {
        map.remove("$schema");
        map.remove("title");
    }
    let example: Value = serde_json::from_slice(&envelope.encode()).unwrap();
    write!(
        text,
        "\n### `{}` v{}\n\n{}\n\nSubject: `{subject}`\n\n```json\n{}\n```\n\nExample:\n\n```json\n{}\n```\n",
        type_name(event),
        event.version,
        event.doc,
        pretty(schema),
        pretty(example)
    )
    .unwrap();
}

fn sample(event: &Declaration) -> (Aggregate, Envelope) {
    let fits = |(_, envelope): &(Aggregate, Envelope)| {
        envelope.event.type_name() == type_name(event) && envelope.event.version() == event.version
    };
    samples::all().into_iter().find(fits).unwrap()
}

fn type_name(event: &Declaration) -> String {
    format!("{}.{}", event.kind.token(), event.name)
}

/// As GitHub derives it from the heading.
fn anchor(event: &Declaration) -> String {
    format!("{}-v{}", type_name(event).replace('.', ""), event.version)
}

/// Keys in alphabetical order, whether or not this build of `serde_json` keeps the order of insertion.
fn pretty(value: Value) -> String {
    serde_json::to_string_pretty(&sorted(value)).unwrap()
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().map(|(key, value)| (key, sorted(value))).collect::<Map<_, _>>())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(sorted).collect()),
        other => other,
    }
}
