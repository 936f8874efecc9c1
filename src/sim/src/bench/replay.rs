//! Rebuilding the views from the journal, beside a bare ordered replay of the same messages into a map.

use super::Row;
use super::servers::Bench;
use anyhow::{Context, Result, bail};
use async_nats::jetstream;
use async_nats::jetstream::consumer::push::OrderedConfig;
use bytes::Bytes;
use domain::Position;
use futures_util::StreamExt;
use journal::JournalReader;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use views::Views;

const REBUILD_TIME_MAX: Duration = Duration::from_secs(300);

pub async fn run(bench: &Bench, facts: usize, rounds: usize) -> Result<Row> {
    let mut pairs = Vec::new();
    for _ in 0..rounds {
        let bare = bare(bench, facts).await?;
        pairs.push((rebuild(bench, facts).await?, bare));
    }
    Ok(Row::of("rebuild of the views".to_owned(), Some((0.5, 0.8)), &pairs, json!({"facts": facts})))
}

async fn bare(bench: &Bench, facts: usize) -> Result<f64> {
    let context = jetstream::new(bench.client.clone());
    let stream = context.get_stream("FLEET").await?;
    let began = Instant::now();
    let config = OrderedConfig { deliver_subject: bench.client.new_inbox(), ..Default::default() };
    let mut messages = stream.create_consumer(config).await?.messages().await?;
    let mut map: HashMap<String, Bytes> = HashMap::with_capacity(facts);
    for _ in 0..facts {
        let message = messages.next().await.context("the replay ended")??;
        map.insert(message.message.subject.to_string(), message.message.payload);
    }
    std::hint::black_box(&map);
    Ok(facts as f64 / began.elapsed().as_secs_f64())
}

async fn rebuild(bench: &Bench, facts: usize) -> Result<f64> {
    let store = Arc::new(bench.store.clone());
    let last = store.last_position().await?;
    if last != Position(facts as u64) {
        bail!("the journal ends at {last} instead of {facts}");
    }
    let began = Instant::now();
    let views = Views::default();
    let follower = {
        let views = views.clone();
        tokio::spawn(async move { views.follow(store.clone(), store, u64::MAX).await })
    };
    let reached = views.wait_for(last, REBUILD_TIME_MAX).await;
    let took = began.elapsed();
    follower.abort();
    if !reached || views.read().nodes.rows().count() != facts {
        bail!("the views were not rebuilt");
    }
    Ok(facts as f64 / took.as_secs_f64())
}
