//! Whether this replica can serve, and what an answered mutation survives.

use crate::control::Control;
use crate::execute::now;
use contract::{DurabilityBody, Readiness};
use jiff::SignedDuration;

/// How far the views may be behind the journal.
const LAG_FACTS_MAX: u64 = 10_000;
/// Ticks come every second; without one for so long, heartbeats do not reach the store or this replica does not read them.
const TICK_AGE_MAX: SignedDuration = SignedDuration::from_secs(10);

/// Read from the server at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurabilityContract {
    pub replicas: u32,
    /// `always`, or the server's interval such as `2m0s`.
    pub sync_interval: String,
    /// One sentence.
    pub contract: String,
}

impl Control {
    pub async fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        match self.reader().last_position().await {
            Ok(last) => {
                let lag = last.0.saturating_sub(self.position().0);
                self.store_metrics().lag(lag);
                if !self.is_caught_up() || lag > LAG_FACTS_MAX {
                    reasons.push(format!("the views are {lag} facts behind the journal"));
                }
            }
            Err(e) => reasons.push(format!("the journal does not answer: {e}")),
        }
        if !self.credentials().is_caught_up() {
            reasons.push("the credentials have not been read yet".to_owned());
        }
        let newest = self.presence().read().newest();
        if newest.is_none_or(|at| now().duration_since(at) > TICK_AGE_MAX) {
            reasons.push("heartbeats do not come back from the store".to_owned());
        }
        let durability = self.durability().map(|d| DurabilityBody {
            replicas: d.replicas,
            sync_interval: d.sync_interval.clone(),
            contract: d.contract.clone(),
        });
        Readiness {
            status: if reasons.is_empty() { "ok" } else { "unavailable" }.to_owned(),
            reasons,
            warnings: self.revocations_behind().into_iter().collect(),
            position: self.position().0,
            durability,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
