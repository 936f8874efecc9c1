//! What `streams/` declares, and nothing else: every stream and bucket has one file there, with every setting that is not the
//! server's neutral value. The number of replicas is the installation's choice and comes with provisioning.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// `FLEET`, the journal.
pub(crate) const FLEET: &str = "FLEET";
pub(crate) const PULSE: &str = "PULSE";
pub(crate) const TELEMETRY: &str = "TELEMETRY";
pub(crate) const BLOBS: &str = "BLOBS";
pub(crate) const SNAPSHOTS: &str = "SNAPSHOTS";

static ALL: LazyLock<Vec<Declaration>> = LazyLock::new(|| {
    [
        include_str!("../../../streams/fleet.toml"),
        include_str!("../../../streams/pulse.toml"),
        include_str!("../../../streams/telemetry.toml"),
        include_str!("../../../streams/blobs.toml"),
        include_str!("../../../streams/snapshots.toml"),
        include_str!("../../../streams/credentials.toml"),
        include_str!("../../../streams/secrets.toml"),
        include_str!("../../../streams/pointers.toml"),
        include_str!("../../../streams/challenges.toml"),
        include_str!("../../../streams/accounts.toml"),
    ]
    .iter()
    .map(|text| toml::from_str(text).expect("a test of this module reads every embedded declaration"))
    .collect()
});

/// One stream or bucket.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// The stream's name; for a bucket the bucket's.
    pub name: String,
    pub kind: Kind,
    /// For people: what it holds and why it is set up this way.
    pub why: String,
    /// Empty for a bucket, whose subjects follow from its name.
    #[serde(default)]
    subjects: Vec<String>,
    transform: Option<Mapping>,
    republish: Option<Mapping>,
    #[serde(default)]
    storage: Storage,
    discard: Discard,
    #[serde(default)]
    discard_new_per_subject: bool,
    duplicate_window_s: u64,
    #[serde(default)]
    deny_delete: bool,
    #[serde(default)]
    deny_purge: bool,
    #[serde(default)]
    allow_atomic_publish: bool,
    #[serde(default)]
    allow_direct: bool,
    limits: Limits,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Stream,
    /// A KV bucket with one version per key.
    Bucket,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mapping {
    from: String,
    to: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Storage {
    #[default]
    File,
    /// Gone with the servers.
    Memory,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Discard {
    Old,
    New,
}

/// Absent: unlimited.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    age_s: Option<u64>,
    bytes: Option<i64>,
    messages_per_subject: Option<i64>,
    message_bytes: Option<i64>,
    consumers: i64,
}

impl Declaration {
    /// All of them, the journal first.
    pub fn all() -> &'static [Declaration] {
        &ALL
    }

    /// The name under which the server knows it.
    pub fn stream(&self) -> String {
        match self.kind {
            Kind::Stream => self.name.clone(),
            Kind::Bucket => format!("KV_{}", self.name),
        }
    }

    /// The subjects that a writer publishes on.
    pub fn subjects(&self) -> Vec<String> {
        match self.kind {
            Kind::Stream => self.subjects.clone(),
            Kind::Bucket => vec![format!("$KV.{}.>", self.name)],
        }
    }

    pub(crate) fn is_direct(&self) -> bool {
        self.allow_direct
    }

    /// The stream's configuration as the server's API spells it.
    pub(crate) fn config(&self, replicas: usize) -> Map<String, Value> {
        let limits = &self.limits;
        let mut config = json!({
            "name": self.stream(),
            "description": self.why.split_whitespace().collect::<Vec<_>>().join(" "),
            "subjects": self.subjects(),
            "retention": "limits",
            "storage": match self.storage { Storage::File => "file", Storage::Memory => "memory" },
            "compression": "none",
            "num_replicas": replicas,
            "discard": match self.discard { Discard::Old => "old", Discard::New => "new" },
            "discard_new_per_subject": self.discard_new_per_subject,
            "duplicate_window": self.duplicate_window_s * 1_000_000_000,
            "max_age": limits.age_s.unwrap_or(0) * 1_000_000_000,
            "max_bytes": limits.bytes.unwrap_or(-1),
            "max_msgs": -1,
            "max_msgs_per_subject": limits.messages_per_subject.unwrap_or(-1),
            "max_msg_size": limits.message_bytes.unwrap_or(-1),
            "max_consumers": limits.consumers,
            "deny_delete": self.deny_delete,
            "deny_purge": self.deny_purge,
            "allow_rollup_hdrs": false,
            "allow_msg_ttl": false,
            "allow_msg_schedules": false,
            "allow_atomic": self.allow_atomic_publish,
            "allow_direct": self.allow_direct,
        });
        if let Some(transform) = &self.transform {
            config["subject_transform"] = json!({ "src": transform.from, "dest": transform.to });
        }
        if let Some(republish) = &self.republish {
            config["republish"] = json!({ "src": republish.from, "dest": republish.to });
        }
        match config {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_file_of_the_directory_is_embedded() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../streams");
        let mut files: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let mut declared: Vec<String> =
            Declaration::all().iter().map(|d| format!("{}.toml", d.name.to_lowercase())).collect();
        declared.sort();
        assert_eq!(files, declared);
    }

    #[test]
    fn the_journal_has_no_way_to_lose_a_fact() {
        let fleet = Declaration::all()[0].config(3);
        for (field, value) in [
            ("name", json!(FLEET)),
            ("subjects", json!(["append.>"])),
            ("subject_transform", json!({"src": "append.>", "dest": "fleet.>"})),
            ("republish", json!({"src": "fleet.>", "dest": "fleet.>"})),
            ("num_replicas", json!(3)),
            ("storage", json!("file")),
            ("discard", json!("new")),
            ("max_age", json!(0)),
            ("max_bytes", json!(-1)),
            ("max_msgs", json!(-1)),
            ("max_msgs_per_subject", json!(-1)),
            ("deny_delete", json!(true)),
            ("deny_purge", json!(true)),
            ("allow_rollup_hdrs", json!(false)),
            ("allow_msg_ttl", json!(false)),
            ("allow_msg_schedules", json!(false)),
        ] {
            assert_eq!(fleet.get(field), Some(&value), "{field}");
        }
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let text = include_str!("../../../streams/pulse.toml").replace("age_s", "max_age_s");
        let error = toml::from_str::<Declaration>(&text).unwrap_err().to_string();
        assert!(error.contains("max_age_s"), "{error}");
    }
}
