//! Durable pull consumers of `FLEET`. Whoever follows one asks for messages and acknowledges them without this crate.

use super::JetStream;
use crate::contract::{Durable, DurableStart, DurableState, Durables, StoreError};
use crate::declaration::FLEET;
use domain::Position;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::time::Duration;

/// How long a fact may be worked on before it is delivered again: also how long a subscriber that died waits for what it had.
const ACK_WAIT: Duration = Duration::from_secs(30);
/// Facts that may be delivered and not acknowledged at once.
const ACK_PENDING_MAX: u32 = 1000;
/// Pages of a list; one that has not ended then is a defect.
const PAGES_MAX: usize = 10_000;

#[derive(Deserialize)]
struct Page {
    total: usize,
    #[serde(default)]
    consumers: Option<Vec<Info>>,
}

#[derive(Deserialize)]
struct Info {
    name: String,
    created: Timestamp,
    config: Config,
    delivered: Sequences,
    ack_floor: Sequences,
    num_ack_pending: u64,
    num_pending: u64,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    durable_name: String,
}

#[derive(Deserialize)]
struct Sequences {
    stream_seq: u64,
}

#[derive(Deserialize)]
struct Removed {
    success: bool,
}

impl Durables for JetStream {
    fn create_durable(&self, durable: Durable) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let what = format!("CONSUMER.CREATE.{FLEET}.{}", durable.name);
            let body = json!({"stream_name": FLEET, "action": "create", "config": config(&durable)});
            match self.api.call::<IgnoredAny>(&what, body.to_string().into_bytes()).await {
                Ok(_) => Ok(()),
                Err(failure) if failure.is_other_consumer() => Err(StoreError::Conflict),
                Err(failure) => Err(failure.into()),
            }
        })
    }

    fn durables(&self) -> BoxFuture<'_, Result<Vec<DurableState>, StoreError>> {
        Box::pin(async move {
            let (mut all, mut offset) = (Vec::new(), 0);
            for _ in 0..PAGES_MAX {
                let body = json!({ "offset": offset }).to_string().into_bytes();
                let page: Page = self.api.call(&format!("CONSUMER.LIST.{FLEET}"), body).await?;
                let consumers = page.consumers.unwrap_or_default();
                offset += consumers.len();
                let ended = consumers.is_empty() || offset >= page.total;
                all.extend(consumers.into_iter().filter(|info| !info.config.durable_name.is_empty()).map(state));
                if ended {
                    all.sort_by(|a, b| a.name.cmp(&b.name));
                    return Ok(all);
                }
            }
            Err(StoreError::Unavailable("the list of consumers does not end".to_owned()))
        })
    }

    fn remove_durable(&self, name: &str) -> BoxFuture<'_, Result<(), StoreError>> {
        let what = format!("CONSUMER.DELETE.{FLEET}.{name}");
        Box::pin(async move {
            match self.api.call::<Removed>(&what, Vec::new()).await {
                Ok(Removed { success: true }) => Ok(()),
                Ok(_) => Err(StoreError::Unavailable("the consumer was not removed".to_owned())),
                Err(failure) if failure.is_missing_consumer() => Ok(()),
                Err(failure) => Err(failure.into()),
            }
        })
    }
}

/// It stays however long nobody asks it for messages: only `remove_durable` ends it.
fn config(durable: &Durable) -> Value {
    let ack_wait_ns = u64::try_from(ACK_WAIT.as_nanos()).unwrap_or(u64::MAX);
    let mut config = json!({"name": durable.name, "durable_name": durable.name, "filter_subject": durable.filter,
        "ack_policy": "explicit", "ack_wait": ack_wait_ns, "max_ack_pending": ACK_PENDING_MAX, "max_deliver": -1,
        "replay_policy": "instant", "deliver_policy": "all"});
    match durable.start {
        DurableStart::Beginning => {}
        DurableStart::New => config["deliver_policy"] = "new".into(),
        DurableStart::Position(position) => {
            config["deliver_policy"] = "by_start_sequence".into();
            config["opt_start_seq"] = position.0.max(1).into();
        }
        DurableStart::Time(time) => {
            config["deliver_policy"] = "by_start_time".into();
            config["opt_start_time"] = time.max(Timestamp::UNIX_EPOCH).to_string().into();
        }
    }
    config
}

fn state(info: Info) -> DurableState {
    DurableState {
        name: info.name,
        created_at: info.created,
        delivered: Position(info.delivered.stream_seq),
        acknowledged: Position(info.ack_floor.stream_seq),
        unacknowledged: info.num_ack_pending,
        pending: info.num_pending,
    }
}
