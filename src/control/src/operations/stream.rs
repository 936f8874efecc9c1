//! Opening a stream of facts: the same project, the same tenants and the same scopes as for reads.

use crate::caller::Caller;
use crate::control::Control;
use crate::streams::{FactStream, Filter};
use contract::{Access, ApiError, ErrorCode, FieldErrors};
use domain::api_key::Scope;
use domain::{BundleId, Kind, NodeId, Position, RolloutId};
use std::collections::BTreeMap;

const KINDS: [(Kind, Scope); 3] =
    [(Kind::Node, Scope::NodesRead), (Kind::Rollout, Scope::RolloutsRead), (Kind::Bundle, Scope::BundlesRead)];

impl Control {
    /// `GET /api/v1/projects/{slug}/stream`. `last_event_id` is where a reader that comes back stopped; it wins over the
    /// parameter `after`, which stands in the same URL as before.
    pub async fn stream(
        &self,
        caller: &Caller,
        project: &str,
        query: &BTreeMap<String, String>,
        last_event_id: Option<u64>,
    ) -> Result<FactStream, ApiError> {
        let wanted = wanted(query)?;
        let kinds = allowed(caller, wanted)?;
        let place = match self.place(caller, Some(project)) {
            // What another replica has just created may be unknown here.
            Err(e) if e.code == ErrorCode::NotFound => {
                self.catch_up().await?;
                self.place(caller, Some(project))?
            }
            place => place?,
        };
        let after = match last_event_id {
            Some(position) => Some(Position(position)),
            None => query.get("after").map(|text| position(text)).transpose()?,
        };
        let id = query.get("id").map(|id| id.to_ascii_lowercase());
        let filter = Filter { org: place.org, project: place.project, kinds, id };
        FactStream::begin(self, caller, filter, after).await
    }
}

/// The kind that was asked for, with an id that fits it.
fn wanted(query: &BTreeMap<String, String>) -> Result<Option<Kind>, FieldErrors> {
    let kind = match query.get("kind").map(String::as_str) {
        None => None,
        Some(text) => {
            let known = KINDS.into_iter().map(|(kind, _)| kind).find(|kind| kind.token() == text);
            let wrong = || FieldErrors::one("kind", "is invalid; must be one of: node, rollout, bundle");
            Some(known.ok_or_else(wrong)?)
        }
    };
    let Some(id) = query.get("id") else { return Ok(kind) };
    let fits = match kind {
        Some(Kind::Node) => id.parse::<NodeId>().is_ok(),
        Some(Kind::Rollout) => id.parse::<RolloutId>().is_ok(),
        Some(Kind::Bundle) => id.parse::<BundleId>().is_ok(),
        _ => return Err(FieldErrors::one("kind", "is required beside id")),
    };
    if fits { Ok(kind) } else { Err(FieldErrors::one("id", "must be the UUID of a resource of that kind")) }
}

/// Without a kind, every one that the caller may read.
fn allowed(caller: &Caller, wanted: Option<Kind>) -> Result<Vec<Kind>, ApiError> {
    let asked = || KINDS.into_iter().filter(|(kind, _)| wanted.is_none_or(|wanted| wanted == *kind));
    let kinds: Vec<Kind> = asked().filter(|(_, scope)| caller.allows(*scope)).map(|(kind, _)| kind).collect();
    if let (true, Some((_, scope))) = (kinds.is_empty(), asked().next()) {
        caller.check(Access::Scope(scope))?;
    }
    Ok(kinds)
}

fn position(text: &str) -> Result<Position, FieldErrors> {
    text.parse().map(Position).map_err(|_| FieldErrors::one("after", "must be a position: a whole number"))
}
