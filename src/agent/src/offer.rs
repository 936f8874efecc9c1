//! Whether an offer is meant for this node, new and signed. Pure: all that can be checked before a byte is downloaded.
//!
//! Invariant: an offer that passes names an archive (digest, size, key) for exactly this node, vouched for by a pinned key,
//! and its counter is not lower than any accepted before. What is not signed (URL, version, size) is only bounded.

use crate::progress::{Bundle, Progress, Target};
use contract::Offer;
use domain::BundleId;
use jiff::Timestamp;
use thiserror::Error;
use trust::{AssignmentError, PublicKey, Signature, SignedAssignment};

/// By how much the clocks of the node and the control plane may differ.
pub const LEEWAY_S: i64 = 300;

/// Who this node is and whom it trusts, fixed at registration. Holds no secret.
#[derive(Clone, Debug)]
pub struct Identity {
    pub node_id: String,
    pub org: String,
    pub project: String,
    /// Key id and key.
    pub keys: Vec<(String, PublicKey)>,
}

/// Where the archive is and how to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    pub url: String,
    pub size_bytes: u64,
    pub signature: Signature,
    pub key: PublicKey,
}

/// What to do about a genuine offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Activate(Target, Box<Archive>),
    /// This bundle is active; only the counter may be news.
    AlreadyActive(Target),
    /// This very assignment failed here before.
    AlreadyFailed,
}

/// Why an offer is not acted on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error(transparent)]
    Assignment(#[from] AssignmentError),
    #[error("the offer carries no assignment")]
    NoAssignment,
    #[error("the assignment is for another {0}")]
    Foreign(&'static str),
    #[error("the {0} of the offer is not the assignment's")]
    Contradiction(&'static str),
    #[error("the {0} of the offer cannot be read")]
    Malformed(&'static str),
    #[error("the archive has {size} bytes, more than the {max} that are accepted")]
    TooLarge { size: u64, max: u64 },
    #[error("the archive is signed with a key that was not pinned at registration")]
    UnknownKey,
    /// An old offer replayed, or a replica that is behind.
    #[error("the assignment is older than one that was accepted before")]
    Stale,
    #[error("the assignment repeats the number of an accepted one with another bundle")]
    Equivocation,
}

pub fn check(
    offer: &Offer,
    identity: &Identity,
    progress: &Progress,
    archive_bytes_max: u64,
    now: Timestamp,
) -> Result<Verdict, Refusal> {
    let signed: SignedAssignment =
        serde_json::from_value(offer.assignment.clone()).map_err(|_| Refusal::NoAssignment)?;
    let assignment = trust::verify_assignment(&signed, &identity.keys, now, LEEWAY_S)?;
    let meant = [
        (&assignment.org, &identity.org, "org"),
        (&assignment.project, &identity.project, "project"),
        (&assignment.node_id, &identity.node_id, "node"),
    ];
    if let Some((_, _, what)) = meant.into_iter().find(|(said, mine, _)| said != mine) {
        return Err(Refusal::Foreign(what));
    }
    if assignment.bundle_id != offer.bundle_id {
        return Err(Refusal::Contradiction("bundle id"));
    }
    if offer.checksum.strip_prefix("sha256:") != Some(assignment.digest.as_str()) {
        return Err(Refusal::Contradiction("checksum"));
    }
    let id: BundleId = offer.bundle_id.parse().map_err(|_| Refusal::Malformed("bundle id"))?;
    let version = offer.version.parse().map_err(|_| Refusal::Malformed("version"))?;
    let target = Target { bundle: Bundle { id, version, digest: assignment.digest }, counter: assignment.counter };
    if let Some(accepted) = &progress.accepted {
        if target.counter < accepted.counter {
            return Err(Refusal::Stale);
        }
        let same = (accepted.bundle.id, &accepted.bundle.digest) == (target.bundle.id, &target.bundle.digest);
        if target.counter == accepted.counter && !same {
            return Err(Refusal::Equivocation);
        }
    }
    if progress.is_failed(&target) {
        return Ok(Verdict::AlreadyFailed);
    }
    let active = progress.active.as_ref().map(|active| (active.id, &active.digest));
    if active == Some((target.bundle.id, &target.bundle.digest)) {
        return Ok(Verdict::AlreadyActive(target));
    }
    Ok(Verdict::Activate(target, Box::new(archive(offer, identity, archive_bytes_max)?)))
}

fn archive(offer: &Offer, identity: &Identity, bytes_max: u64) -> Result<Archive, Refusal> {
    if offer.size_bytes > bytes_max {
        return Err(Refusal::TooLarge { size: offer.size_bytes, max: bytes_max });
    }
    let (_, key) = identity.keys.iter().find(|(id, _)| *id == offer.key_id).ok_or(Refusal::UnknownKey)?;
    let signature = offer.signature.parse().map_err(|_| Refusal::Malformed("signature"))?;
    Ok(Archive { url: offer.download_url.clone(), size_bytes: offer.size_bytes, signature, key: *key })
}

#[cfg(test)]
#[path = "offer/tests.rs"]
mod tests;
