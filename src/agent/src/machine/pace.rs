//! When something is tried (again): intervals within bounds, and waits that grow and are spread.

use std::time::Duration;

/// Until the server says otherwise.
pub const POLL_DEFAULT: Duration = Duration::from_secs(30);

/// What a server may ask for as an interval.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
const INTERVAL_MAX: Duration = Duration::from_secs(3600);
/// A token is not renewed more often than every two thirds of this.
const TOKEN_LIFETIME_MIN: Duration = Duration::from_secs(30);
const TOKEN_LIFETIME_MAX: Duration = Duration::from_secs(7 * 86_400);

const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// No longer than a heartbeat interval: after an outage of the control plane a node is heard again well before it counts as silent.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// No server silences a node for longer than this.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(900);

pub fn interval(asked_s: u32) -> Duration {
    Duration::from_secs(asked_s.into()).clamp(INTERVAL_MIN, INTERVAL_MAX)
}

pub fn token_lifetime(asked_s: u32) -> Duration {
    Duration::from_secs(asked_s.into()).clamp(TOKEN_LIFETIME_MIN, TOKEN_LIFETIME_MAX)
}

/// Something that is done again and again, one at a time.
#[derive(Clone, Debug, Default)]
pub struct Job {
    pub due: Duration,
    pub running: bool,
    /// In a row.
    pub failures: u32,
}

impl Job {
    /// True when it is due and not running: now it runs.
    pub fn start(&mut self, now: Duration) -> bool {
        let starts = !self.running && self.due <= now;
        self.running |= starts;
        starts
    }

    pub fn succeed(&mut self, due: Duration) {
        *self = Job { due, running: false, failures: 0 };
    }

    pub fn fail(&mut self, now: Duration, retry_after: Option<Duration>, random: &mut Random) {
        self.running = false;
        self.failures = self.failures.saturating_add(1);
        let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        // Spread on top of what was asked for, so that nodes refused together do not come back together.
        self.due = now + asked + random.backoff(self.failures);
    }
}

/// SplitMix64: spreads waits, guards nothing.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Between half and all of 1 s, 2 s, 4 s … 30 s.
    pub fn backoff(&mut self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(10);
        let full = (BACKOFF_FIRST * 2u32.pow(doublings)).min(BACKOFF_MAX);
        full / 2 + self.up_to(full / 2)
    }

    /// From nothing to `longest`, in milliseconds.
    pub fn up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_millis(self.next() % (longest.as_millis() as u64).saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_are_spread_and_bounded() {
        let mut random = Random::new(1);
        for (failures, full_s) in [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (u32::MAX, 30)] {
            let full = Duration::from_secs(full_s);
            let waits: Vec<Duration> = (0..100).map(|_| random.backoff(failures)).collect();
            assert!(waits.iter().all(|wait| (full / 2..=full).contains(wait)), "{failures}");
            assert!(waits.iter().any(|wait| *wait != waits[0]), "{failures}");
        }
    }

    #[test]
    fn a_server_can_neither_hurry_nor_silence_a_node() {
        assert_eq!(interval(0), INTERVAL_MIN);
        assert_eq!(interval(u32::MAX), INTERVAL_MAX);
        let mut job = Job::default();
        job.fail(Duration::ZERO, Some(Duration::MAX), &mut Random::new(1));
        assert!(job.due <= RETRY_AFTER_MAX + BACKOFF_FIRST);
    }
}
