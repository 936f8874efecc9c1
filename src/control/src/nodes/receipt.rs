//! Receipts of activations. One that is right becomes a fact, once; one that is not is dropped, counted and logged, and the
//! heartbeat that carried it counts all the same.

use crate::caller::NodeIdentity;
use crate::control::Control;
use crate::execute::{Decision, Fact, Meta};
use crate::store_metrics::ReceiptOutcome;
use contract::{ApiError, ReceiptInput};
use domain::node::{ActivationReceipt, Claim, Counter, ReceiptRejection, keep_receipt};
use domain::{Actor, Event, IdError};
use thiserror::Error;
use trust::{ReceiptError, SignedReceipt};
use views::State;

/// Why a receipt is dropped.
#[derive(Debug, Error)]
enum Doubt {
    #[error(transparent)]
    Proof(#[from] ReceiptError),
    #[error("it names a bundle or a digest that {0}")]
    Id(#[from] IdError),
    #[error(transparent)]
    Rejected(#[from] ReceiptRejection),
    #[error("the node is gone")]
    Gone,
}

impl Control {
    /// Fails only when the store does: then the node tells it again.
    pub(super) async fn keep_receipt(&self, node: &NodeIdentity, told: &ReceiptInput) -> Result<(), ApiError> {
        let claim = match claim(told) {
            Ok(claim) => claim,
            Err(doubt) => {
                self.drop_receipt(node, &doubt);
                return Ok(());
            }
        };
        if judge(&self.views().read(), node, &claim).is_err() {
            // Another replica may have assigned it a moment ago.
            self.catch_up().await?;
        }
        let meta = Meta::once(Actor::Node(node.id.to_string()));
        let decide = |state: &State| match judge(state, node, &claim) {
            Ok(Some(fact)) => Ok(Decision::Append(Box::new(fact), Ok(ReceiptOutcome::Kept))),
            Ok(None) => Ok(Decision::Nothing(Ok(ReceiptOutcome::Repeated))),
            Err(doubt) => Ok(Decision::Nothing(Err(doubt))),
        };
        match self.commit(&meta, decide).await?.value {
            Ok(outcome) => self.store_metrics().receipt(outcome),
            Err(doubt) => self.drop_receipt(node, &doubt),
        }
        Ok(())
    }

    fn drop_receipt(&self, node: &NodeIdentity, doubt: &Doubt) {
        tracing::warn!(node = %node.id, project = %node.project, reason = %doubt, "a receipt of an activation is dropped");
        self.store_metrics().receipt(ReceiptOutcome::Dropped);
    }
}

/// What is stated, once the signature is found right.
fn claim(told: &ReceiptInput) -> Result<Claim, Doubt> {
    let ReceiptInput { payload, signature, public_key } = told.clone();
    let signed = SignedReceipt { payload, signature, public_key };
    let stated = trust::verify_receipt(&signed)?;
    let receipt = ActivationReceipt {
        bundle_id: stated.bundle_id.parse()?,
        digest: stated.digest.parse()?,
        counter: Counter { epoch: stated.counter.epoch, position: stated.counter.position },
        activated_at: stated.activated_at,
        payload: signed.payload,
        signature: signed.signature,
        public_key: signed.public_key.parse().map_err(|_| ReceiptError::Key)?,
    };
    Ok(Claim { org: stated.org, project: stated.project, node_id: stated.node_id, receipt })
}

fn judge(state: &State, node: &NodeIdentity, claim: &Claim) -> Result<Option<Fact>, Doubt> {
    let row = state.nodes.row(node.id).ok_or(Doubt::Gone)?;
    let archive = state.bundles.get(claim.receipt.bundle_id).and_then(|bundle| bundle.archive());
    let event = keep_receipt(&row.node, &row.assigned, archive.map(|archive| &archive.digest), claim.clone())?;
    Ok(event.map(|event| Fact::next(super::aggregate(&row.node), row.node.position, Event::Node(event))))
}
