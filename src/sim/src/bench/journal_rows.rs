//! Facts per second through `append`, beside raw publishes of the same size into a stream with the same storage, sync and
//! in-flight count; then the replay row over the facts that this left behind.

use super::servers::Bench;
use super::stage::cpu_us;
use super::{Row, median, replay};
use anyhow::{Result, bail};
use async_nats::jetstream;
use bytes::Bytes;
use domain::node::{Event as NodeEvent, Registered};
use domain::{Actor, Aggregate, CommandId, Envelope, Event, NodeId, Position, Slug};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use journal::{Append, Guard, JetStream, JournalWriter, Outcome};
use runtime::SyncInterval;
use serde_json::json;
use std::future::Future;
use std::time::{Duration, Instant};

/// Three servers share the machine, so their measurements are shorter by this factor.
const FEWER_FACTS: usize = 5;

#[derive(clap::Args)]
pub struct Options {
    /// Facts, and raw publishes, per measurement with one server; with three a fifth of them
    #[arg(long, default_value_t = 30_000)]
    facts: usize,
    /// How many are on their way at once
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
    /// Pairs of measurements
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Facts that the replay row reads
    #[arg(long, default_value_t = 200_000)]
    replay_facts: usize,
}

/// What one measurement cost.
#[derive(Clone, Copy)]
struct Cost {
    per_s: f64,
    /// Processor time of all nats-servers and of this process, per fact: what other work on the machine does not change.
    server_us: f64,
    client_us: f64,
}

pub async fn run(options: &Options) -> Result<Vec<Row>> {
    let scratch = tempfile::tempdir()?;
    let mut rows = Vec::new();
    let syncs = [("synced", SyncInterval::Always), ("not synced", SyncInterval::Every(Duration::from_secs(120)))];
    for (servers, facts) in [(1, options.facts), (3, options.facts / FEWER_FACTS)] {
        for (name, sync) in syncs {
            let dir = scratch.path().join(format!("{servers}-{}", name.replace(' ', "-")));
            let bench = Bench::start(&dir, sync, servers).await?;
            let what = if servers == 1 { "one server".to_owned() } else { format!("{servers} servers") };
            rows.push(appends(&bench, &format!("{what}, {name}"), facts, options).await?);
            if servers == 1 && sync != SyncInterval::Always {
                let there = options.rounds * facts;
                let missing = options.replay_facts.saturating_sub(there);
                append(&bench.store, there, missing, options.in_flight).await?;
                rows.push(replay::run(&bench, there + missing, options.rounds).await?);
            }
        }
    }
    Ok(rows)
}

async fn appends(bench: &Bench, what: &str, facts: usize, options: &Options) -> Result<Row> {
    let mut costs = Vec::new();
    for round in 0..options.rounds {
        let raw = cost(bench, facts, publish_raw(bench, facts, options.in_flight)).await?;
        let appended = append(&bench.store, round * facts, facts, options.in_flight);
        costs.push((cost(bench, facts, appended).await?, raw));
    }
    let pairs: Vec<(f64, f64)> = costs.iter().map(|(measured, raw)| (measured.per_s, raw.per_s)).collect();
    let details = json!({"in_flight": options.in_flight, "facts": facts, "servers": bench.servers(),
    "cpu_us": {
        "server": median(costs.iter().map(|(measured, _)| measured.server_us).collect()),
        "server_baseline": median(costs.iter().map(|(_, raw)| raw.server_us).collect()),
        "client": median(costs.iter().map(|(measured, _)| measured.client_us).collect()),
        "client_baseline": median(costs.iter().map(|(_, raw)| raw.client_us).collect()),
    }});
    Ok(Row::of(format!("facts through append, {what}"), Some((0.5, 0.8)), &pairs, details))
}

/// Runs `work` of `count` facts and looks at what it cost.
async fn cost(bench: &Bench, count: usize, work: impl Future<Output = Result<f64>>) -> Result<Cost> {
    let before = (bench.servers_cpu_us()?, cpu_us(std::process::id())?);
    let per_s = work.await?;
    let after = (bench.servers_cpu_us()?, cpu_us(std::process::id())?);
    let per_fact = |spent: f64| spent / count as f64;
    Ok(Cost { per_s, server_us: per_fact(after.0 - before.0), client_us: per_fact(after.1 - before.1) })
}

async fn publish_raw(bench: &Bench, facts: usize, in_flight: usize) -> Result<f64> {
    let context = jetstream::new(bench.raw_client.clone());
    let body = fact(0)?.body;
    let began = Instant::now();
    let sends = (0..facts).map(|i| {
        let (context, body) = (context.clone(), body.clone());
        async move {
            context.publish(format!("raw.{i}"), body).await?.await?;
            anyhow::Ok(())
        }
    });
    stream::iter(sends).buffer_unordered(in_flight).try_collect::<()>().await?;
    Ok(facts as f64 / began.elapsed().as_secs_f64())
}

/// Appends `count` first facts of nodes that were not there; returns facts per second.
async fn append(store: &JetStream, from: usize, count: usize, in_flight: usize) -> Result<f64> {
    let facts = (from..from + count).map(fact).collect::<Result<Vec<_>>>()?;
    let began = Instant::now();
    let sends = facts.into_iter().map(|fact| async move {
        match store.append(fact).await {
            Outcome::Committed { .. } => Ok(()),
            other => bail!("a fact was not stored: {other:?}"),
        }
    });
    stream::iter(sends).buffer_unordered(in_flight).try_collect::<()>().await?;
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

/// The registration of node `i`, as the control plane stores it.
fn fact(i: usize) -> Result<Append> {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&(i as u64).to_be_bytes());
    let id = NodeId::from_parts(1_800_000_000_000, random);
    let registered = Registered {
        name: format!("proxy-{i}").parse()?,
        labels: [("env".to_owned(), "production".to_owned())]
            .into_iter()
            .collect::<std::collections::BTreeMap<_, _>>()
            .try_into()?,
        version: Some("1.0.0".to_owned()),
        ip: Some("10.0.1.50".to_owned()),
        hostname: None,
        capabilities: Vec::new(),
        metadata: serde_json::Map::new(),
        join_token_id: None,
        approval_required: false,
        public_key: None,
    };
    let node = Aggregate::Node { org: "default".parse::<Slug>()?, project: "demo".parse::<Slug>()?, id };
    let mut command = [0; 16];
    command[8..].copy_from_slice(&(i as u64).to_be_bytes());
    let envelope = Envelope {
        command: CommandId(command),
        index: 0,
        time: Timestamp::from_second(1_800_000_000)?,
        actor: Actor::Anonymous,
        request: None,
        event: Event::Node(NodeEvent::Registered(registered)),
    };
    Ok(Append {
        subject: node.subject("registered"),
        guard: Guard { filter: node.filter(), expected: Position::START },
        message_id: envelope.id(),
        body: Bytes::from(envelope.encode()),
    })
}
