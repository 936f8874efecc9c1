//! Which assignments this node accepted and what became of them. Pure; `state` keeps it on disk.
//!
//! Invariant: `accepted` never goes down, `active` changes only to a bundle whose activation succeeded, and no step forgets
//! it. A failed assignment stays failed until a higher counter arrives.

use domain::{BundleId, BundleVersion};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use trust::Counter;

/// How often an activation that never came to an end (the host or the agent stopped) is tried before it counts as failed.
pub const INTERRUPTED_MAX: u32 = 3;
/// Receipts that wait for the server at most; the control plane remembers eight assignments of a node.
const UNTOLD_MAX: usize = 8;

/// A bundle as it lies on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    pub id: BundleId,
    pub version: BundleVersion,
    /// SHA-256 of the archive, 64 lowercase hex digits: also the directory's name.
    pub digest: String,
}

/// A bundle and the assignment that brought it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub bundle: Bundle,
    pub counter: Counter,
}

/// The newest assignment that failed here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    pub target: Target,
    /// What the operators are told.
    pub error: String,
}

/// An activation that succeeded, as a receipt tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switched {
    pub target: Target,
    pub at: Timestamp,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    pub accepted: Option<Target>,
    /// How often the activation of `accepted` has begun.
    pub attempts: u32,
    /// An activation has begun, or one failed and the way back is not finished.
    pub switching: bool,
    pub active: Option<Bundle>,
    /// What was active before: where an operator goes back to.
    pub previous: Option<Bundle>,
    pub failed: Option<Failed>,
    /// Activations whose receipts the server has not heard, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untold: Vec<Switched>,
}

impl Progress {
    /// An activation begins.
    pub fn begin(&mut self, target: &Target) {
        self.raise(target);
        self.attempts += 1;
        self.switching = true;
    }

    pub fn succeed(&mut self, target: &Target) {
        self.raise(target);
        if self.active.as_ref() != Some(&target.bundle) {
            self.previous = self.active.replace(target.bundle.clone());
        }
        self.switching = false;
        self.failed = None;
    }

    /// A success that a receipt is to tell. The newest ones are kept.
    pub fn tell(&mut self, target: &Target, at: Timestamp) {
        self.untold.retain(|switched| switched.target.counter < target.counter);
        let old = (self.untold.len() + 1).saturating_sub(UNTOLD_MAX);
        self.untold.drain(..old);
        self.untold.push(Switched { target: target.clone(), at });
    }

    /// The server has heard all receipts up to this one.
    pub fn told(&mut self, counter: Counter) {
        self.untold.retain(|switched| switched.target.counter > counter);
    }

    /// The target cannot be activated. Says nothing of `switching`: the way back is a step of its own.
    pub fn fail(&mut self, target: &Target, error: String) {
        self.raise(target);
        self.failed = Some(Failed { target: target.clone(), error });
    }

    /// `current` leads to the active bundle again. An activation that was interrupted too often has failed.
    pub fn recover(&mut self) {
        self.switching = false;
        let Some(target) = self.accepted.clone() else { return };
        let undecided = self.failed.is_none() && self.active.as_ref() != Some(&target.bundle);
        if undecided && self.attempts >= INTERRUPTED_MAX {
            self.fail(&target, format!("the activation was interrupted {INTERRUPTED_MAX} times"));
        }
    }

    /// A newer assignment forgets what became of the older ones.
    pub fn raise(&mut self, target: &Target) {
        if self.accepted.as_ref().is_some_and(|accepted| accepted.counter >= target.counter) {
            return;
        }
        self.accepted = Some(target.clone());
        self.attempts = 0;
        self.failed = None;
    }

    pub fn is_failed(&self, target: &Target) -> bool {
        self.failed.as_ref().is_some_and(|failed| failed.target.counter == target.counter)
    }

    /// The digests that no clean-up touches.
    pub fn in_use(&self) -> Vec<&str> {
        let accepted = self.accepted.as_ref().map(|target| &target.bundle);
        [self.active.as_ref(), self.previous.as_ref(), accepted]
            .into_iter()
            .flatten()
            .map(|bundle| bundle.digest.as_str())
            .collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::target;

    #[test]
    fn a_success_moves_the_active_bundle_to_previous() {
        let mut progress = Progress::default();
        for n in [1, 2] {
            progress.begin(&target(n));
            assert!(progress.switching);
            progress.succeed(&target(n));
        }
        assert_eq!(progress.active, Some(target(2).bundle));
        assert_eq!(progress.previous, Some(target(1).bundle));
        progress.succeed(&target(2));
        assert_eq!(progress.previous, Some(target(1).bundle), "the same once more changes nothing");
        assert!(!progress.switching);
    }

    #[test]
    fn a_failure_keeps_the_active_bundle_and_ends_with_a_newer_assignment() {
        let mut progress = Progress::default();
        progress.succeed(&target(1));
        progress.begin(&target(2));
        progress.fail(&target(2), "broken".into());
        progress.recover();
        assert_eq!(progress.active, Some(target(1).bundle));
        assert!(progress.is_failed(&target(2)));
        let again = Target { counter: target(3).counter, ..target(2) };
        assert!(!progress.is_failed(&again), "a new assignment of the same bundle is tried");
        progress.begin(&again);
        assert_eq!((progress.attempts, &progress.failed), (1, &None));
    }

    #[test]
    fn an_activation_that_never_ends_fails_after_three_attempts() {
        let mut progress = Progress::default();
        progress.succeed(&target(1));
        for attempt in 1..=INTERRUPTED_MAX {
            progress.begin(&target(2));
            progress.recover();
            assert_eq!(progress.is_failed(&target(2)), attempt == INTERRUPTED_MAX, "attempt {attempt}");
        }
        assert_eq!(progress.active, Some(target(1).bundle));
    }

    #[test]
    fn receipts_wait_in_order_and_the_newest_eight_are_kept() {
        let mut progress = Progress::default();
        let counters = |progress: &Progress| -> Vec<u64> {
            progress.untold.iter().map(|switched| switched.target.counter.position).collect()
        };
        (1..=9).for_each(|n| progress.tell(&target(n), Timestamp::UNIX_EPOCH));
        assert_eq!(counters(&progress), [2, 3, 4, 5, 6, 7, 8, 9]);
        progress.tell(&target(9), Timestamp::UNIX_EPOCH);
        assert_eq!(counters(&progress).len(), 8, "the same once more is one receipt");
        progress.told(target(7).counter);
        assert_eq!(counters(&progress), [8, 9]);
    }

    #[test]
    fn the_counter_never_goes_down() {
        let mut progress = Progress::default();
        progress.succeed(&target(5));
        progress.raise(&target(3));
        assert_eq!(progress.accepted.unwrap().counter, target(5).counter);
    }
}
