//! The server dies and comes back; followers and watchers do not notice more than a pause.

use crate::suite::{settle, stored};
use crate::{fact, next, server, take};
use bytes::Bytes;
use domain::Position;
use journal::{Bucket, JournalReader, Pulse, PulseKind, RecordChange, Records};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_survives_kill_9_without_gap_or_duplicate() {
    let (mut server, backend) = server().await;
    let mut follow = JournalReader::follow(&backend, Position::START);
    let mut seen = Vec::new();
    let mut expected = Position::START;
    for round in 0..3 {
        for n in 0..50 {
            expected = stored(settle(&backend, fact("crash", "n1", "seen", expected, &format!("{round}-{n}.0"))).await);
        }
        // One half is read before the server dies, the other after.
        seen.extend(take(&mut follow, 25).await);
        server.restart();
        seen.extend(take(&mut follow, 25).await);
    }
    assert!(seen.iter().map(|fact| fact.position.0).eq(1..=150));
    let fresh = take(&mut JournalReader::follow(&backend, Position::START), 150).await;
    assert_eq!(seen, fresh);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_survives_kill_9_and_learns_of_removals() {
    let (mut server, backend) = server().await;
    let bucket = Bucket::Credentials;
    let revision = backend.create(bucket, "a", Bytes::from_static(b"1")).await.unwrap();
    backend.create(bucket, "b", Bytes::from_static(b"1")).await.unwrap();
    let mut watch = backend.watch(bucket);
    assert_eq!(take(&mut watch, 3).await[2], RecordChange::CaughtUp);
    server.restart();
    // Whatever happens while the watch is broken is told afterwards, once.
    let other = journal::JetStream::new(server.client(journal::Role::Runtime).await);
    let updated = other.update(bucket, "a", Bytes::from_static(b"2"), revision).await.unwrap();
    other.remove(bucket, "b").await.unwrap();
    assert!(matches!(next(&mut watch).await, RecordChange::Put(record) if record.revision == updated));
    assert!(matches!(next(&mut watch).await, RecordChange::Removed { key, .. } if key == "b"));
    let created = other.create(bucket, "c", Bytes::new()).await.unwrap();
    assert!(matches!(next(&mut watch).await, RecordChange::Put(record) if record.revision == created));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pulse_follower_survives_kill_9() {
    let (mut server, backend) = server().await;
    let mut follow = Pulse::follow(&backend);
    backend.publish(PulseKind::Tick, "e1", Bytes::new()).await.unwrap();
    assert_eq!(next(&mut follow).await.sequence, 1);
    server.restart();
    let other = journal::JetStream::new(server.client(journal::Role::Runtime).await);
    other.publish(PulseKind::Tick, "e2", Bytes::new()).await.unwrap();
    let tick = next(&mut follow).await;
    assert_eq!((tick.sequence, tick.edge.as_str()), (2, "e2"));
}
