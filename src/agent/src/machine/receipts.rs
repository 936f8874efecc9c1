//! Receipts: one with each heartbeat, oldest first, until the server has answered one that carried it.
//!
//! Invariant: while an activation is under way, the progress is its own to keep, so what the server has heard meanwhile is
//! taken off it only afterwards.

use super::{Action, Machine, Work};
use crate::call::CallError;
use crate::progress::Switched;
use contract::ErrorCode;
use std::time::Duration;
use trust::Counter;

#[derive(Default)]
pub(super) struct Receipts {
    /// What the beat that is under way tells.
    telling: Option<Counter>,
    /// The newest that the server has heard.
    heard: Option<Counter>,
}

impl Machine {
    pub(super) fn receipt_to_tell(&mut self) -> Option<Switched> {
        let next = self.next_receipt().cloned();
        self.receipts.telling = next.as_ref().map(|switched| switched.target.counter);
        next
    }

    fn next_receipt(&self) -> Option<&Switched> {
        self.progress.untold.iter().find(|switched| Some(switched.target.counter) > self.receipts.heard)
    }

    pub(super) fn receipt_heard(&mut self, now: Duration) -> Vec<Action> {
        let Some(counter) = self.receipts.telling.take() else { return Vec::new() };
        self.receipts.heard = self.receipts.heard.max(Some(counter));
        if self.next_receipt().is_some() {
            self.beat.due = now;
        }
        self.forget_told()
    }

    /// A server that takes no beat with it must still hear that the node is alive.
    pub(super) fn receipt_refused(&mut self, error: &CallError) -> Vec<Action> {
        let Some(counter) = self.receipts.telling.take() else { return Vec::new() };
        if !error.is_code(ErrorCode::ValidationFailed) {
            return Vec::new();
        }
        tracing::error!(%error, "the receipt of an activation is given up");
        self.receipts.heard = self.receipts.heard.max(Some(counter));
        self.forget_told()
    }

    pub(super) fn forget_told(&mut self) -> Vec<Action> {
        let Some(heard) = self.receipts.heard.filter(|_| !matches!(self.work, Work::Activating(_))) else {
            return Vec::new();
        };
        let before = self.progress.untold.len();
        self.progress.told(heard);
        if self.progress.untold.len() == before { Vec::new() } else { vec![Action::Save(self.progress.clone())] }
    }
}
