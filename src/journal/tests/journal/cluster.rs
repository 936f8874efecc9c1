//! Three servers: lost races come back under a second error code there, and reads go to the leader.

use crate::suite::{last, stored};
use crate::{PATIENCE, fact, take};
use domain::Position;
use futures_util::future::join_all;
use journal::testing::TestServer;
use journal::{JetStream, JournalReader, JournalWriter, Outcome, Role, provision};
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_on_three_servers_lose_races_and_nothing_else() {
    let servers = TestServer::start_cluster();
    let mut backends = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    loop {
        // A cluster that has just started refuses until it has elected a leader.
        match provision(&servers[0].client(Role::Provisioning).await, 3).await {
            Ok(()) => break,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
    for server in &servers {
        backends.push(JetStream::new(server.client(Role::Runtime).await));
    }
    assert_eq!(backends[0].replicas().await.unwrap(), 3);

    let before = last(&backends[0]).await;
    let writers = (0..6).map(|writer| count_up(&backends[writer % 3], writer, 20));
    join_all(writers).await;
    assert_eq!(last(&backends[1]).await.0, before.0 + 120);
    let facts = take(&mut JournalReader::follow(&backends[2], before), 120).await;
    let mut newest = Position::START;
    for fact in facts {
        // Every fact was decided on the one right before it.
        assert_eq!(fact.body, format!("{newest}"), "at {}", fact.position);
        newest = fact.position;
    }
    let batch = vec![
        fact("clu", "n2", "registered", Position::START, "b.0"),
        fact("clu", "n3", "registered", Position::START, "b.1"),
    ];
    let end = stored(backends[0].append_batch(batch.clone()).await);
    let repeat = backends[1].append_batch(batch).await;
    assert_eq!(repeat, Outcome::Committed { position: end, duplicate: true });
}

/// Appends `count` facts to the one aggregate that all writers share; each body is the position it was decided on.
async fn count_up(backend: &JetStream, writer: usize, count: usize) {
    let mut expected = Position::START;
    for n in 0..count {
        for attempt in 0.. {
            assert!(attempt < 1000, "writer {writer} never wins");
            let mut append = fact("clu", "n1", "seen", expected, &format!("{writer}-{n}.{attempt}"));
            append.body = format!("{expected}").into();
            match backend.append(append).await {
                Outcome::Unknown(cause) => {
                    assert!(!cause.contains("server code"), "a refusal that is not understood: {cause}");
                }
                Outcome::Committed { position, .. } => {
                    expected = position;
                    break;
                }
                Outcome::Conflict { actual: Some(actual) } => expected = actual,
                Outcome::Conflict { actual: None } => expected = last(backend).await,
            }
        }
    }
}
