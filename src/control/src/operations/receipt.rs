//! `node receipts`: read from the journal, where they are kept for good; no view holds them.

use super::Call;
use super::node::{find, not_found};
use crate::execute::store_error;
use crate::nodes::aggregate;
use contract::{Answer, ApiError, FieldErrors, Page, ReceiptBody};
use domain::node::{self, ACTIVATION_RECEIPT};
use domain::{Envelope, Event, Position};
use journal::{FactQuestion, StoreError, Stored};
use serde_json::json;

/// Receipts that one question reads; a page may hold fewer than were asked for.
const RECEIPTS_READ_MAX: usize = 256;
/// Bytes after which a page ends: an answer over NATS is one message.
const PAGE_BYTES_MAX: usize = 512 * 1024;

impl Call<'_> {
    /// Oldest first.
    pub(super) async fn list_receipts(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        let page = Page::from_query(&self.request.query)?;
        let after = page.after.as_deref().map_or(Ok(0), str::parse::<u64>);
        let after = after.map_err(|_| FieldErrors::one("after", "must be what an earlier page gave as next"))?;
        let node = {
            let state = self.control.views().read();
            aggregate(&find(&state, &place, self.id()).ok_or_else(not_found)?.node)
        };
        let question = FactQuestion {
            filter: node.subject(ACTIVATION_RECEIPT),
            after: Position(after),
            facts_max: page.limit.min(RECEIPTS_READ_MAX),
            bytes_max: PAGE_BYTES_MAX,
        };
        let facts = self.control.reader().facts(question).await.map_err(store_error)?;
        let next = facts.found.last().filter(|_| facts.is_cut).map(|last| last.position.to_string());
        let receipts = facts.found.iter().map(body).collect::<Result<Vec<_>, _>>().map_err(store_error)?;
        self.read(|_| Ok(json!({"receipts": receipts, "next": next})))
    }
}

fn body(stored: &Stored) -> Result<ReceiptBody, StoreError> {
    let damaged = |error: String| StoreError::Corrupt(format!("fact {}: {error}", stored.position));
    let fact = Envelope::decode(stored.position, &stored.subject, &stored.body).map_err(|e| damaged(e.to_string()))?;
    let Event::Node(node::Event::ActivationReceipt(receipt)) = fact.envelope.event else {
        return Err(damaged("it is no receipt".to_owned()));
    };
    Ok(ReceiptBody {
        node_id: fact.aggregate.id(),
        position: stored.position.0,
        received_at: fact.envelope.time,
        receipt,
    })
}
