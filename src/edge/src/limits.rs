//! Token buckets per client, kept as one number each: the time at which the bucket will be full again (GCRA).
//!
//! A credential is looked at before its failure is counted, so that one host that keeps showing a bad key cannot lock out the
//! others behind the same address; what is limited is how many failures an address may cause.

use crate::config::LimitsConfig;
use axum::http::{HeaderMap, HeaderValue};
use contract::Limiter;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Buckets that a class remembers; those that are full again are forgotten first.
const BUCKETS_MAX: usize = 1 << 18;
const SHARDS: usize = 16;
const SECOND_NS: u64 = 1_000_000_000;
const MINUTE_NS: u64 = 60 * SECOND_NS;
/// How often a full shard is searched for buckets to forget.
const SWEEP_INTERVAL_NS: u64 = 1_000_000_000;

/// Whose bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// A client address; of IPv6 the first 64 bits, which one site can vary freely below.
    Address([u8; 16]),
    /// A node, an API key or a join token that has proven itself.
    Id([u8; 16]),
    /// All who come while there is no room to tell them apart.
    Crowd,
}

impl Key {
    pub fn address(ip: IpAddr) -> Key {
        let v6 = match ip.to_canonical() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)),
        };
        Key::Address(v6.octets())
    }
}

/// What became of taking a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub allowed: bool,
    /// The class tells its clients where they stand.
    pub shown: bool,
    limit: u32,
    remaining: u32,
    /// Until the bucket is full, or when refused, until there is a token.
    reset_after: Duration,
}

impl Verdict {
    /// Whole seconds, rounded up.
    pub fn retry_after_s(&self) -> u64 {
        self.reset_after.as_millis().div_ceil(1000) as u64
    }

    pub fn reset_unix_s(&self) -> i64 {
        jiff::Timestamp::now().as_second().saturating_add_unsigned(self.retry_after_s())
    }

    pub fn write_headers(&self, headers: &mut HeaderMap) {
        headers.insert("x-ratelimit-limit", HeaderValue::from(self.limit));
        headers.insert("x-ratelimit-remaining", HeaderValue::from(self.remaining));
        headers.insert("x-ratelimit-reset", HeaderValue::from(self.reset_unix_s()));
    }
}

pub(crate) struct Limits {
    started: Instant,
    node: Option<Buckets>,
    api: Option<Buckets>,
    registration: Option<Buckets>,
    enrollment: Option<Buckets>,
    /// For those who show a join token.
    enrollment_token: Option<Buckets>,
}

impl Limits {
    pub fn new(config: &LimitsConfig) -> Limits {
        Limits {
            started: Instant::now(),
            node: Buckets::new(config.node_per_s, config.node_burst, false),
            api: Buckets::new(config.api_per_s, config.api_burst, true),
            registration: Buckets::new(config.registration_per_s, config.registration_burst, false),
            enrollment: Buckets::each(MINUTE_NS, config.enrollment_per_min, config.enrollment_burst, false),
            enrollment_token: Buckets::new(config.enrollment_token_per_s, config.enrollment_token_burst, false),
        }
    }

    /// None: the class is not limited.
    pub fn take(&self, class: Limiter, key: Key) -> Option<Verdict> {
        let buckets = match class {
            Limiter::None => None,
            Limiter::Node => self.node.as_ref(),
            Limiter::Api => self.api.as_ref(),
            Limiter::Registration => self.registration.as_ref(),
            Limiter::Enrollment => match key {
                Key::Id(_) => self.enrollment_token.as_ref(),
                Key::Address(_) | Key::Crowd => self.enrollment.as_ref(),
            },
        };
        let now_ns = self.started.elapsed().as_nanos() as u64;
        buckets.map(|buckets| buckets.take(key, now_ns))
    }
}

/// The buckets of one class.
struct Buckets {
    interval_ns: u64,
    burst: u32,
    shown: bool,
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
}

#[derive(Default)]
struct Shard {
    /// When each bucket is full again, in nanoseconds since the start.
    full_at_ns: HashMap<Key, u64>,
    swept_at_ns: u64,
}

impl Buckets {
    fn new(per_s: u32, burst: u32, shown: bool) -> Option<Buckets> {
        Buckets::each(SECOND_NS, per_s, burst, shown)
    }

    /// So many in each `time_ns`.
    fn each(time_ns: u64, count: u32, burst: u32, shown: bool) -> Option<Buckets> {
        let interval_ns = time_ns.checked_div(u64::from(count))?;
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Some(Buckets {
            interval_ns: interval_ns.max(1),
            burst: burst.max(1),
            shown,
            hasher: RandomState::new(),
            shards,
        })
    }

    fn take(&self, key: Key, now_ns: u64) -> Verdict {
        let shard = &self.shards[self.hasher.hash_one(key) as usize % SHARDS];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let key = shard.place_for(key, now_ns, BUCKETS_MAX / SHARDS);
        let full_at = shard.full_at_ns.entry(key).or_insert(now_ns);
        let depth_ns = self.interval_ns.saturating_mul(u64::from(self.burst));
        let next = (*full_at).max(now_ns).saturating_add(self.interval_ns);
        let owed = next - now_ns;
        if owed > depth_ns {
            return self.verdict(false, 0, owed - depth_ns);
        }
        *full_at = next;
        let remaining = (depth_ns - owed) / self.interval_ns;
        self.verdict(true, u32::try_from(remaining).unwrap_or(u32::MAX), owed)
    }

    fn verdict(&self, allowed: bool, remaining: u32, reset_ns: u64) -> Verdict {
        let reset_after = Duration::from_nanos(reset_ns);
        Verdict { allowed, shown: self.shown, limit: self.burst, remaining, reset_after }
    }
}

impl Shard {
    /// `key` itself, or the crowd's when the shard has no room for another.
    fn place_for(&mut self, key: Key, now_ns: u64, buckets_max: usize) -> Key {
        if self.full_at_ns.len() < buckets_max || self.full_at_ns.contains_key(&key) {
            return key;
        }
        if now_ns.saturating_sub(self.swept_at_ns) >= SWEEP_INTERVAL_NS {
            self.swept_at_ns = now_ns;
            self.full_at_ns.retain(|_, full_at| *full_at > now_ns);
        }
        if self.full_at_ns.len() < buckets_max { key } else { Key::Crowd }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn key(n: u8) -> Key {
        Key::Id([n; 16])
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let buckets = Buckets::new(10, 3, true).unwrap();
        let left: Vec<u32> = (0..3).map(|_| buckets.take(key(1), 0).remaining).collect();
        assert_eq!(left, [2, 1, 0]);
        let refused = buckets.take(key(1), 0);
        assert!(!refused.allowed);
        assert_eq!(refused.reset_after, Duration::from_millis(100));
        assert!(buckets.take(key(2), 0).allowed, "another client has another bucket");
        assert!(buckets.take(key(1), SECOND / 10).allowed);
        assert!(!buckets.take(key(1), SECOND / 10).allowed, "a refused call costs nothing, an allowed one a token");
        assert_eq!(buckets.take(key(1), 60 * SECOND).remaining, 2, "never more than the burst");
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        assert!(Buckets::new(0, 5, true).is_none());
    }

    #[test]
    fn memory_is_bounded_and_full_buckets_are_forgotten() {
        let mut shard = Shard::default();
        for n in 0..4 {
            let place = shard.place_for(key(n), 0, 4);
            shard.full_at_ns.insert(place, u64::from(n) * SECOND);
        }
        assert_eq!(shard.place_for(key(3), 0, 4), key(3), "those who are known keep their bucket");
        assert_eq!(shard.place_for(key(9), SECOND / 2, 4), Key::Crowd);
        assert_eq!(shard.place_for(key(9), 2 * SECOND, 4), key(9));
        assert_eq!(shard.full_at_ns.len(), 1);
    }

    #[test]
    fn an_ipv6_site_is_one_client() {
        let same = |a: &str, b: &str| Key::address(a.parse().unwrap()) == Key::address(b.parse().unwrap());
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
    }
}
