//! What was lost underneath is noticed, never handed out.

use crate::server;
use crate::suite_records::noise;
use bytes::Bytes;
use domain::Position;
use journal::{Blobs, Role, Snapshots, StoreError};

const CHUNK: usize = 512 * 1024 - 4096;

#[tokio::test]
async fn a_blob_without_a_chunk_is_damaged_and_one_without_a_head_is_not_there() {
    let (server, backend) = server().await;
    let admin = server.client(Role::Provisioning).await;
    let (bytes, whole) = (noise(3 * CHUNK), noise(10));
    // What an interrupted put leaves behind: chunks, but no head.
    let digest = backend.put(bytes.clone()).await.unwrap();
    purge(&admin, "BLOBS", &format!("blob.{digest}.head")).await;
    assert_eq!(backend.len(&digest).await.unwrap(), None);
    assert_eq!(backend.read(&digest, None).await.unwrap(), None);
    purge(&admin, "BLOBS", &format!("blob.{digest}.1")).await;
    assert_eq!(backend.put(bytes.clone()).await.unwrap(), digest, "putting again completes it");
    assert_eq!(backend.read(&digest, None).await.unwrap(), Some(bytes.clone()));

    purge(&admin, "BLOBS", &format!("blob.{digest}.1")).await;
    assert!(matches!(backend.read(&digest, None).await, Err(StoreError::Corrupt(_))));
    let first = backend.read(&digest, Some(0..CHUNK as u64)).await.unwrap();
    assert_eq!(first, Some(bytes.slice(..CHUNK)), "a range needs its own chunks alone");
    let forged = admin.request(format!("blob.{digest}.1"), noise(CHUNK + 1).slice(1..)).await.unwrap();
    assert!(!forged.payload.is_empty());
    assert!(matches!(backend.read(&digest, None).await, Err(StoreError::Corrupt(_))), "the digest is checked");

    let small = backend.put(whole.clone()).await.unwrap();
    let overwrite = admin.request(format!("blob.{small}.0"), Bytes::from_static(b"other")).await.unwrap();
    assert!(String::from_utf8_lossy(&overwrite.payload).contains("\"error\""), "written once");
    assert_eq!(backend.read(&small, None).await.unwrap(), Some(whole));
}

#[tokio::test]
async fn a_damaged_snapshot_counts_as_none() {
    let (server, backend) = server().await;
    let admin = server.client(Role::Provisioning).await;
    backend.save("fleet-v1", Position(5), noise(2 * CHUNK)).await.unwrap();
    purge(&admin, "SNAPSHOTS", "snapshot.fleet-v1.1").await;
    assert_eq!(backend.newest("fleet-v1").await.unwrap(), None);
    backend.save("fleet-v1", Position(6), noise(7)).await.unwrap();
    assert_eq!(backend.newest("fleet-v1").await.unwrap(), Some((Position(6), noise(7))));
}

#[tokio::test]
async fn snapshots_do_not_pile_up() {
    let (server, backend) = server().await;
    for position in 1..=40 {
        backend.save("fleet-v1", Position(position), noise(100)).await.unwrap();
    }
    let admin = server.client(Role::Provisioning).await;
    let info = admin.request("$JS.API.STREAM.INFO.SNAPSHOTS", Bytes::new()).await.unwrap();
    let text = String::from_utf8_lossy(&info.payload).into_owned();
    assert!(text.contains("\"messages\":8,"), "{text}");
}

async fn purge(admin: &async_nats::Client, stream: &str, subject: &str) {
    let body = format!("{{\"filter\":\"{subject}\"}}");
    let answer = admin.request(format!("$JS.API.STREAM.PURGE.{stream}"), body.into()).await.unwrap();
    let text = String::from_utf8_lossy(&answer.payload).into_owned();
    assert!(text.contains("\"purged\":1"), "{text}");
}
