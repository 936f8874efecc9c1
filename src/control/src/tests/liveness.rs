//! Who is offline: silence in the stream's own time, and only while ticks are written.

use super::stage::Stage;
use crate::NodeIdentity;
use bytes::Bytes;
use contract::Operation;
use domain::node::Status;
use jiff::{SignedDuration, Timestamp};
use journal::{Pulse, PulseKind};
use serde_json::json;

/// The clock of the heartbeat stream, moved by the test.
struct Clock<'a> {
    stage: &'a Stage,
    time: Timestamp,
}

impl<'a> Clock<'a> {
    fn of(stage: &'a Stage) -> Clock<'a> {
        let clock = Clock { stage, time: Timestamp::now() };
        stage.store.memory.set_time(clock.time);
        clock
    }

    /// Time without any tick.
    fn jump(&mut self, seconds: i64) {
        self.time += SignedDuration::from_secs(seconds);
        self.stage.store.memory.set_time(self.time);
    }

    /// So many seconds, a tick each, until the replicas have heard them.
    async fn pass(&mut self, seconds: i64, replicas: &[&Stage]) {
        for _ in 0..seconds {
            self.jump(1);
            self.stage.store.memory.publish(PulseKind::Tick, "edge", Bytes::new()).await.unwrap();
        }
        let last = self.stage.store.memory.last_sequence().await.unwrap();
        for replica in replicas {
            replica.until("the ticks are read", || replica.control.presence().read().sequence() >= last).await;
        }
    }
}

fn status(stage: &Stage, node: &NodeIdentity) -> Status {
    stage.control.views().read().nodes.get(node.id).unwrap().status
}

/// Silent for so many counted milliseconds; waits until the heartbeat has come back from the store.
async fn heard(stage: &Stage, node: &NodeIdentity) {
    stage.until("the beat is heard", || stage.control.presence().read().silence_ms(node.id) == Some(0)).await;
}

#[tokio::test]
async fn two_minutes_of_counted_silence_are_offline_and_a_beat_is_online_again() {
    let stage = Stage::start().await;
    let mut clock = Clock::of(&stage);
    let (node, _) = stage.node("a").await;
    clock.pass(1, &[&stage]).await;
    stage.beat(&node, json!({})).await.unwrap();
    heard(&stage, &node).await;
    let last_seen = clock.time;
    for round in 1..=2 {
        clock.pass(119, &[&stage]).await;
        assert_eq!((status(&stage, &node), stage.control.presence().read().silent(120_000)), (Status::Online, vec![]));
        clock.pass(1, &[&stage]).await;
        stage.until("it is offline", || status(&stage, &node) == Status::Offline).await;
        assert_eq!(stage.count("node.offline").await, round);
        if round == 1 {
            let shown = stage.ask(Operation::NodeShow).id("a").send().await.body;
            let seen: Timestamp = shown["node"]["last_seen_at"].as_str().unwrap().parse().unwrap();
            assert_eq!(seen.as_millisecond(), last_seen.as_millisecond());
        }
        clock.pass(200, &[&stage]).await;
        assert_eq!(stage.count("node.offline").await, round, "once is enough");
        stage.beat(&node, json!({})).await.unwrap();
        assert_eq!(status(&stage, &node), Status::Online);
        heard(&stage, &node).await;
    }
}

#[tokio::test]
async fn a_node_that_never_beats_is_offline_too_and_a_deleted_one_is_nothing() {
    let stage = Stage::start().await;
    let mut clock = Clock::of(&stage);
    let ((silent, _), (deleted, _)) = (stage.node("a").await, stage.node("b").await);
    assert_eq!(stage.ask(Operation::NodeDelete).id("b").send().await.status, 204);
    let forgotten = || stage.control.presence().read().seen(deleted.id).is_none();
    stage.until("the deleted one is forgotten", forgotten).await;
    clock.pass(121, &[&stage]).await;
    stage.until("it is offline", || status(&stage, &silent) == Status::Offline).await;
    assert_eq!(stage.count("node.offline").await, 1);
    let shown = stage.ask(Operation::NodeShow).id("a").send().await.body;
    assert_eq!((&shown["node"]["status"], &shown["node"]["last_seen_at"]), (&json!("offline"), &json!(null)));
}

#[tokio::test]
async fn an_outage_of_ours_makes_nobody_offline() {
    let stage = Stage::start().await;
    let mut clock = Clock::of(&stage);
    let (node, _) = stage.node("a").await;
    stage.beat(&node, json!({})).await.unwrap();
    heard(&stage, &node).await;
    for _ in 0..40 {
        clock.jump(500);
        clock.pass(1, &[&stage]).await;
    }
    // Forty gaps of nine minutes count two and a half seconds each.
    assert_eq!(stage.control.presence().read().silence_ms(node.id), Some(100_000));
    assert_eq!(status(&stage, &node), Status::Online);
    // A replica that starts after a long outage waits for everybody anew.
    clock.jump(3_600);
    let late = stage.beside().await;
    clock.pass(100, &[&late]).await;
    assert!(late.control.presence().read().silent(120_000).is_empty());
}

/// While one fact takes its time, the others are still heard.
#[tokio::test]
async fn a_store_that_answers_late_makes_nobody_look_silent() {
    let stage = Stage::start().await;
    let mut clock = Clock::of(&stage);
    let ((gone, _), (slow, _)) = (stage.node("a").await, stage.node("b").await);
    for node in [&gone, &slow] {
        stage.beat(node, json!({})).await.unwrap();
        heard(&stage, node).await;
    }
    let days = &stage.store.days;
    days.appends_held.send_replace(true);
    let appends = || days.appends.load(std::sync::atomic::Ordering::SeqCst);
    let before = appends();
    clock.pass(120, &[&stage]).await;
    stage.until("the first is being marked", || appends() > before).await;
    for node in [&gone, &slow] {
        stage.beat(node, json!({})).await.unwrap();
        heard(&stage, node).await;
    }
    days.appends_held.send_replace(false);
    stage.until("the fact arrives", || [&gone, &slow].iter().any(|node| status(&stage, node) == Status::Offline)).await;
    clock.pass(1, &[&stage]).await;
    stage.control.catch_up().await.unwrap();
    assert_eq!(stage.count("node.offline").await, 1, "only the one that was decided on before it was heard");
    // The one that was heard in the nick of time is waited for as before.
    clock.pass(120, &[&stage]).await;
    stage.until("both are offline", || [&gone, &slow].iter().all(|node| status(&stage, node) == Status::Offline)).await;
}

#[tokio::test]
async fn two_replicas_make_one_fact() {
    let stage = Stage::start().await;
    let other = stage.beside().await;
    let mut clock = Clock::of(&stage);
    let mut nodes = Vec::new();
    for n in 0..20 {
        nodes.push(stage.node(&format!("n{n}")).await.0);
    }
    for node in &nodes {
        stage.beat(node, json!({})).await.unwrap();
    }
    clock.pass(121, &[&stage, &other]).await;
    for replica in [&stage, &other] {
        replica.until("all are offline", || nodes.iter().all(|node| status(replica, node) == Status::Offline)).await;
    }
    clock.pass(5, &[&stage, &other]).await;
    assert_eq!(stage.count("node.offline").await, 20);
}
