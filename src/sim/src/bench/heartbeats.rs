//! Heartbeats per second over HTTPS with node tokens, answered durable.

use super::client::{Beat, Target, post};
use super::stage::cpu_us;
use super::{Row, stage};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// A heartbeat as the registration document shows it, with a state.
const BODY: &str = r#"{"health":{"status":"healthy","cpu_percent":12.5,"memory_percent":45.0},"metrics":{"requests_per_second":1500},"version":"1.0.0"}"#;

#[derive(clap::Args)]
pub struct Options {
    /// Nodes that beat in turn
    #[arg(long, default_value_t = 1024)]
    nodes: usize,
    /// Kept connections, one request in flight on each
    #[arg(long, default_value_t = 512)]
    connections: usize,
    /// Length of one measurement
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Pairs of measurements
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

pub async fn run(options: &Options) -> Result<Vec<Row>> {
    if options.nodes < options.connections {
        bail!("--nodes must be at least --connections: a node beats on one connection at a time");
    }
    let scratch = tempfile::tempdir()?;
    let dev = stage::Dev::start(&scratch.path().join("data")).await?;
    let target = Target::new(authority(&dev.file.https_url)?, &dev.file.ca_cert)?;
    let ca_file = scratch.path().join("baseline-ca.pem");
    let (baseline, address) = stage::baseline(&ca_file).await?;
    let bare = Target::new(address, &ca_file)?;
    let beats = register(&target, options).await?;
    let body = Bytes::from_static(BODY.as_bytes());
    // The first beat of a node is a fact; measured is what comes after it.
    warm_up(&target, &beats, &body).await?;
    let time = Duration::from_secs(options.seconds);
    let (mut pairs, mut details) = (Vec::new(), Value::Null);
    let pids = (dev.pid()?, baseline.id().context("the baseline has ended")?);
    for _ in 0..options.rounds {
        let began = (cpu_us(pids.0)?, cpu_us(pids.1)?);
        let (baseline_per_s, mut bare_latencies) = bare.load(&beats, body.clone(), time).await?;
        let (measured_per_s, mut latencies) = target.load(&beats, body.clone(), time).await?;
        pairs.push((measured_per_s, baseline_per_s));
        let per_request = |spent: f64, per_s: f64| spent / (per_s * time.as_secs_f64());
        let cpu_us = json!({"replica": per_request(cpu_us(pids.0)? - began.0, measured_per_s),
            "baseline": per_request(cpu_us(pids.1)? - began.1, baseline_per_s)});
        details = json!({"measured": latencies.summary(), "baseline": bare_latencies.summary(), "cpu_us": cpu_us,
            "connections": options.connections, "nodes": options.nodes});
    }
    drop(baseline);
    dev.stop().await?;
    Ok(vec![Row::of("heartbeats over HTTPS with a token".to_owned(), Some((0.5, 0.8)), &pairs, details)])
}

/// Registers the nodes and gets each a token; nodes are dealt out to the connections.
async fn register(target: &Target, options: &Options) -> Result<Vec<Vec<Beat>>> {
    let mut sender = target.connect().await?;
    let mut beats = vec![Vec::new(); options.connections];
    for i in 0..options.nodes {
        let body = json!({"name": format!("bench-{i}")});
        let node = call(&mut sender, "/api/v1/projects/demo/nodes/register", None, &body).await?;
        let (id, key) = (field(&node, "node_id")?, field(&node, "node_key")?);
        let token = call(&mut sender, &format!("/api/v1/nodes/{id}/token"), Some(key), &Value::Null).await?;
        let authorization = format!("Bearer {}", field(&token, "token")?);
        beats[i % options.connections].push(Beat { path: format!("/api/v1/nodes/{id}/heartbeat"), authorization });
    }
    Ok(beats)
}

async fn warm_up(target: &Target, beats: &[Vec<Beat>], body: &Bytes) -> Result<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for beats in beats {
        let (mut sender, beats, body) = (target.connect().await?, beats.clone(), body.clone());
        tasks.spawn(async move {
            for beat in &beats {
                post(&mut sender, beat, body.clone()).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

async fn call(sender: &mut SendRequest<Full<Bytes>>, path: &str, key: Option<&str>, body: &Value) -> Result<Value> {
    let mut request = Request::builder().method(Method::POST).uri(path).header("host", "127.0.0.1");
    if let Some(key) = key {
        request = request.header("x-zentinel-node-key", key);
    }
    let body = if body.is_null() { Bytes::new() } else { serde_json::to_vec(body)?.into() };
    let request = request.header("content-type", "application/json").body(Full::new(body))?;
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        bail!("{path} was answered {status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(serde_json::from_slice(&body)?)
}

fn field<'a>(body: &'a Value, name: &str) -> Result<&'a str> {
    body.get(name).and_then(Value::as_str).with_context(|| format!("the answer has no {name}"))
}

fn authority(url: &str) -> Result<SocketAddr> {
    let text = url.split_once("://").map_or(url, |(_, rest)| rest);
    text.parse().with_context(|| format!("{url} has no address"))
}
