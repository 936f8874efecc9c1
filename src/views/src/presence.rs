//! Who was heard when: a fold of the `PULSE` stream, the only place where a heartbeat is remembered.
//!
//! Silence is measured in the stream's own time and only across edge ticks: between two messages at most [`GAP_MAX_MS`] count.
//! While nothing is written (the control plane is down, the server is down, this follower stalls) no silence accumulates, so
//! that no outage of ours makes a node offline.

use domain::NodeId;
use jiff::Timestamp;
use journal::{PulseKind, PulseMessage};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Ticks come every second; a longer gap means that nobody could be heard.
const GAP_MAX_MS: u64 = 2_500;

/// One heartbeat in a `PULSE` batch (MessagePack, an array of these with field names).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeatRecord {
    pub node: NodeId,
    /// `health.status` is absent or `healthy`.
    pub healthy: bool,
    /// The heartbeat's `health` and `metrics` as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Seen {
    /// Stream time of the newest heartbeat; none for a node that is only waited for.
    pub at: Option<Timestamp>,
    pub healthy: bool,
    pub health: Option<String>,
    pub metrics: Option<String>,
    covered_ms: u64,
}

#[derive(Debug, Default)]
pub struct PresenceState {
    /// Milliseconds of stream time that counted so far.
    covered_ms: u64,
    newest: Option<Timestamp>,
    /// Sequence of the newest message taken in.
    sequence: u64,
    seen: HashMap<NodeId, Seen>,
    by_silence: BTreeSet<(u64, NodeId)>,
}

/// The presence of one replica, shared between the follower and the readers.
#[derive(Debug, Default)]
pub struct Presence(RwLock<PresenceState>);

impl Presence {
    pub fn read(&self) -> RwLockReadGuard<'_, PresenceState> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, PresenceState> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PresenceState {
    pub fn seen(&self, id: NodeId) -> Option<&Seen> {
        self.seen.get(&id)
    }

    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Stream time of the newest message.
    pub fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// Takes one message in and returns the nodes that it heard. A batch that cannot be read is an error of ours; it counts as
    /// a tick.
    pub fn apply(&mut self, message: &PulseMessage) -> Result<Vec<NodeId>, rmp_serde::decode::Error> {
        if message.sequence <= self.sequence {
            return Ok(Vec::new());
        }
        self.sequence = message.sequence;
        if let Some(newest) = self.newest {
            let gap_ms = u64::try_from(message.time.duration_since(newest).as_millis()).unwrap_or(0);
            self.covered_ms += gap_ms.min(GAP_MAX_MS);
        }
        self.newest = self.newest.max(Some(message.time));
        if message.kind == PulseKind::Tick {
            return Ok(Vec::new());
        }
        let beats: Vec<BeatRecord> = rmp_serde::from_slice(&message.body)?;
        Ok(beats.into_iter().map(|beat| self.hear(beat, message.time)).collect())
    }

    /// Starts to wait from now on for a node that was not heard yet or whose silence was settled; changes nothing for others.
    pub fn expect(&mut self, id: NodeId) {
        let covered_ms = self.covered_ms;
        let unheard = || Seen { at: None, healthy: true, health: None, metrics: None, covered_ms };
        let seen = self.seen.entry(id).or_insert_with(unheard);
        if !self.by_silence.contains(&(seen.covered_ms, id)) {
            seen.covered_ms = covered_ms;
            self.by_silence.insert((covered_ms, id));
        }
    }

    pub fn forget(&mut self, id: NodeId) {
        if let Some(seen) = self.seen.remove(&id) {
            self.by_silence.remove(&(seen.covered_ms, id));
        }
    }

    /// Nodes that were silent for so long, the longest first.
    pub fn silent(&self, silence_ms: u64) -> Vec<NodeId> {
        let Some(limit) = self.covered_ms.checked_sub(silence_ms) else {
            return Vec::new();
        };
        self.by_silence.iter().take_while(|(covered_ms, _)| *covered_ms <= limit).map(|(_, id)| *id).collect()
    }

    /// Milliseconds of counted silence; none for a node that is not followed.
    pub fn silence_ms(&self, id: NodeId) -> Option<u64> {
        self.seen.get(&id).map(|seen| self.covered_ms.saturating_sub(seen.covered_ms))
    }

    /// Stops counting the silence of a node that is offline by now; its last heartbeat stays known.
    pub fn settle(&mut self, id: NodeId) {
        if let Some(seen) = self.seen.get(&id) {
            self.by_silence.remove(&(seen.covered_ms, id));
        }
    }

    fn hear(&mut self, beat: BeatRecord, at: Timestamp) -> NodeId {
        let covered_ms = self.covered_ms;
        let old = self.seen.insert(
            beat.node,
            Seen { at: Some(at), healthy: beat.healthy, health: beat.health, metrics: beat.metrics, covered_ms },
        );
        if let Some(old) = old {
            self.by_silence.remove(&(old.covered_ms, beat.node));
        }
        self.by_silence.insert((covered_ms, beat.node));
        beat.node
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn message(sequence: u64, second: i64, beats: &[NodeId]) -> PulseMessage {
        let records: Vec<BeatRecord> =
            beats.iter().map(|node| BeatRecord { node: *node, healthy: true, health: None, metrics: None }).collect();
        PulseMessage {
            sequence,
            time: Timestamp::from_second(second).unwrap(),
            kind: if beats.is_empty() { PulseKind::Tick } else { PulseKind::Beat },
            edge: "e1".into(),
            body: rmp_serde::to_vec_named(&records).unwrap().into(),
        }
    }

    #[test]
    fn silence_counts_only_while_ticks_are_written() {
        let node = NodeId::from_parts(1, [1; 10]);
        let mut presence = PresenceState::default();
        assert_eq!(presence.apply(&message(1, 0, &[node])).unwrap(), [node]);
        presence.apply(&message(2, 600, &[])).unwrap();
        assert_eq!(presence.silence_ms(node), Some(GAP_MAX_MS), "ten minutes of outage are no silence");
        for second in 601..=718 {
            presence.apply(&message(second as u64, second, &[])).unwrap();
        }
        assert_eq!(presence.silent(120_500), [NodeId::from_parts(1, [1; 10])]);
        assert_eq!(presence.silent(120_501), []);
        presence.apply(&message(1000, 719, &[node])).unwrap();
        assert_eq!(presence.silent(1), []);
    }

    #[test]
    fn a_node_that_never_beats_becomes_silent_too() {
        let node = NodeId::from_parts(1, [1; 10]);
        let mut presence = PresenceState::default();
        presence.apply(&message(1, 0, &[])).unwrap();
        presence.expect(node);
        presence.apply(&message(2, 2, &[])).unwrap();
        assert_eq!(presence.silent(2_000), [node]);
        presence.settle(node);
        assert_eq!(presence.silent(2_000), []);
        presence.expect(node);
        assert_eq!(
            (presence.silence_ms(node), presence.silent(0)),
            (Some(0), vec![node]),
            "waited for again, from now on"
        );
    }
}
