//! Presence: reads `PULSE`, remembers who was heard, and makes the fact when a node was silent for too long.
//!
//! Silence is counted by [`views::PresenceState`] in the stream's own time and only across ticks. A replica judges only after
//! it has read everything that was there when it began. Reading and judging are two tasks: while a fact takes its time, the
//! reader goes on, so that a store that answers slowly makes no node look silent.

use crate::control::Control;
use crate::execute::{Decision, Fact, Meta, now};
use crate::nodes::aggregate;
use contract::ApiError;
use domain::node::{self, Command, Status};
use domain::{Event, NodeId};
use futures_util::StreamExt;
use journal::{PulseKind, PulseMessage};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use views::State;

/// How many nodes are marked before silence is looked at anew.
const MARKED_AT_ONCE_MAX: usize = 256;
/// After so many failures the rest waits for the next tick.
const FAILURES_MAX: usize = 3;
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Follows the heartbeat stream for as long as the replica runs.
pub(crate) async fn follow_pulse(control: Control) {
    let target = begin(&control).await;
    let mut messages = control.pulse().follow();
    let mut judging = false;
    while let Some(message) = messages.next().await {
        take(&control, &message);
        if !judging && control.presence().read().sequence() >= target {
            expect_all(&control);
            judging = true;
        }
        if judging && message.kind == PulseKind::Tick {
            control.ticked().notify_one();
        }
    }
}

/// Makes the facts, for as long as the replica runs.
pub(crate) async fn mark_offline(control: Control) {
    loop {
        control.ticked().notified().await;
        while mark_silent(&control).await {}
    }
}

/// Waits until the views hold what was stored before now; returns the sequence up to which `PULSE` is history.
async fn begin(control: &Control) -> u64 {
    loop {
        let caught_up = control.catch_up().await;
        match (caught_up, control.pulse().last_sequence().await) {
            (Ok(()), Ok(sequence)) => {
                control.set_caught_up();
                return sequence;
            }
            (Err(e), _) => tracing::warn!(error = &e as &dyn std::error::Error, "waiting for the journal"),
            (_, Err(e)) => tracing::warn!(error = &e as &dyn std::error::Error, "waiting for the heartbeat stream"),
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

fn take(control: &Control, message: &PulseMessage) {
    let heard = control.presence().write().apply(message);
    match heard {
        Ok(heard) if heard.is_empty() => {}
        Ok(_) => {
            if control.views().read().rollouts.live().next().is_some() {
                control.heard().notify_one();
            }
        }
        Err(e) => tracing::error!(error = &e as &dyn std::error::Error, "a heartbeat batch cannot be read"),
    }
}

/// Every node that is not known to be offline is waited for from now on, unless it was heard already.
fn expect_all(control: &Control) {
    let state = control.views().read();
    let mut presence = control.presence().write();
    for row in state.nodes.rows().filter(|row| row.node.status != Status::Offline) {
        presence.expect(row.node.id);
    }
}

/// What became of a node that was silent.
enum Marked {
    Offline,
    /// It was heard after all.
    Heard,
    Gone,
}

/// Whether there are more.
async fn mark_silent(control: &Control) -> bool {
    let silence_ms = u64::from(control.settings().offline_after_s) * 1000;
    let silent = control.presence().read().silent(silence_ms);
    let more = silent.len() > MARKED_AT_ONCE_MAX;
    let mut failures = 0;
    for id in silent.into_iter().take(MARKED_AT_ONCE_MAX) {
        match mark(control, id, silence_ms).await {
            Ok(Marked::Offline) => control.presence().write().settle(id),
            Ok(Marked::Heard) => {}
            Ok(Marked::Gone) => control.presence().write().forget(id),
            Err(e) => {
                tracing::warn!(node = %id, error = &e as &dyn std::error::Error, "offline not stored yet");
                failures += 1;
                if failures == FAILURES_MAX {
                    return false;
                }
            }
        }
    }
    more && failures == 0
}

async fn mark(control: &Control, id: NodeId, silence_ms: u64) -> Result<Marked, ApiError> {
    let position = control.views().read().nodes.get(id).map(|node| node.position);
    let Some(position) = position else { return Ok(Marked::Gone) };
    let meta = Meta::system(&["offline", &id.to_string(), &position.to_string()]);
    let decide = |state: &State| {
        let Some(node) = state.nodes.get(id) else { return Ok(Decision::Nothing(Marked::Gone)) };
        let last_seen_at = {
            let presence = control.presence().read();
            if presence.silence_ms(id).is_some_and(|silent| silent < silence_ms) {
                return Ok(Decision::Nothing(Marked::Heard));
            }
            presence.seen(id).and_then(|seen| seen.at)
        };
        Ok(match node::decide(node, Command::MarkOffline { last_seen_at }) {
            Some(event) => {
                tracing::info!(node = %id, "node is offline");
                let fact = Fact::next(aggregate(node), node.position, Event::Node(event));
                Decision::Append(Box::new(fact), Marked::Offline)
            }
            None => Decision::Nothing(Marked::Offline),
        })
    };
    Ok(control.commit(&meta, decide).await?.value)
}

/// Starts to wait for new nodes, and stops for those that are deleted or were found offline by another replica.
pub(crate) async fn follow_facts(control: Control) {
    let mut facts = control.views().listen();
    loop {
        match facts.recv().await {
            Ok(fact) => {
                let domain::Aggregate::Node { id, .. } = fact.aggregate else { continue };
                let Event::Node(event) = &fact.envelope.event else { continue };
                let mut presence = control.presence().write();
                match event {
                    // A node that is back may have been settled after the beat that brought it back.
                    node::Event::Registered(_) | node::Event::Online(_) | node::Event::ActivationFailed(_) => {
                        presence.expect(id);
                    }
                    node::Event::Deleted(_) => presence.forget(id),
                    node::Event::Offline(_) => presence.settle(id),
                    node::Event::Approved(_)
                    | node::Event::KeyRotated(_)
                    | node::Event::ActivationReceipt(_)
                    | node::Event::BundleSwitched(_)
                    | node::Event::Changed(_) => {}
                }
            }
            Err(RecvError::Lagged(missed)) => {
                tracing::debug!(missed, at = %now(), "looking at all nodes instead");
                expect_all(&control);
            }
            Err(RecvError::Closed) => return,
        }
    }
}
