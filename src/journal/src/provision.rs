//! Streams and buckets come into being here, as `streams/` declares them, by a user of its own.
//!
//! Invariant: what is there already is compared and never changed. The server quietly alters settings that contradict each
//! other, and people alter them on purpose; either way the difference is reported and Pilothouse does not start on it.

use crate::declaration::Declaration;
use crate::jetstream::{Api, Failure};
use async_nats::Client;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;
use thiserror::Error;
use tokio::time::Instant;

/// How long a cluster that has just started may take to elect who answers.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(100);
/// Settings that say nothing about what is kept: for people, or the server's own notes, or where an operator wants the data.
const FREE_FIELDS: [&str; 3] = ["description", "metadata", "placement"];

/// A setting that is not as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub stream: String,
    /// As the server's API spells it; empty when the whole stream is missing.
    pub field: String,
    pub declared: String,
    pub found: String,
}

#[derive(Debug, Error)]
pub enum ProvisionError {
    #[error("the streams are not as declared: {}", sentence(.0))]
    Drift(Vec<Difference>),
    #[error("stream {stream} could not be created or read: {cause}")]
    Refused { stream: String, cause: String },
}

#[derive(Deserialize)]
struct Described {
    config: Map<String, Value>,
}

/// Creates what is missing, then compares everything with what is declared. `replicas` is the number of servers that keep each
/// message: 1 or 3.
pub async fn provision(client: &Client, replicas: usize) -> Result<(), ProvisionError> {
    let api = Api::new(client.clone());
    let mut differences = Vec::new();
    for declaration in Declaration::all() {
        let declared = declaration.config(replicas);
        let found = match read(&api, declaration).await? {
            Some(found) => found,
            None => create(&api, declaration, &declared).await?,
        };
        compare(declaration, &declared, &found, &mut differences);
    }
    match differences.is_empty() {
        true => Ok(()),
        false => Err(ProvisionError::Drift(differences)),
    }
}

/// Compares without creating anything.
pub async fn diff(client: &Client, replicas: usize) -> Result<Vec<Difference>, ProvisionError> {
    let api = Api::new(client.clone());
    let mut differences = Vec::new();
    for declaration in Declaration::all() {
        match read(&api, declaration).await? {
            Some(found) => compare(declaration, &declaration.config(replicas), &found, &mut differences),
            None => differences.push(Difference {
                stream: declaration.stream(),
                field: String::new(),
                declared: "present".to_owned(),
                found: "missing".to_owned(),
            }),
        }
    }
    Ok(differences)
}

async fn read(api: &Api, declaration: &Declaration) -> Result<Option<Map<String, Value>>, ProvisionError> {
    let what = format!("STREAM.INFO.{}", declaration.stream());
    match ask(api, &what, Vec::new()).await {
        Ok(found) => Ok(Some(found)),
        Err(failure) if failure.is_missing_stream() => Ok(None),
        Err(failure) => Err(refused(declaration, &failure)),
    }
}

async fn create(
    api: &Api,
    declaration: &Declaration,
    config: &Map<String, Value>,
) -> Result<Map<String, Value>, ProvisionError> {
    let what = format!("STREAM.CREATE.{}", declaration.stream());
    let body = Value::Object(config.clone()).to_string().into_bytes();
    match ask(api, &what, body).await {
        Ok(found) => {
            tracing::info!(stream = declaration.stream(), "created");
            Ok(found)
        }
        // Another replica may have been first, perhaps with other settings: those are compared like any.
        Err(failure) => match read(api, declaration).await? {
            Some(found) => Ok(found),
            None => Err(refused(declaration, &failure)),
        },
    }
}

async fn ask(api: &Api, what: &str, body: Vec<u8>) -> Result<Map<String, Value>, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match api.call::<Described>(what, body.clone()).await {
            Ok(described) => return Ok(described.config),
            Err(failure) if failure.is_passing() && Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
            Err(failure) => return Err(failure),
        }
    }
}

fn compare(
    declaration: &Declaration,
    declared: &Map<String, Value>,
    found: &Map<String, Value>,
    differences: &mut Vec<Difference>,
) {
    let fields: BTreeSet<&String> = declared.keys().chain(found.keys()).collect();
    for field in fields {
        let (want, have) = (declared.get(field), found.get(field));
        let is_same = want == have || (is_neutral(want) && is_neutral(have));
        if is_same || FREE_FIELDS.contains(&field.as_str()) {
            continue;
        }
        let text = |value: Option<&Value>| value.map_or("not set".to_owned(), Value::to_string);
        let (declared, found) = (text(want), text(have));
        differences.push(Difference { stream: declaration.stream(), field: field.clone(), declared, found });
    }
}

/// What the server leaves out, or writes out, when a setting is not used. Minus one is not among them: for a limit, it and zero
/// are different things.
fn is_neutral(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) | Some(Value::Bool(false)) => true,
        Some(Value::Number(number)) => number.as_i64() == Some(0),
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(Value::Bool(true)) => false,
    }
}

fn refused(declaration: &Declaration, failure: &Failure) -> ProvisionError {
    ProvisionError::Refused { stream: declaration.stream(), cause: failure.to_string() }
}

fn sentence(differences: &[Difference]) -> String {
    differences.iter().map(Difference::to_string).collect::<Vec<_>>().join("; ")
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { stream, field, declared, found } = self;
        match field.is_empty() {
            true => write!(f, "{stream} is {found}"),
            false => write!(f, "{stream} has {field} = {found}, declared is {declared}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn every_setting_is_compared_whether_we_know_it_or_not() {
        let fleet = &Declaration::all()[0];
        let declared = fleet.config(1);
        let mut found = declared.clone();
        found.insert("metadata".to_owned(), json!({ "_nats.ver": "2.15.1" }));
        found.insert("sealed".to_owned(), json!(false));
        found.insert("consumer_limits".to_owned(), json!({}));
        found.remove("allow_rollup_hdrs");
        let differences = |found: &Map<String, Value>| {
            let mut differences = Vec::new();
            compare(fleet, &declared, found, &mut differences);
            differences.iter().map(Difference::to_string).collect::<Vec<_>>()
        };
        assert_eq!(differences(&found), Vec::<String>::new());

        found.insert("allow_rollup_hdrs".to_owned(), json!(true));
        found.insert("max_msgs".to_owned(), json!(5));
        found.insert("something_new".to_owned(), json!("x"));
        found.remove("deny_purge");
        assert_eq!(
            differences(&found),
            [
                "FLEET has allow_rollup_hdrs = true, declared is false",
                "FLEET has deny_purge = not set, declared is true",
                "FLEET has max_msgs = 5, declared is -1",
                "FLEET has something_new = \"x\", declared is not set",
            ]
        );
    }
}
