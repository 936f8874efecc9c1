//! The nats-servers of the journal's rows: one, or three of a cluster, with the product's streams and a raw one.

use super::stage::cpu_us;
use anyhow::{Context, Result, bail};
use async_nats::jetstream;
use async_nats::jetstream::stream::StorageType;
use journal::JetStream;
use runtime::{DataDir, Launcher, NatsBinary, NatsConfig, NatsProcess, SyncInterval};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long three servers may take to choose the leader that creates streams.
const ELECTION_TIME_MAX: Duration = Duration::from_secs(60);
const RETRY_AFTER: Duration = Duration::from_millis(200);
const RAW: &str = "RAW";

pub struct Bench {
    pub store: JetStream,
    /// Connected to the leader of the journal.
    pub client: async_nats::Client,
    /// Connected to the leader of the raw stream, so that neither side has a hop more.
    pub raw_client: async_nats::Client,
    servers: Vec<NatsProcess>,
}

impl Bench {
    pub async fn start(dir: &Path, sync: SyncInterval, count: usize) -> Result<Bench> {
        let includes = if count > 1 { cluster(dir, count)? } else { vec![None] };
        let binary = NatsBinary::find().await?;
        let (mut servers, mut urls) = (Vec::new(), Vec::new());
        for (n, include) in includes.into_iter().enumerate() {
            let launcher = Launcher::this_binary("nats-child");
            let config =
                NatsConfig { port: 0, sync_interval: sync, include, ..NatsConfig::new(binary.clone(), launcher) };
            servers.push(NatsProcess::start(&DataDir::open(&dir.join(n.to_string()))?, config).await?);
        }
        for server in &servers {
            urls.push(format!("nats://{}", server.wait_ready().await?));
        }
        let any = async_nats::connect(&urls[0]).await?;
        provision(&any, count).await?;
        let raw = jetstream::stream::Config {
            name: RAW.to_owned(),
            subjects: vec!["raw.>".to_owned()],
            storage: StorageType::File,
            num_replicas: count,
            ..Default::default()
        };
        jetstream::new(any.clone()).create_stream(raw).await.context("could not create the raw stream")?;
        let client = async_nats::connect(leader(&any, "FLEET", &urls).await?).await?;
        let raw_client = async_nats::connect(leader(&any, RAW, &urls).await?).await?;
        Ok(Bench { store: JetStream::new(client.clone()), client, raw_client, servers })
    }

    pub fn servers(&self) -> usize {
        self.servers.len()
    }

    /// Processor time of all of them so far.
    pub fn servers_cpu_us(&self) -> Result<f64> {
        self.servers.iter().map(|server| cpu_us(server.pid().context("a nats-server does not run")?)).sum()
    }
}

/// Files that make the servers one cluster. The ports were free a moment ago.
fn cluster(dir: &Path, count: usize) -> Result<Vec<Option<PathBuf>>> {
    std::fs::create_dir_all(dir)?;
    let held = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    let ports = held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<Result<Vec<_>>>()?;
    let routes: Vec<String> = ports.iter().map(|port| format!("nats-route://127.0.0.1:{port}")).collect();
    let routes = routes.join(", ");
    let file = |(n, port): (usize, &u16)| {
        let path = dir.join(format!("cluster-{n}.conf"));
        let listen = format!("cluster {{ name: bench, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}");
        std::fs::write(&path, format!("server_name: {}\n{listen}\n", name(n)))?;
        Ok(Some(path))
    };
    ports.iter().enumerate().map(file).collect()
}

fn name(n: usize) -> String {
    format!("n{n}")
}

/// Until the cluster has a leader it answers nobody.
async fn provision(client: &async_nats::Client, replicas: usize) -> Result<()> {
    let began = Instant::now();
    loop {
        match journal::provision(client, replicas).await {
            Ok(()) => return Ok(()),
            Err(e) if began.elapsed() > ELECTION_TIME_MAX => return Err(e.into()),
            Err(_) => tokio::time::sleep(RETRY_AFTER).await,
        }
    }
}

/// Where the leader of a stream listens; a lone server leads everything.
async fn leader(client: &async_nats::Client, stream: &str, urls: &[String]) -> Result<String> {
    if let [only] = urls {
        return Ok(only.clone());
    }
    let began = Instant::now();
    while began.elapsed() < ELECTION_TIME_MAX {
        let mut stream = jetstream::new(client.clone()).get_stream(stream).await?;
        let leader = stream.info().await?.cluster.as_ref().and_then(|cluster| cluster.leader.clone());
        if let Some(url) = urls.iter().enumerate().find_map(|(n, url)| (leader == Some(name(n))).then_some(url)) {
            return Ok(url.clone());
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
    bail!("the stream {stream} has no leader")
}
