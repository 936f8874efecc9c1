//! The journal's tests: one suite run against every backend, and what only the real server can show.

#![allow(clippy::unwrap_used)]

mod cluster;
mod connecting;
mod crash;
mod damage;
mod durability;
mod permissions;
mod provisioning;
mod suite;
mod suite_durables;
mod suite_records;

use bytes::Bytes;
use domain::Position;
use futures_util::future::join_all;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use journal::testing::TestServer;
use journal::{Append, Faults, Faulty, Guard, JetStream, Memory, Role, provision};
use std::time::Duration;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jetstream() {
    let (_server, backend) = server().await;
    suite::journal(&backend).await;
    suite_records::records(&backend).await;
    suite_records::pulse(&backend).await;
    suite_records::storage(&backend).await;
    suite_durables::durables(&backend).await;
}

#[tokio::test]
async fn memory() {
    let backend = Memory::new();
    suite::journal(&backend).await;
    suite_records::records(&backend).await;
    suite_records::pulse(&backend).await;
    suite_records::storage(&backend).await;
    suite_durables::durables(&backend).await;
}

#[tokio::test]
async fn memory_with_faults() {
    join_all((0..20).map(async |seed| {
        let backend = Faulty::new(Memory::new(), Faults::many(seed));
        suite::journal(&backend).await;
        suite_records::records(&backend).await;
        suite_records::pulse(&backend).await;
        suite_durables::durables(&backend).await;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jetstream_with_faults() {
    let (_server, backend) = server().await;
    let backend = Faulty::new(backend, Faults::many(7));
    suite::journal(&backend).await;
    suite_records::records(&backend).await;
}

/// A fresh server with all streams, and the backend on it.
async fn server() -> (TestServer, JetStream) {
    let server = TestServer::start();
    let client = server.client(Role::Provisioning).await;
    provision(&client, 1).await.unwrap();
    let backend = JetStream::new(server.client(Role::Runtime).await);
    (server, backend)
}

/// A fact of node `node` in org `org`, guarded by all facts of that node.
fn fact(org: &str, node: &str, event: &str, expected: Position, message_id: &str) -> Append {
    let aggregate = format!("fleet.{org}.p.node.{node}");
    Append {
        subject: format!("{aggregate}.{event}"),
        guard: Guard { filter: format!("{aggregate}.>"), expected },
        message_id: format!("{org}-{message_id}"),
        body: Bytes::from(format!("{{\"id\":\"{message_id}\"}}")),
    }
}

/// The next item, or a failed test.
async fn next<T>(stream: &mut (impl Stream<Item = T> + Unpin)) -> T {
    tokio::time::timeout(PATIENCE, stream.next()).await.expect("nothing came").expect("the stream ended")
}

async fn take<T>(stream: &mut BoxStream<'static, T>, count: usize) -> Vec<T> {
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        taken.push(next(stream).await);
    }
    taken
}
