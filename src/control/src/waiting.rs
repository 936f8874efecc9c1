//! Nodes that wait for their next offer. A waiter is one entry in a map: it costs no consumer, no timer and no task of its own.
//! One reactor follows the facts for all and looks once a second at those whose time is over.
//!
//! Invariant: a waiter enters before it looks, and whoever changes what it may see wakes it afterwards, so that no change falls
//! between the two. Woken for nothing, it looks and waits on.
//!
//! Absent on purpose: what is due to a node. That is asked anew after every wake-up.

use domain::NodeId;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

pub(crate) struct Waiters {
    began: Instant,
    waiting_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    by_node: HashMap<NodeId, Entry>,
    /// Who ends in which second since the beginning. Holds the same nodes as `by_node`.
    by_second: BTreeMap<u64, HashSet<NodeId>>,
    /// Nobody waits any more: the replica stops.
    closed: bool,
}

struct Entry {
    slot: Arc<Slot>,
    ends_s: u64,
}

#[derive(Default)]
struct Slot {
    news: Notify,
    ended: AtomicBool,
}

impl Slot {
    fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.news.notify_one();
    }
}

/// There is no room, or the replica stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoWait;

/// One node's place. Dropping it, as when the client goes away, gives it up.
pub(crate) struct Waiting<'a> {
    waiters: &'a Waiters,
    node: NodeId,
    slot: Arc<Slot>,
}

impl Waiters {
    pub fn new(waiting_max: usize) -> Waiters {
        Waiters { began: Instant::now(), waiting_max, inner: Mutex::default() }
    }

    /// Takes a place for `time`. A node has one place: its older question is answered.
    pub fn enter(&self, node: NodeId, time: Duration) -> Result<Waiting<'_>, NoWait> {
        self.enter_until(node, self.began.elapsed() + time)
    }

    /// `end` counts from the beginning, rounded up, so that a wait is never shorter than what was asked for.
    fn enter_until(&self, node: NodeId, end: Duration) -> Result<Waiting<'_>, NoWait> {
        let ends_s = end.as_millis().div_ceil(1000) as u64;
        let mut inner = self.inner();
        if inner.closed {
            return Err(NoWait);
        }
        if let Some(older) = inner.remove(node) {
            older.end();
        }
        if inner.by_node.len() >= self.waiting_max {
            return Err(NoWait);
        }
        let slot = Arc::new(Slot::default());
        inner.by_node.insert(node, Entry { slot: slot.clone(), ends_s });
        inner.by_second.entry(ends_s).or_default().insert(node);
        Ok(Waiting { waiters: self, node, slot })
    }

    /// Something that the node would see may have changed.
    pub fn wake(&self, node: NodeId) {
        if let Some(entry) = self.inner().by_node.get(&node) {
            entry.slot.news.notify_one();
        }
    }

    pub fn wake_these<'n>(&self, nodes: impl IntoIterator<Item = &'n NodeId>) {
        let inner = self.inner();
        nodes.into_iter().filter_map(|node| inner.by_node.get(node)).for_each(|entry| entry.slot.news.notify_one());
    }

    pub fn wake_all(&self) {
        self.inner().by_node.values().for_each(|entry| entry.slot.news.notify_one());
    }

    /// Ends those whose time is over.
    pub fn end_overdue(&self) {
        self.end_overdue_at(self.began.elapsed());
    }

    fn end_overdue_at(&self, now: Duration) {
        let now_s = now.as_secs();
        let mut inner = self.inner();
        let later = inner.by_second.split_off(&(now_s + 1));
        let over = std::mem::replace(&mut inner.by_second, later);
        for node in over.into_values().flatten() {
            if let Some(entry) = inner.by_node.remove(&node) {
                entry.slot.end();
            }
        }
    }

    /// Ends all, and lets nobody wait from now on.
    pub fn close(&self) {
        let mut inner = self.inner();
        inner.closed = true;
        inner.by_second.clear();
        inner.by_node.drain().for_each(|(_, entry)| entry.slot.end());
    }

    pub fn is_closed(&self) -> bool {
        self.inner().closed
    }

    pub fn len(&self) -> usize {
        self.inner().by_node.len()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remove(&mut self, node: NodeId) -> Option<Arc<Slot>> {
        let entry = self.by_node.remove(&node)?;
        if let Some(nodes) = self.by_second.get_mut(&entry.ends_s) {
            nodes.remove(&node);
            if nodes.is_empty() {
                self.by_second.remove(&entry.ends_s);
            }
        }
        Some(entry.slot)
    }
}

impl Waiting<'_> {
    /// Until there may be news. False: the wait is over.
    pub async fn news(&self) -> bool {
        self.slot.news.notified().await;
        !self.slot.ended.load(Ordering::Acquire)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut inner = self.waiters.inner();
        // The place may be a newer question's by now.
        if inner.by_node.get(&self.node).is_some_and(|entry| Arc::ptr_eq(&entry.slot, &self.slot)) {
            inner.remove(self.node);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn node(n: u8) -> NodeId {
        NodeId::from_parts(1, [n; 10])
    }

    #[tokio::test]
    async fn a_wake_up_before_the_wait_is_not_lost() {
        let waiters = Waiters::new(10);
        let waiting = waiters.enter(node(1), LONG).unwrap();
        waiters.wake(node(1));
        waiters.wake(node(2));
        assert!(waiting.news().await);
        waiters.wake_these(&[node(1), node(3)]);
        waiters.wake_all();
        assert!(waiting.news().await, "several wake-ups are one");
        tokio::select! {
            biased;
            _ = waiting.news() => panic!("woken twice"),
            () = tokio::task::yield_now() => {}
        }
    }

    #[tokio::test]
    async fn time_ends_a_wait_and_never_early() {
        let waiters = Waiters::new(10);
        let short = waiters.enter_until(node(1), Duration::from_millis(2_700)).unwrap();
        let long = waiters.enter_until(node(2), LONG).unwrap();
        for (now_ms, left) in [(2_699, 2), (2_999, 2), (3_000, 1), (59_999, 1), (60_000, 0)] {
            waiters.end_overdue_at(Duration::from_millis(now_ms));
            assert_eq!(waiters.len(), left, "{now_ms}");
        }
        assert!(!short.news().await && !long.news().await);
        assert!(waiters.inner().by_second.is_empty());
    }

    #[tokio::test]
    async fn a_newer_question_replaces_the_older_and_outlives_it() {
        let waiters = Waiters::new(1);
        let older = waiters.enter(node(1), LONG).unwrap();
        let newer = waiters.enter(node(1), LONG).unwrap();
        assert!(!older.news().await);
        drop(older);
        assert_eq!(waiters.len(), 1, "the place is the newer one's");
        waiters.wake(node(1));
        assert!(newer.news().await);
        assert_eq!(waiters.enter(node(2), LONG).err(), Some(NoWait));
        drop(newer);
        assert!(waiters.inner().by_second.is_empty());
        assert!(waiters.enter(node(2), LONG).is_ok());
    }

    #[tokio::test]
    async fn closing_ends_all_and_admits_nobody() {
        let waiters = Waiters::new(10);
        let waiting = waiters.enter(node(1), LONG).unwrap();
        waiters.close();
        assert!(!waiting.news().await);
        assert_eq!(waiters.enter(node(1), LONG).err(), Some(NoWait));
        assert_eq!(waiters.len(), 0);
    }
}
