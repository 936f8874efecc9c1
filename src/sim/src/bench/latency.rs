//! Latencies of one round, sorted once at the end.

use serde_json::{Value, json};
use std::time::Duration;

#[derive(Debug, Default)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    pub fn add(&mut self, took: Duration) {
        self.0.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    pub fn extend(&mut self, other: Latencies) {
        self.0.extend(other.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// `{p50_ms, p99_ms, max_ms}`
    pub fn summary(&mut self) -> Value {
        self.0.sort_unstable();
        let at = |share: f64| {
            let index = ((self.0.len() as f64 * share) as usize).min(self.0.len().saturating_sub(1));
            f64::from(self.0.get(index).copied().unwrap_or(0)) / 1000.0
        };
        json!({"p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1.0)})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_read_off_the_sorted_list() {
        let mut latencies = Latencies::default();
        (1..=100).rev().for_each(|ms| latencies.add(Duration::from_millis(ms)));
        assert_eq!(latencies.summary(), json!({"p50_ms": 51.0, "p99_ms": 100.0, "max_ms": 100.0}));
    }
}
