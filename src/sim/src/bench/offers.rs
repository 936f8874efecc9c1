//! How long after `POST …/rollouts` the nodes that wait hold their offers.
//!
//! The baseline is the same work without waiting: the same nodes on the same connections ask at once for the offers that exist.

use super::client::Target;
use super::latency::Latencies;
use super::{Row, stage};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const CONFIG: &str = "system { worker-threads 1 }\nlisteners { listener \"http\" { address \"127.0.0.1:8080\" } }\n";
const WAIT_S: u32 = 60;
/// How long a bundle may compile, and nodes may take to be seen waiting.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

type Connection = SendRequest<Full<Bytes>>;

#[derive(clap::Args)]
pub struct Options {
    /// Nodes that wait, each on a connection of its own
    #[arg(long, default_value_t = 1000)]
    nodes: usize,
    /// Rollouts, one after the other
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// A node with its kept connection.
struct Node {
    id: String,
    key: String,
    connection: Connection,
}

/// The operator's side.
struct Operator {
    connection: Connection,
    api_key: String,
}

pub async fn run(options: &Options) -> Result<Vec<Row>> {
    let scratch = tempfile::tempdir()?;
    let dev = stage::Dev::start(&scratch.path().join("data")).await?;
    let target = Target::new(authority(&dev.file.https_url)?, &dev.file.ca_cert)?;
    let mut operator = Operator { connection: target.connect().await?, api_key: dev.file.api_key.clone() };
    let mut nodes = Vec::new();
    for i in 0..options.nodes {
        nodes.push(Node::register(&target, i).await?);
    }
    let (mut pairs, mut all) = (Vec::new(), Latencies::default());
    for round in 0..options.rounds {
        let bundle = operator.bundle(round).await?;
        let (waited, took) = round_of(&mut nodes, &mut operator, &bundle).await?;
        let began = Instant::now();
        nodes = ask(std::mem::take(&mut nodes), String::new(), None).await?.0;
        let asked_s = began.elapsed().as_secs_f64();
        let count = options.nodes as f64;
        pairs.push((count / took.as_secs_f64(), count / asked_s));
        all.extend(waited);
        nodes = beat(nodes, &bundle).await?;
        operator.until_over().await?;
    }
    dev.stop().await?;
    let details = json!({"from_post_to_offer": all.summary(), "nodes": options.nodes, "rounds": options.rounds});
    Ok(vec![Row::of("offers to nodes that wait, over HTTPS".to_owned(), (0.3, 0.6), &pairs, details)])
}

/// All nodes wait, a rollout assigns the bundle, all are answered.
async fn round_of(nodes: &mut Vec<Node>, operator: &mut Operator, bundle: &str) -> Result<(Latencies, Duration)> {
    let count = nodes.len();
    let (begins, began) = tokio::sync::watch::channel(None);
    let waiting = tokio::spawn(ask(std::mem::take(nodes), format!("?wait={WAIT_S}"), Some(began)));
    operator.until_waiting(count).await?;
    let posted = Instant::now();
    begins.send_replace(Some(posted));
    let body = json!({"bundle_id": bundle, "strategy": "all_at_once", "progress_deadline_s": 600});
    operator.call(Method::POST, "/api/v1/projects/demo/rollouts", &body).await?;
    let (answered, latencies) = waiting.await??;
    let took = posted.elapsed();
    *nodes = answered;
    Ok((latencies, took))
}

/// Every node asks once and must get an offer; the time from `began` to each answer.
async fn ask(
    nodes: Vec<Node>,
    query: String,
    began: Option<tokio::sync::watch::Receiver<Option<Instant>>>,
) -> Result<(Vec<Node>, Latencies)> {
    let mut tasks = JoinSet::new();
    for mut node in nodes {
        let (path, began) = (format!("/api/v1/nodes/{}/bundles/latest{query}", node.id), began.clone());
        tasks.spawn(async move {
            let answer = node.call(Method::GET, &path, &Value::Null).await?;
            let answered = Instant::now();
            field(&answer, "bundle_id")?;
            let began = began.and_then(|began| *began.borrow());
            anyhow::Ok((node, began.map(|began| answered.duration_since(began))))
        });
    }
    let (mut back, mut latencies) = (Vec::new(), Latencies::default());
    while let Some(done) = tasks.join_next().await {
        let (node, took) = done??;
        took.into_iter().for_each(|took| latencies.add(took));
        back.push(node);
    }
    Ok((back, latencies))
}

/// Every node tells that it runs the bundle.
async fn beat(nodes: Vec<Node>, bundle: &str) -> Result<Vec<Node>> {
    let mut tasks = JoinSet::new();
    for mut node in nodes {
        let body = json!({"active_bundle_id": bundle, "health": {"status": "healthy"}});
        tasks.spawn(async move {
            let path = format!("/api/v1/nodes/{}/heartbeat", node.id);
            node.call(Method::POST, &path, &body).await?;
            anyhow::Ok(node)
        });
    }
    let mut back = Vec::new();
    while let Some(done) = tasks.join_next().await {
        back.push(done??);
    }
    Ok(back)
}

impl Node {
    async fn register(target: &Target, number: usize) -> Result<Node> {
        let mut connection = target.connect().await?;
        let body = json!({"name": format!("bench-{number}")});
        let path = "/api/v1/projects/demo/nodes/register";
        let answer = call(&mut connection, Method::POST, path, ("accept", "application/json"), &body).await?;
        let (id, key) = (field(&answer, "node_id")?.to_owned(), field(&answer, "node_key")?.to_owned());
        let mut node = Node { id, key, connection };
        let path = format!("/api/v1/nodes/{}/heartbeat", node.id);
        node.call(Method::POST, &path, &json!({"health": {"status": "healthy"}})).await?;
        Ok(node)
    }

    async fn call(&mut self, method: Method, path: &str, body: &Value) -> Result<Value> {
        call(&mut self.connection, method, path, ("x-zentinel-node-key", &self.key), body).await
    }
}

impl Operator {
    async fn call(&mut self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let bearer = format!("Bearer {}", self.api_key);
        call(&mut self.connection, method, path, ("authorization", &bearer), body).await
    }

    /// Id of a compiled bundle.
    async fn bundle(&mut self, round: usize) -> Result<String> {
        let path = "/api/v1/projects/demo/bundles";
        let body = json!({"version": format!("v{round}"), "config_source": format!("{CONFIG}// round {round}\n")});
        let id = field(&self.call(Method::POST, path, &body).await?, "id")?.to_owned();
        let shown = format!("{path}/{id}");
        self.until("the bundle is compiled", &shown, |answer| answer["bundle"]["status"] == "compiled").await?;
        Ok(id)
    }

    async fn until_over(&mut self) -> Result<()> {
        let path = "/api/v1/projects/demo/rollouts?state=running";
        self.until("the rollout is over", path, |answer| answer["total"] == 0).await
    }

    async fn until_waiting(&mut self, nodes: usize) -> Result<()> {
        let line = format!("pilothouse_nodes_waiting {nodes}\n");
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let accept = ("accept", "*/*");
            let text = send(&mut self.connection, Method::GET, "/metrics", accept, &Value::Null).await?;
            if String::from_utf8_lossy(&text).contains(&line) {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        bail!("{nodes} nodes were not seen waiting within {} s", PATIENCE.as_secs())
    }

    async fn until(&mut self, what: &str, path: &str, wanted: impl Fn(&Value) -> bool) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if wanted(&self.call(Method::GET, path, &Value::Null).await?) {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        bail!("not so within {} s: {what}", PATIENCE.as_secs())
    }
}

async fn call(
    connection: &mut Connection,
    method: Method,
    path: &str,
    credential: (&'static str, &str),
    body: &Value,
) -> Result<Value> {
    Ok(serde_json::from_slice(&send(connection, method, path, credential, body).await?)?)
}

async fn send(
    connection: &mut Connection,
    method: Method,
    path: &str,
    header: (&'static str, &str),
    body: &Value,
) -> Result<Bytes> {
    let body = if body.is_null() { Bytes::new() } else { serde_json::to_vec(body)?.into() };
    let request = Request::builder().method(method).uri(path).header("host", "127.0.0.1").header(header.0, header.1);
    let request = request.header("content-type", "application/json").body(Full::new(body))?;
    connection.ready().await?;
    let response = connection.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        bail!("{path} was answered {status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(body)
}

fn field<'a>(body: &'a Value, name: &str) -> Result<&'a str> {
    body.get(name).and_then(Value::as_str).with_context(|| format!("the answer has no {name}: {body}"))
}

fn authority(url: &str) -> Result<SocketAddr> {
    let text = url.split_once("://").map_or(url, |(_, rest)| rest);
    text.parse().with_context(|| format!("{url} has no address"))
}
