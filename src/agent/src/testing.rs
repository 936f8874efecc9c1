//! Fixtures: one org, one node, bundles 1, 2, 3 … with the counters of their numbers.

#![allow(clippy::unwrap_used)]

pub mod enrollment;
pub mod plane;

use crate::offer::Identity;
use crate::progress::{Bundle, Target};
use bundle::pack;
use contract::Offer;
use domain::BundleId;
use jiff::{SignedDuration, Timestamp};
use std::path::Path;
use std::time::{Duration, Instant};
use trust::{Assignment, Counter, SigningKey, sign_assignment};

pub const NODE: &str = "0190a0b0-0000-7000-8000-000000000001";
pub const KEY_ID: &str = "bk_0011223344556677";
const DEADLINE: Duration = Duration::from_secs(20);

pub fn key() -> SigningKey {
    SigningKey::from_seed([3; 32])
}

pub fn identity() -> Identity {
    let keys = vec![(KEY_ID.to_owned(), key().public())];
    Identity { node_id: NODE.into(), org: "default".into(), project: "demo".into(), keys }
}

pub fn bundle_id(n: u8) -> BundleId {
    BundleId::from_bytes([n; 16])
}

/// Archive and digest of bundle `n`.
pub fn archive(n: u8) -> (Vec<u8>, String) {
    let config = format!("// configuration {n}\n{}", "// filler\n".repeat(n.into()));
    let packed = pack(&[("zentinel.kdl".to_owned(), config.into_bytes())].into());
    (packed.archive, packed.digest)
}

pub fn target(n: u8) -> Target {
    let bundle = Bundle { id: bundle_id(n), version: format!("v{n}").parse().unwrap(), digest: archive(n).1 };
    Target { bundle, counter: Counter { epoch: 1, position: n.into() } }
}

pub fn assignment(n: u8, now: Timestamp) -> Assignment {
    let target = target(n);
    Assignment {
        org: "default".into(),
        project: "demo".into(),
        node_id: NODE.into(),
        bundle_id: target.bundle.id.to_string(),
        digest: target.bundle.digest,
        counter: target.counter,
        issued_at: now,
        expires_at: now + SignedDuration::from_hours(24),
        previous_digest: None,
    }
}

/// What a genuine control plane at `url` offers for bundle `n` under this assignment.
pub fn offer(n: u8, assignment: &Assignment, url: &str) -> Offer {
    let (archive, digest) = archive(n);
    Offer {
        bundle_id: bundle_id(n).to_string(),
        version: format!("v{n}"),
        checksum: format!("sha256:{digest}"),
        size_bytes: archive.len() as u64,
        download_url: format!("{url}/api/v1/downloads/{digest}?expires=1&signature=x"),
        poll_after_s: 30,
        signature: key().sign(&archive).to_string(),
        key_id: KEY_ID.into(),
        assignment: serde_json::to_value(sign_assignment(&key(), KEY_ID, assignment)).unwrap(),
    }
}

/// Waits until `done` says so; fails with what `seen` says.
pub async fn until(mut done: impl FnMut() -> bool, seen: impl FnOnce() -> String) {
    let deadline = Instant::now() + DEADLINE;
    while !done() {
        if Instant::now() > deadline {
            panic!("not in time; seen: {}", seen());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a process that is no zombie runs under the number that the file holds.
pub fn runs(pid_file: &Path) -> bool {
    let Ok(pid) = std::fs::read_to_string(pid_file) else { return false };
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}
