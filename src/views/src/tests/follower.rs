//! Following a hand-made journal: whole batches only, loud errors, snapshots on the way.

use super::history::*;
use crate::{FollowError, Views};
use bytes::Bytes;
use domain::{DecodeError, Position, node};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use journal::{FactQuestion, Facts, JournalReader, Snapshots, StoreError, Stored};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// A journal that ends.
struct Tape(Vec<Stored>);

impl JournalReader for Tape {
    fn last_position(&self) -> BoxFuture<'_, Result<Position, StoreError>> {
        Box::pin(async { Ok(self.0.last().map_or(Position::START, |fact| fact.position)) })
    }

    fn follow(&self, after: Position) -> BoxStream<'static, Stored> {
        let rest: Vec<Stored> = self.0.iter().filter(|fact| fact.position > after).cloned().collect();
        stream::iter(rest).boxed()
    }

    fn facts(&self, _: FactQuestion) -> BoxFuture<'_, Result<Facts, StoreError>> {
        Box::pin(async { Err(StoreError::Unavailable("nobody asks".into())) })
    }
}

/// A journal that the test writes while it is followed; followed once.
struct Wire(Mutex<Option<mpsc::UnboundedReceiver<Stored>>>);

impl Wire {
    fn new() -> (mpsc::UnboundedSender<Stored>, Arc<Wire>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, Arc::new(Wire(Mutex::new(Some(receiver)))))
    }
}

impl JournalReader for Wire {
    fn last_position(&self) -> BoxFuture<'_, Result<Position, StoreError>> {
        Box::pin(async { Err(StoreError::Unavailable("nobody asks".into())) })
    }

    fn follow(&self, _: Position) -> BoxStream<'static, Stored> {
        let receiver = self.0.lock().unwrap().take().unwrap();
        stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|fact| (fact, receiver)) }).boxed()
    }

    fn facts(&self, _: FactQuestion) -> BoxFuture<'_, Result<Facts, StoreError>> {
        Box::pin(async { Err(StoreError::Unavailable("nobody asks".into())) })
    }
}

#[derive(Default)]
struct Shelf(Mutex<Vec<(Position, Bytes)>>);

impl Snapshots for Shelf {
    fn save(&self, view: &str, position: Position, bytes: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        assert_eq!(view, "fleet-v7");
        self.0.lock().unwrap().push((position, bytes));
        Box::pin(async { Ok(()) })
    }

    fn newest(&self, _: &str) -> BoxFuture<'_, Result<Option<(Position, Bytes)>, StoreError>> {
        Box::pin(async { Ok(self.0.lock().unwrap().last().cloned()) })
    }
}

fn nodes(count: u8) -> History {
    let mut history = History::default();
    for i in 1..=count {
        history.register(i, &format!("n{i}"), labels(&[]));
    }
    history
}

/// The same facts, those at these positions not the end of their batch.
fn batched(history: &History, inner: &[u64]) -> Vec<Stored> {
    let mut facts = history.facts.clone();
    facts.iter_mut().for_each(|fact| fact.batch_end = !inner.contains(&fact.position.0));
    facts
}

async fn follow(views: &Views, facts: Vec<Stored>, snapshot_every: u64) -> (FollowError, Arc<Shelf>) {
    let shelf = Arc::new(Shelf::default());
    let error = views.follow(Arc::new(Tape(facts)), shelf.clone(), snapshot_every).await;
    (error, shelf)
}

#[test]
fn half_a_batch_is_never_shown() {
    let history = nodes(4);
    let facts = batched(&history, &[2, 3]);
    let views = Views::default();
    let mut listener = views.listen();
    for (i, shown) in [1, 1, 1, 4].into_iter().enumerate() {
        views.apply(vec![facts[i].clone()]).unwrap();
        assert_eq!((views.position(), views.read().position), (Position(shown), Position(shown)));
        assert_eq!(views.read().nodes.rows().count() as u64, shown);
        assert_eq!(listener.len() as u64, shown);
    }
    let heard: Vec<u64> = std::iter::from_fn(|| listener.try_recv().ok()).map(|fact| fact.position.0).collect();
    assert_eq!(heard, [1, 2, 3, 4]);
    assert_eq!(*views.read(), history.state);
}

#[test]
fn an_empty_chunk_and_one_that_ends_in_a_half_batch_are_fine() {
    let history = nodes(3);
    let facts = batched(&history, &[2]);
    let views = Views::default();
    views.apply(Vec::new()).unwrap();
    views.apply(facts[..2].to_vec()).unwrap();
    assert_eq!(views.position(), Position(1));
    views.apply(facts[2..].to_vec()).unwrap();
    assert_eq!(views.position(), Position(3));
}

#[tokio::test]
async fn following_folds_everything_and_leaves_the_half_batch_at_the_end_out() {
    let history = nodes(20);
    let views = Views::default();
    let (error, _) = follow(&views, batched(&history, &[3, 4, 19, 20]), 1000).await;
    assert!(matches!(error, FollowError::Ended), "{error:?}");
    assert_eq!(*views.read(), fold(&history.facts[..18]));
    let (_, _) = follow(&views, history.facts.clone(), 1000).await;
    assert_eq!(*views.read(), history.state, "what was half comes again, and counts once");
}

#[tokio::test]
async fn a_listener_hears_every_fact_once_also_over_two_followings() {
    let history = nodes(6);
    let views = Views::default();
    let mut listener = views.listen();
    follow(&views, batched(&history, &[5, 6]), 1000).await;
    follow(&views, history.facts.clone(), 1000).await;
    let heard: Vec<u64> = std::iter::from_fn(|| listener.try_recv().ok()).map(|fact| fact.position.0).collect();
    assert_eq!(heard, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn an_unknown_event_stops_the_follower_at_the_fact_before() {
    let mut history = nodes(3);
    history.node(1, node::Event::Deleted(node::Deleted {}));
    let mut facts = history.facts.clone();
    facts[2].subject = facts[2].subject.replace("registered", "teleported");
    let views = Views::default();
    let (error, _) = follow(&views, facts, 1000).await;
    assert!(matches!(error, FollowError::Decode(DecodeError::UnknownEvent { .. })), "{error:?}");
    assert_eq!((views.position(), views.read().nodes.rows().count()), (Position(2), 2));
}

#[tokio::test]
async fn waiting_for_a_position_ends_when_the_batch_is_whole_or_patience_ends() {
    let history = nodes(3);
    let facts = batched(&history, &[2]);
    let (sender, wire) = Wire::new();
    let views = Views::default();
    let following = tokio::spawn({
        let views = views.clone();
        async move { views.follow(wire, Arc::new(Shelf::default()), 1000).await }
    });
    let patience = Duration::from_secs(10);
    sender.send(facts[0].clone()).unwrap();
    assert!(views.wait_for(Position(1), patience).await);
    sender.send(facts[1].clone()).unwrap();
    assert!(!views.wait_for(Position(2), Duration::from_millis(20)).await, "half a batch");
    sender.send(facts[2].clone()).unwrap();
    assert!(views.wait_for(Position(2), patience).await);
    assert_eq!(views.position(), Position(3));
    drop(sender);
    assert!(matches!(following.await.unwrap(), FollowError::Ended));
}

#[tokio::test]
async fn a_replica_starts_from_its_newest_snapshot_and_the_tail() {
    let history = nodes(10);
    let (sender, wire) = Wire::new();
    let shelf = Arc::new(Shelf::default());
    let views = Views::default();
    let following = tokio::spawn({
        let (views, shelf) = (views.clone(), shelf.clone());
        async move { views.follow(wire, shelf, 4).await }
    });
    for fact in &history.facts[..4] {
        sender.send(fact.clone()).unwrap();
    }
    assert!(views.wait_for(Position(4), Duration::from_secs(10)).await);
    drop(sender);
    following.await.unwrap();
    assert_eq!(shelf.0.lock().unwrap().iter().map(|(at, _)| at.0).collect::<Vec<_>>(), [4]);
    let restarted = Views::load(shelf.as_ref()).await.unwrap();
    assert_eq!((restarted.position(), &*restarted.read()), (Position(4), &fold(&history.facts[..4])));
    let mut listener = restarted.listen();
    follow(&restarted, history.facts.clone(), 1000).await;
    assert_eq!(*restarted.read(), history.state);
    assert_eq!(listener.recv().await.unwrap().position, Position(5), "only the tail is read");
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_used_means_starting_from_nothing() {
    let good = nodes(3).state.to_snapshot().unwrap();
    let unusable = [(Position(3), Bytes::from_static(b"rubbish")), (Position(2), Bytes::from(good))];
    for entry in unusable {
        let shelf = Shelf(Mutex::new(vec![entry]));
        let views = Views::load(&shelf).await.unwrap();
        assert_eq!(views.position(), Position::START);
        assert_eq!(views.read().nodes.rows().count(), 0);
    }
    assert_eq!(Views::load(&Shelf::default()).await.unwrap().position(), Position::START);
}
