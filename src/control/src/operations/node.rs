//! `node list|stats|show|approve|rotate-key|delete`

use super::bundle::cut;
use super::{Call, Place};
use crate::execute::{Decision, Fact};
use crate::nodes::new_key_id;
use contract::{Answer, ApiError, FieldErrors, NodeBody, NodeKeyBody, NodeStats, Page};
use domain::node::{self, Command, Status};
use domain::{Aggregate, Labels, NodeId, NodeName};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use views::{NodeFilter, NodeRow, PresenceState, State};

impl Call<'_> {
    pub(super) fn list_nodes(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        let filter = filter(&self.request.query)?;
        let page = Page::from_query(&self.request.query)?;
        let after = page.after.as_deref().map(str::parse::<NodeName>).transpose();
        let after = after.map_err(|_| ApiError::field("after", "must be what an earlier page gave as next"))?;
        self.read(|state| {
            let presence = self.control.presence().read();
            let (mut rows, total) = state.nodes.page(&place.project, &filter, after.as_ref(), page.limit + 1);
            let next = cut(&mut rows, page.limit).map(|row| row.node.name.to_string());
            let nodes: Vec<NodeBody> = rows.iter().map(|row| body(row, &presence)).collect();
            Ok(json!({"nodes": nodes, "total": total, "next": next}))
        })
    }

    pub(super) fn count_nodes(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        self.read(|state| {
            let counts = state.nodes.count(&place.project);
            let of = |status| counts.get(&status).copied().unwrap_or(0);
            let stats = NodeStats {
                total: counts.values().sum(),
                online: of(Status::Online),
                offline: of(Status::Offline),
                unknown: of(Status::Unknown),
                by_status: Status::ALL.iter().map(|status| (status.as_str().to_owned(), of(*status))).collect(),
            };
            Ok(json!(stats))
        })
    }

    pub(super) fn show_node(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        self.read(|state| {
            let presence = self.control.presence().read();
            let row = find(state, &place, self.id()).ok_or_else(not_found)?;
            Ok(json!({"node": body(row, &presence)}))
        })
    }

    pub(super) async fn approve_node(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        self.mutate(self.deciding(&place, Command::Approve), |state, aggregate, _| {
            let row = state.nodes.row(aggregate.id().parse().ok()?)?;
            Some(json!({"node": body(row, &self.control.presence().read())}))
        })
        .await
    }

    /// The fact first: it decides between twins whose key counts, and ends the old one whatever becomes of the record.
    pub(super) async fn rotate_node_key(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        let (key, key_id) = (trust::new_secret(), new_key_id());
        let show = |state: &State, aggregate: &Aggregate, replayed: bool| {
            let node = state.nodes.get(aggregate.id().parse().ok()?)?;
            let ours = !replayed && node.key_id.as_ref() == Some(&key_id);
            let body = NodeKeyBody {
                node_id: node.id.to_string(),
                node_key: ours.then(|| key.clone()),
                key_id: node.key_id.clone()?,
                previous_valid_until: None,
                replayed: !ours,
            };
            serde_json::to_value(body).ok()
        };
        let decide = self.deciding(&place, Command::ResetKey { key_id: key_id.clone() });
        let answer = self.mutate(decide, show).await?;
        let ours = answer.body.get("node_key").is_some();
        let id = answer.body.get("node_id").and_then(Value::as_str).and_then(|id| id.parse().ok());
        if let Some(id) = id.filter(|_| ours) {
            self.control.replace_node_key(id, &key_id, trust::secret_hash(&key), false).await?;
        }
        Ok(answer)
    }

    /// What a command on the node that the path names comes to.
    fn deciding(&self, place: &Place, command: Command) -> impl Fn(&State) -> Result<Decision<Aggregate>, ApiError> {
        move |state| {
            let node = &find(state, place, self.id()).ok_or_else(not_found)?.node;
            let aggregate = Aggregate::Node { org: node.org.clone(), project: node.project.clone(), id: node.id };
            Ok(match node::decide(node, command.clone()) {
                Some(event) => {
                    let fact = Fact::next(aggregate.clone(), node.position, domain::Event::Node(event));
                    Decision::Append(Box::new(fact), aggregate)
                }
                None => Decision::Nothing(aggregate),
            })
        }
    }

    pub(super) async fn delete_node(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        let decide = self.deciding(&place, Command::Delete);
        let answer = self.mutate(decide, |_, aggregate, _| Some(json!({"id": aggregate.id()}))).await?;
        if let Some(id) = answer.body.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok()) {
            self.control.drop_node_key(id).await;
        }
        Ok(answer)
    }
}

pub(super) fn not_found() -> ApiError {
    ApiError::not_found("Node")
}

/// By id, or by name: a name is as unique within the project, and people type names.
pub(super) fn find<'a>(state: &'a State, place: &Place, id_or_name: &str) -> Option<&'a NodeRow> {
    if let Ok(id) = id_or_name.parse::<NodeId>() {
        return state.nodes.row(id).filter(|row| row.node.project == place.project && row.node.org == place.org);
    }
    let name: NodeName = id_or_name.parse().ok()?;
    state.nodes.named(&place.project, &name).and_then(|node| state.nodes.row(node.id))
}

fn body(row: &NodeRow, presence: &PresenceState) -> NodeBody {
    let mut body = NodeBody::of(&row.node);
    body.expected_bundle_id = row.desired.as_ref().map(|desired| desired.bundle.to_string());
    if let Some(seen) = presence.seen(row.node.id) {
        body.last_seen_at = seen.at.max(body.last_seen_at);
        body.health = seen.health.as_deref().and_then(object);
        body.metrics = seen.metrics.as_deref().and_then(object);
    }
    body
}

fn object(text: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(text).ok()
}

/// `status=online`, `labels[env]=production`
fn filter(query: &BTreeMap<String, String>) -> Result<NodeFilter, FieldErrors> {
    let status = match query.get("status").map(String::as_str) {
        None => None,
        Some(text) => {
            let known = Status::ALL.into_iter().find(|status| status.as_str() == text);
            let wrong = || FieldErrors::one("status", "is invalid; must be one of: online, offline, unknown");
            Some(known.ok_or_else(wrong)?)
        }
    };
    let label = |key: &str| Some(key.strip_prefix("labels[")?.strip_suffix(']')?.to_owned());
    let wanted = query.iter().filter_map(|(key, value)| Some((label(key)?, value.clone())));
    let labels = Labels::try_from(wanted.collect::<BTreeMap<_, _>>());
    let labels = labels.map_err(|e| FieldErrors::one("labels", e.to_string()))?;
    Ok(NodeFilter { status, labels })
}
