//! The servers of one installation, of which one is in use: the one that answered last.
//!
//! Invariant: a server is not asked again before the time that it named, within a bound; when none can be reached, all of them
//! are tried once between waits that grow.

use crate::call::CallError;
use crate::machine::pace::{RETRY_AFTER_MAX, Random};
use std::time::Duration;

/// Between servers of which each may be the one that works.
pub const FAILOVER_SPREAD: Duration = Duration::from_millis(500);

/// What to do about a call that failed.
enum Remedy {
    /// The same server, later.
    Later,
    /// Another server.
    Elsewhere,
    /// Nothing that this host can do.
    None,
}

pub struct Servers {
    current: usize,
    /// By server.
    not_before: Vec<Duration>,
    /// Calls in a row without an answer that can be used.
    failures: u32,
}

impl Servers {
    pub fn new(count: usize) -> Servers {
        Servers { current: 0, not_before: vec![Duration::ZERO; count.max(1)], failures: 0 }
    }

    pub fn current(&self) -> usize {
        self.current
    }

    /// When the one in use may be asked.
    pub fn ready_at(&self) -> Duration {
        self.not_before[self.current]
    }

    /// The one in use gave an answer that can be used.
    pub fn answered(&mut self) {
        self.failures = 0;
    }

    /// When to try again. None: this error stays.
    pub fn postpone(&mut self, error: &CallError, now: Duration, random: &mut Random) -> Option<Duration> {
        let remedy = remedy(error);
        if matches!(remedy, Remedy::None) {
            return None;
        }
        tracing::warn!(%error, server = self.current, "trying again");
        if let Some(asked) = error.retry_after() {
            let asked = asked.min(RETRY_AFTER_MAX);
            // Spread on top, so that hosts refused together do not come back together.
            self.not_before[self.current] = now + asked + random.up_to(asked / 4 + FAILOVER_SPREAD);
        }
        if matches!(remedy, Remedy::Elsewhere) {
            return Some(self.next_one(now, random));
        }
        self.failures = self.failures.saturating_add(1);
        Some(now + random.backoff(self.failures))
    }

    /// Takes the next server, and says when to try it.
    pub fn next_one(&mut self, now: Duration, random: &mut Random) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.current = (self.current + 1) % self.not_before.len();
        let count = u32::try_from(self.not_before.len()).unwrap_or(u32::MAX);
        let wait = match self.failures % count {
            0 => random.backoff(self.failures / count),
            _ => random.up_to(FAILOVER_SPREAD),
        };
        now + wait
    }
}

fn remedy(error: &CallError) -> Remedy {
    match error {
        CallError::Unreachable(_) | CallError::Malformed(_) => Remedy::Elsewhere,
        CallError::Refused { status: 408 | 429, .. } => Remedy::Later,
        CallError::Refused { status: 300..=399 | 500.., .. } => Remedy::Elsewhere,
        CallError::Refused { .. } => Remedy::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, retry_after_s: Option<u64>) -> CallError {
        CallError::refused(status, b"", retry_after_s.map(Duration::from_secs))
    }

    #[test]
    fn each_server_gets_its_turn_before_a_wait_that_grows() {
        let (mut servers, mut random) = (Servers::new(3), Random::new(1));
        let mut turns = Vec::new();
        for _ in 0..9 {
            let wait = servers.postpone(&error(503, None), Duration::ZERO, &mut random).unwrap_or_default();
            turns.push((servers.current(), wait <= FAILOVER_SPREAD, wait >= Duration::from_secs(1)));
        }
        let soon = |server| (server, true, false);
        assert_eq!(&turns[..2], [soon(1), soon(2)]);
        assert_eq!((&turns[3..5], turns[5]), ([soon(1), soon(2)].as_slice(), (0, false, true)));
        assert_eq!(turns[8], (0, false, true), "the third round's wait is up to 4 s");
        servers.answered();
        let wait = servers.postpone(&error(503, None), Duration::ZERO, &mut random).unwrap_or_default();
        assert!(wait <= FAILOVER_SPREAD);
    }

    #[test]
    fn a_busy_server_is_kept_and_left_alone_as_long_as_it_asks_for() {
        let (mut servers, mut random) = (Servers::new(2), Random::new(1));
        let _due = servers.postpone(&error(429, Some(17)), Duration::from_secs(100), &mut random);
        assert_eq!(servers.current(), 0);
        let ready = servers.ready_at();
        assert!((Duration::from_secs(117)..Duration::from_secs(123)).contains(&ready), "{ready:?}");
        let _due = servers.postpone(&error(429, Some(u64::MAX)), Duration::ZERO, &mut random);
        assert!(servers.ready_at() <= RETRY_AFTER_MAX * 5 / 4 + FAILOVER_SPREAD, "no server silences a host for ever");
        let _due = servers.postpone(&error(503, Some(17)), Duration::ZERO, &mut random);
        assert_eq!((servers.current(), servers.ready_at()), (1, Duration::ZERO), "the other one did not ask for that");
    }

    #[test]
    fn only_some_errors_pass() {
        let stays = |status| Servers::new(1).postpone(&error(status, None), Duration::ZERO, &mut Random::new(1));
        assert!([400, 401, 403, 404, 405, 409, 410, 422].into_iter().all(|status| stays(status).is_none()));
        assert!([302, 408, 429, 500, 502, 503].into_iter().all(|status| stays(status).is_some()));
    }
}
