//! What every backend does with records, pulse, blobs and snapshots.

use crate::{next, take};
use bytes::Bytes;
use domain::Position;
use futures_util::future::{BoxFuture, join_all};
use jiff::{Timestamp, ToSpan};
use journal::{
    Blobs, Bucket, Pulse, PulseKind, Record, RecordChange, Records, ReportQuestion, Reports, ReportsFrom, Snapshots,
    StoreError, Telemetry,
};
use std::sync::atomic::{AtomicU64, Ordering};

const ATTEMPTS_MAX: usize = 100;

pub async fn records(backend: &impl Records) {
    changes(backend).await;
    one_of_many_updates_wins(backend).await;
    watching(backend).await;
    empty_bucket(backend).await;
}

async fn changes(backend: &impl Records) {
    let bucket = Bucket::Credentials;
    assert_eq!(get(backend, bucket, "node.a").await, None);
    let created = create(backend, bucket, "node.a", "1").await.unwrap();
    assert_eq!(get(backend, bucket, "node.a").await, Some(record("node.a", "1", created)));
    assert!(matches!(create(backend, bucket, "node.a", "other").await, Err(StoreError::Conflict)));
    let updated = update(backend, bucket, "node.a", "2", created).await.unwrap();
    assert!(updated > created);
    assert!(matches!(update(backend, bucket, "node.a", "3", created).await, Err(StoreError::Conflict)));
    assert_eq!(get(backend, bucket, "node.a").await, Some(record("node.a", "2", updated)));
    assert_eq!(get(backend, Bucket::Secrets, "node.a").await, None, "buckets are apart");

    again(|| backend.remove(bucket, "node.a")).await.unwrap();
    again(|| backend.remove(bucket, "node.a")).await.unwrap();
    again(|| backend.remove(bucket, "never-there")).await.unwrap();
    assert_eq!(get(backend, bucket, "node.a").await, None);
    assert!(matches!(update(backend, bucket, "node.a", "4", updated).await, Err(StoreError::Conflict)));
    let recreated = create(backend, bucket, "node.a", "5").await.unwrap();
    assert!(recreated > updated);
    for key in ["", "a b", "a.*", ".a", "a..b", "a>"] {
        let refused = again(|| backend.create(bucket, key, Bytes::new())).await;
        assert!(matches!(refused, Err(StoreError::TooLarge(_))), "{key:?}");
    }
}

async fn one_of_many_updates_wins(backend: &impl Records) {
    let revision = create(backend, Bucket::Credentials, "raced", "start").await.unwrap();
    let values: Vec<String> = (0..16).map(|n| n.to_string()).collect();
    let racers = values.iter().map(|value| update(backend, Bucket::Credentials, "raced", value, revision));
    let won = join_all(racers).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(won, 1);
}

async fn watching(backend: &impl Records) {
    let bucket = Bucket::Secrets;
    let mut revisions = Vec::new();
    for key in ["a", "b", "c"] {
        revisions.push(create(backend, bucket, key, key).await.unwrap());
    }
    again(|| backend.remove(bucket, "b")).await.unwrap();
    let mut watch = backend.watch(bucket);
    let put = |key: &str, value: &str, revision| RecordChange::Put(record(key, value, revision));
    assert_eq!(
        take(&mut watch, 3).await,
        [put("a", "a", revisions[0]), put("c", "c", revisions[2]), RecordChange::CaughtUp]
    );
    let updated = update(backend, bucket, "c", "C", revisions[2]).await.unwrap();
    assert_eq!(next(&mut watch).await, put("c", "C", updated));
    again(|| backend.remove(bucket, "a")).await.unwrap();
    assert!(
        matches!(next(&mut watch).await, RecordChange::Removed { key, revision } if key == "a" && revision > updated)
    );
    let created = create(backend, bucket, "d", "d").await.unwrap();
    assert_eq!(next(&mut watch).await, put("d", "d", created));
}

async fn empty_bucket(backend: &impl Records) {
    let mut watch = backend.watch(Bucket::Pointers);
    assert_eq!(next(&mut watch).await, RecordChange::CaughtUp);
    let created = create(backend, Bucket::Pointers, "first", "1").await.unwrap();
    assert_eq!(next(&mut watch).await, RecordChange::Put(record("first", "1", created)));
    again(|| backend.remove(Bucket::Pointers, "first")).await.unwrap();
}

pub async fn pulse(backend: &impl Pulse) {
    let before = again(|| backend.last_sequence()).await.unwrap();
    again(|| backend.publish(PulseKind::Tick, "e1", Bytes::new())).await.unwrap();
    let mut follow = backend.follow();
    let first = next(&mut follow).await;
    assert_eq!((first.kind, first.edge.as_str(), first.sequence), (PulseKind::Tick, "e1", before + 1));
    again(|| backend.publish(PulseKind::Beat, "e2", Bytes::from_static(b"beats"))).await.unwrap();
    let mut beat = next(&mut follow).await;
    while beat.kind != PulseKind::Beat {
        beat = next(&mut follow).await;
    }
    assert_eq!((beat.edge.as_str(), &beat.body[..]), ("e2", &b"beats"[..]));
    assert!(beat.time >= first.time && beat.sequence > first.sequence);
    assert!(again(|| backend.last_sequence()).await.unwrap() >= beat.sequence);
}

pub async fn storage(backend: &(impl Blobs + Snapshots + Telemetry)) {
    blobs(backend).await;
    snapshots(backend).await;
    telemetry(backend).await;
}

async fn telemetry(backend: &impl Telemetry) {
    let mine = |node: &str, kind: &str| format!("telemetry.o.p.{node}.{kind}");
    for (node, kind, body) in
        [("n1", "events", "1"), ("n2", "events", "2"), ("n1", "config", "3"), ("n1", "events", "4")]
    {
        backend.record(mine(node, kind), Bytes::from(body)).await.unwrap();
    }
    let all = ReportQuestion {
        filter: mine("*", "*"),
        from: ReportsFrom::Sequence(0),
        until: Timestamp::MAX,
        reports_max: 100,
        bytes_max: 1000,
    };
    let read = async |question: ReportQuestion| {
        let Reports { found, is_cut } = backend.reports(question).await.unwrap();
        (found.iter().map(|r| String::from_utf8(r.body.to_vec()).unwrap()).collect::<Vec<_>>().join(" "), is_cut)
    };
    let told = |text: &str, is_cut| (text.to_owned(), is_cut);
    assert_eq!(read(all.clone()).await, told("1 2 3 4", false));
    assert_eq!(read(ReportQuestion { filter: mine("n1", "events"), ..all.clone() }).await, told("1 4", false));
    assert_eq!(read(ReportQuestion { filter: mine("*", "events"), ..all.clone() }).await, told("1 2 4", false));
    assert_eq!(read(ReportQuestion { filter: mine("n3", "*"), ..all.clone() }).await, told("", false));
    assert_eq!(read(ReportQuestion { reports_max: 3, ..all.clone() }).await, told("1 2 3", true));
    assert_eq!(read(ReportQuestion { reports_max: 4, ..all.clone() }).await, told("1 2 3 4", false));
    assert_eq!(read(ReportQuestion { bytes_max: 2, ..all.clone() }).await, told("1 2", true));
    let kept = backend.reports(all.clone()).await.unwrap().found;
    assert!(kept.windows(2).all(|pair| pair[0].sequence < pair[1].sequence && pair[0].time <= pair[1].time));
    let from = |from| ReportQuestion { from, ..all.clone() };
    assert_eq!(read(from(ReportsFrom::Sequence(kept[2].sequence))).await, told("3 4", false));
    let since = backend.reports(from(ReportsFrom::Time(kept[2].time))).await.unwrap().found;
    let expected: Vec<_> = kept.iter().filter(|report| report.time >= kept[2].time).cloned().collect();
    assert_eq!(since, expected, "a report at the very time belongs to it");
    assert_eq!(read(from(ReportsFrom::Time(Timestamp::MIN))).await, told("1 2 3 4", false));
    assert_eq!(read(from(ReportsFrom::Time("9998-01-01T00:00:00Z".parse().unwrap()))).await, told("", false));
    let before = ReportQuestion { until: kept[0].time.checked_sub(1.second()).unwrap(), ..all.clone() };
    assert_eq!(read(before).await, told("", false));
    assert_eq!(backend.newest_report(&mine("n1", "events")).await.unwrap().as_ref(), Some(&kept[3]));
    assert_eq!(backend.newest_report(&mine("n1", "metrics")).await.unwrap(), None);
}

async fn blobs(backend: &impl Blobs) {
    const CHUNK: usize = 512 * 1024 - 4096;
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 17] {
        let bytes = noise(length);
        let digest = backend.put(bytes.clone()).await.unwrap();
        assert_eq!(backend.put(bytes.clone()).await.unwrap(), digest, "twice is harmless");
        assert_eq!(backend.len(&digest).await.unwrap(), Some(length as u64));
        assert_eq!(backend.read(&digest, None).await.unwrap(), Some(bytes.clone()));
        for (from, to) in
            [(0, length), (0, length / 2), (length / 2, length), (length / 3, length / 2), (length, length)]
        {
            let part = backend.read(&digest, Some(from as u64..to as u64)).await.unwrap().unwrap();
            assert_eq!(part, bytes[from..to], "{from}..{to} of {length}");
        }
        let beyond = backend.read(&digest, Some(0..length as u64 + 1)).await;
        assert!(matches!(beyond, Err(StoreError::TooLarge(_))));
    }
    for missing in [&"0".repeat(64), "", "*", "not a digest"] {
        assert_eq!(backend.len(missing).await.unwrap(), None);
        assert_eq!(backend.read(missing, None).await.unwrap(), None);
        assert_eq!(backend.read(missing, Some(0..1)).await.unwrap(), None);
    }
}

async fn snapshots(backend: &impl Snapshots) {
    assert_eq!(backend.newest("fleet-v1").await.unwrap(), None);
    let (small, large) = (noise(10), noise(1_700_000));
    backend.save("fleet-v1", Position(5), large.clone()).await.unwrap();
    assert_eq!(backend.newest("fleet-v1").await.unwrap(), Some((Position(5), large.clone())));
    backend.save("fleet-v1", Position(9), small.clone()).await.unwrap();
    backend.save("fleet-v1", Position(7), large.clone()).await.unwrap();
    assert_eq!(backend.newest("fleet-v1").await.unwrap(), Some((Position(9), small)), "an older one replaces nothing");
    assert_eq!(backend.newest("fleet-v2").await.unwrap(), None);
    // Replicas that write at once leave one that is whole.
    let writers =
        (10..16).map(|position| backend.save("fleet-v1", Position(position), noise(600_000 + position as usize)));
    join_all(writers).await.into_iter().for_each(|saved| saved.unwrap());
    assert_eq!(backend.newest("fleet-v1").await.unwrap(), Some((Position(15), noise(600_015))));
}

/// Bytes that do not repeat at chunk boundaries.
pub fn noise(length: usize) -> Bytes {
    (0..length).map(|n| (n as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

/// Repeats what may be repeated until it is answered.
pub async fn again<'a, T>(request: impl Fn() -> BoxFuture<'a, Result<T, StoreError>>) -> Result<T, StoreError> {
    for _ in 0..ATTEMPTS_MAX {
        match request().await {
            Err(StoreError::Unavailable(_)) => {}
            answer => return answer,
        }
    }
    panic!("no answer after {ATTEMPTS_MAX} attempts")
}

async fn get(backend: &impl Records, bucket: Bucket, key: &str) -> Option<Record> {
    again(|| backend.get(bucket, key)).await.unwrap()
}

async fn create(backend: &impl Records, bucket: Bucket, key: &str, value: &str) -> Result<u64, StoreError> {
    settle(backend, bucket, key, value, || backend.create(bucket, key, Bytes::from(value.to_owned()))).await
}

async fn update(
    backend: &impl Records,
    bucket: Bucket,
    key: &str,
    value: &str,
    revision: u64,
) -> Result<u64, StoreError> {
    settle(backend, bucket, key, value, || backend.update(bucket, key, Bytes::from(value.to_owned()), revision)).await
}

/// A compare-and-set without an answer has happened when the record says what was written, which no other writer writes.
async fn settle<'a>(
    backend: &impl Records,
    bucket: Bucket,
    key: &str,
    value: &str,
    request: impl Fn() -> BoxFuture<'a, Result<u64, StoreError>>,
) -> Result<u64, StoreError> {
    let unanswered = AtomicU64::new(0);
    let answer = again(|| {
        unanswered.fetch_add(1, Ordering::Relaxed);
        request()
    })
    .await;
    match answer {
        Err(StoreError::Conflict) if unanswered.load(Ordering::Relaxed) > 1 => {
            match get(backend, bucket, key).await.filter(|record| record.value == value) {
                Some(record) => Ok(record.revision),
                None => Err(StoreError::Conflict),
            }
        }
        answer => answer,
    }
}

fn record(key: &str, value: &str, revision: u64) -> Record {
    Record { key: key.to_owned(), value: Bytes::from(value.to_owned()), revision }
}
