//! What an answered mutation survives: read from the servers, never assumed.

use crate::contract::StoreError;
use crate::jetstream::JetStream;
use async_nats::Client;
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;
use std::fmt;
use std::time::Duration;
use tokio::time::timeout;

/// How long the first server may take to answer.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(3);
/// How long to wait for one more server after each answer.
const NEXT_ANSWER_MAX: Duration = Duration::from_millis(250);
const SERVERS_MAX: usize = 64;

/// The durability contract of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durability {
    /// Servers that keep each fact.
    pub replicas: usize,
    pub sync: Sync,
}

/// When a server writes what it acknowledged through to its disk. Ordered: the stronger one is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sync {
    /// Before it acknowledges.
    Always,
    /// So often.
    Interval(Duration),
}

#[derive(Deserialize)]
struct Answer {
    data: Jsz,
}

#[derive(Deserialize)]
struct Jsz {
    config: Option<JszConfig>,
}

#[derive(Deserialize)]
struct JszConfig {
    /// Nanoseconds.
    #[serde(default)]
    sync_interval: u64,
    #[serde(default)]
    sync_always: bool,
}

impl Durability {
    /// Asks every server, through a user of the system account; the weakest of them counts.
    pub async fn read(system: &Client, journal: &JetStream) -> Result<Durability, StoreError> {
        let unavailable = |cause: String| StoreError::Unavailable(cause);
        let inbox = system.new_inbox();
        let mut answers = system.subscribe(inbox.clone()).await.map_err(|error| unavailable(error.to_string()))?;
        let asked = system.publish_with_reply("$SYS.REQ.SERVER.PING.JSZ", inbox, Bytes::from_static(b"{}"));
        asked.await.map_err(|error| unavailable(error.to_string()))?;
        let mut sync = None;
        let mut patience = FIRST_ANSWER_MAX;
        for _ in 0..SERVERS_MAX {
            let Ok(Some(answer)) = timeout(patience, answers.next()).await else { break };
            if answer.status.is_some() {
                break;
            }
            patience = NEXT_ANSWER_MAX;
            // A server without JetStream keeps nothing and has no say.
            if let Some(config) = config(&answer.payload)? {
                sync = sync.max(Some(config));
            }
        }
        let sync = sync.ok_or_else(|| {
            unavailable("no server told its sync setting; is this a user of the system account?".to_owned())
        })?;
        Ok(Durability { replicas: journal.replicas().await?, sync })
    }
}

fn config(payload: &[u8]) -> Result<Option<Sync>, StoreError> {
    let answer: Answer = serde_json::from_slice(payload)
        .map_err(|error| StoreError::Corrupt(format!("the server's JetStream report: {error}")))?;
    Ok(answer.data.config.map(|config| match config.sync_always {
        true => Sync::Always,
        false => Sync::Interval(Duration::from_nanos(config.sync_interval)),
    }))
}

impl fmt::Display for Sync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sync::Always => f.write_str("always"),
            Sync::Interval(every) => write!(f, "every {every:?}"),
        }
    }
}

/// One sentence: what an answered mutation survives.
impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let majority = self.replicas / 2 + 1;
        match (self.replicas, self.sync) {
            (0 | 1, Sync::Always) => f.write_str(
                "an answered mutation survives the crash of every process and a loss of power, but not the loss of the \
                 one disk that keeps it",
            ),
            (0 | 1, Sync::Interval(every)) => write!(
                f,
                "an answered mutation survives the crash of every process; a loss of power can take the last {every:?}, \
                 the loss of the one disk takes everything",
            ),
            (replicas, Sync::Always) => write!(
                f,
                "an answered mutation is on the disks of at least {majority} of {replicas} servers and survives a loss of \
                 power on all of them and the loss of {} of them",
                replicas - majority,
            ),
            (replicas, Sync::Interval(every)) => write!(
                f,
                "an answered mutation is on at least {majority} of {replicas} servers and survives the loss of {} of them; \
                 only a loss of power on {majority} at once can take the last {every:?}",
                replicas - majority,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_is_said_in_one_sentence() {
        let every = Sync::Interval(Duration::from_secs(120));
        let says = |replicas, sync| Durability { replicas, sync }.to_string();
        assert!(says(1, every).contains("a loss of power can take the last 120s"));
        assert!(says(1, Sync::Always).contains("a loss of power, but not the loss of the one disk"));
        assert!(says(3, every).contains("at least 2 of 3 servers and survives the loss of 1"));
        assert!(says(5, Sync::Always).contains("the loss of 2 of them"));
        assert!(Sync::Always < every);
    }
}
