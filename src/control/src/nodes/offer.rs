//! What a node should run: the newest assignment, signed anew at every question with a fresh expiry.

use crate::caller::NodeIdentity;
use crate::control::Control;
use crate::execute::now;
use crate::org_keys::no_signing_key;
use crate::waiting::NoWait;
use contract::{ApiError, LatestBundle, NoUpdate, Offer};
use domain::fleet::{Assigner, EPOCH};
use domain::org::KeyUse;
use domain::rollout::Rollout;
use jiff::SignedDuration;
use std::time::Duration;
use trust::{Assignment, Counter};
use views::{NodeRow, State};

/// Those who waited when the replica stopped come back within so many seconds, not all at once.
const COME_BACK_S_MAX: u32 = 5;

/// An assignment that the node has not taken, as the views tell it.
struct Due {
    bundle_id: String,
    version: String,
    digest: String,
    size_bytes: u64,
    signature: String,
    key_id: String,
    position: u64,
    previous_digest: Option<String>,
}

impl Control {
    /// `GET /api/v1/nodes/{id}/bundles/latest`
    pub async fn latest_bundle(&self, node: &NodeIdentity, base_url: &str) -> Result<LatestBundle, ApiError> {
        match self.due(node) {
            Some(due) => self.offer(node, due, base_url).await,
            None => Ok(no_update(self.settings().poll_interval_s)),
        }
    }

    /// The same with `wait`: answers as soon as there is an offer, or without one after `wait_s` seconds (up to two more). Where
    /// there is no room to wait, the answer comes at once.
    pub async fn await_bundle(
        &self,
        node: &NodeIdentity,
        wait_s: u32,
        base_url: &str,
    ) -> Result<LatestBundle, ApiError> {
        if wait_s == 0 {
            return self.latest_bundle(node, base_url).await;
        }
        // First the place, then the look: what comes after the look wakes the place.
        let place = self.waiters().enter(node.id, Duration::from_secs(u64::from(wait_s)));
        loop {
            if let Some(due) = self.due(node) {
                return self.offer(node, due, base_url).await;
            }
            if self.views().read().nodes.get(node.id).is_none() {
                break;
            }
            let waits_on = match &place {
                Ok(place) => place.news().await,
                Err(NoWait) => false,
            };
            if !waits_on {
                break;
            }
        }
        let poll_after_s = if self.waiters().is_closed() { come_back_s() } else { self.settings().poll_interval_s };
        Ok(no_update(poll_after_s))
    }

    fn due(&self, node: &NodeIdentity) -> Option<Due> {
        let state = self.views().read();
        state.nodes.row(node.id).and_then(|row| due(&state, row))
    }

    async fn offer(&self, node: &NodeIdentity, due: Due, base_url: &str) -> Result<LatestBundle, ApiError> {
        let poll_after_s = self.settings().poll_interval_s;
        let key = self.active_key(&node.org, KeyUse::Bundle).await?.ok_or_else(no_signing_key)?;
        let issued_at = now();
        let lifetime = SignedDuration::from_secs(i64::from(self.settings().assignment_ttl_s));
        let assignment = Assignment {
            org: node.org.to_string(),
            project: node.project.to_string(),
            node_id: node.id.to_string(),
            bundle_id: due.bundle_id.clone(),
            digest: due.digest.clone(),
            counter: Counter { epoch: EPOCH, position: due.position },
            issued_at,
            expires_at: issued_at.saturating_add(lifetime).unwrap_or(issued_at),
            previous_digest: due.previous_digest,
        };
        let signed = trust::sign_assignment(&key.key, &key.id, &assignment);
        Ok(LatestBundle::Offer(Box::new(Offer {
            bundle_id: due.bundle_id,
            version: due.version,
            checksum: format!("sha256:{}", due.digest),
            size_bytes: due.size_bytes,
            download_url: self.download_url(base_url, &due.digest),
            poll_after_s,
            signature: due.signature,
            key_id: due.key_id,
            assignment: serde_json::to_value(signed).unwrap_or_default(),
        })))
    }
}

fn no_update(poll_after_s: u32) -> LatestBundle {
    LatestBundle::NoUpdate(NoUpdate { no_update: true, poll_after_s })
}

fn come_back_s() -> u32 {
    1 + u32::from(trust::random_bytes::<1>()[0]) % COME_BACK_S_MAX
}

/// None: not approved, nothing assigned, taken already, found not to work, revoked, or held back by a rollout that is
/// paused or rolled back.
fn due(state: &State, row: &NodeRow) -> Option<Due> {
    let desired = row.desired.as_ref()?;
    let node = &row.node;
    if !node.approved {
        return None;
    }
    let failed = node.failure.as_ref().is_some_and(|f| f.bundle == desired.bundle && f.position > desired.position);
    let held = match desired.by {
        Assigner::Rollout(id) => state.rollouts.get(id).is_some_and(Rollout::withholds_offers),
        Assigner::Rollback(_) | Assigner::Operator => false,
    };
    if node.active_bundle == Some(desired.bundle) || failed || held {
        return None;
    }
    let bundle = state.bundles.get(desired.bundle)?;
    let compiled = bundle.deployable()?;
    let previous = node.active_bundle.and_then(|id| state.bundles.get(id));
    Some(Due {
        bundle_id: bundle.id.to_string(),
        version: bundle.version.to_string(),
        digest: compiled.digest.to_string(),
        size_bytes: compiled.size_bytes,
        signature: compiled.signature.clone(),
        key_id: compiled.key_id.clone(),
        position: desired.position.0,
        previous_digest: previous.and_then(|b| b.archive()).map(|a| a.digest.to_string()),
    })
}
