//! `rollout create|list|show|pause|resume|cancel`

use super::bundle::{cut, one_of, position_after};
use super::{Call, Place};
use crate::execute::{Decision, Fact, now, unix_ms};
use contract::{Answer, ApiError, CreateRollout, ErrorCode, Page, ProgressBody, RolloutBody, RolloutDetail, StepBody};
use domain::bundle;
use domain::node::Node;
use domain::rollout::{self, Blocker, Command, Rejection, Rollout, Selector, Spec, State as RolloutState};
use domain::{Aggregate, NodeId, RolloutId};
use serde_json::{Value, json};
use std::collections::HashSet;
use views::{FleetView, State};

const NAMED_MAX: usize = 5;

impl Call<'_> {
    pub(super) async fn create_rollout(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        let wanted = CreateRollout::parse(self.request.body.clone())?;
        let id = RolloutId::from_parts(unix_ms(), trust::random_bytes());
        let _turn = self.control.naming().lock().await;
        let decide = |state: &State| {
            check_bundle(state, &place, &wanted)?;
            let targets = targets(state, &place, &wanted.target_selector)?;
            check_overlap(state, &place, &targets)?;
            let spec = spec(&wanted, targets.len());
            let aggregate = place.rollout(id);
            let expected = state.rollouts.created_position(&place.project);
            let event = domain::Event::Rollout(rollout::Event::Created(spec));
            Ok(Decision::Append(Box::new(Fact::first(aggregate.clone(), expected, event)), aggregate))
        };
        self.mutate(decide, render).await
    }

    pub(super) fn list_rollouts(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        let page = Page::from_query(&self.request.query)?;
        let before = position_after(&page)?;
        let wanted = one_of(&self.request.query, "state", &RolloutState::NAMES)?;
        self.read(|state| {
            let fits = |rollout: &Rollout| wanted.is_none_or(|wanted| wanted == rollout.state.as_str());
            let all = state.rollouts.newest_first(&place.project, None);
            let total = all.filter(|(_, rollout)| fits(rollout)).count();
            let rest = state.rollouts.newest_first(&place.project, before);
            let mut shown: Vec<_> = rest.filter(|(_, rollout)| fits(rollout)).take(page.limit + 1).collect();
            let next = cut(&mut shown, page.limit).map(|(position, _)| position.to_string());
            let rollouts: Vec<RolloutBody> = shown.iter().map(|(_, rollout)| RolloutBody::from(*rollout)).collect();
            Ok(json!({"rollouts": rollouts, "total": total, "next": next}))
        })
    }

    pub(super) fn show_rollout(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        self.read(|state| {
            let rollout = find(state, &place, self.id()).ok_or_else(not_found)?;
            let presence = self.control.presence().read();
            let fleet = FleetView { state, presence: &presence };
            let limits = self.control.settings().rollout_limits();
            let verdict = rollout::evaluate(rollout, &fleet, limits, now());
            let progress = rollout::progress(rollout, &fleet, limits, now());
            Ok(json!(RolloutDetail {
                rollout: RolloutBody::from(rollout),
                steps: rollout.steps.iter().map(StepBody::from).collect(),
                progress: ProgressBody {
                    total: progress.total,
                    pending: progress.pending,
                    active: progress.active,
                    failed: progress.failed,
                    deferred: progress.deferred,
                },
                waiting_for: verdict.blocker.map(|blocker| sentence(state, &blocker)),
                next_deadline: verdict.next_deadline,
            }))
        })
    }

    pub(super) async fn change_rollout(&self, command: Command) -> Result<Answer, ApiError> {
        let place = self.place()?;
        let decide = |state: &State| {
            let rollout = find(state, &place, self.id()).ok_or_else(not_found)?;
            let event = rollout::decide(rollout, command.clone());
            let event = event.map_err(|e: Rejection| ApiError::new(ErrorCode::Conflict, e.to_string()))?;
            let aggregate = place.rollout(rollout.id);
            let fact = Fact::next(aggregate.clone(), rollout.position, domain::Event::Rollout(event));
            Ok(Decision::Append(Box::new(fact), aggregate))
        };
        self.mutate(decide, render).await
    }
}

impl Place {
    fn rollout(&self, id: RolloutId) -> Aggregate {
        Aggregate::Rollout { org: self.org.clone(), project: self.project.clone(), id }
    }
}

fn not_found() -> ApiError {
    ApiError::not_found("Rollout")
}

fn find<'a>(state: &'a State, place: &Place, id: &str) -> Option<&'a Rollout> {
    let rollout = state.rollouts.get(id.parse().ok()?);
    rollout.filter(|rollout| rollout.project == place.project && rollout.org == place.org)
}

fn render(state: &State, aggregate: &Aggregate, _replayed: bool) -> Option<Value> {
    let rollout = state.rollouts.get(aggregate.id().parse().ok()?)?;
    serde_json::to_value(RolloutBody::from(rollout)).ok()
}

fn check_bundle(state: &State, place: &Place, wanted: &CreateRollout) -> Result<(), ApiError> {
    let found = state.bundles.get(wanted.bundle_id).filter(|b| b.project == place.project && b.org == place.org);
    let message = match found.map(|bundle| &bundle.state) {
        None => return Err(ApiError::not_found("Bundle")),
        Some(bundle::State::Compiled(_)) => return Ok(()),
        Some(bundle::State::Revoked(_)) => "Bundle has been revoked",
        Some(bundle::State::Compiling | bundle::State::Failed(_)) => "Bundle must be compiled before rollout",
    };
    Err(ApiError::new(ErrorCode::Conflict, message))
}

fn targets<'a>(state: &'a State, place: &Place, selector: &Selector) -> Result<Vec<&'a Node>, ApiError> {
    let targets: Vec<&Node> = state.nodes.of_project(&place.project).filter(|node| selector.matches(node)).collect();
    if let Selector::NodeIds { node_ids } = selector
        && targets.len() < node_ids.len()
    {
        let known: HashSet<NodeId> = targets.iter().map(|node| node.id).collect();
        let unknown = node_ids.iter().filter(|id| !known.contains(id)).take(NAMED_MAX).map(ToString::to_string);
        let unknown = unknown.collect::<Vec<_>>().join(", ");
        return Err(ApiError::field(
            "target_selector",
            format!("names nodes that do not exist here or wait for approval: {unknown}"),
        ));
    }
    if targets.is_empty() {
        return Err(ApiError::field("target_selector", "matches no node of the project"));
    }
    Ok(targets)
}

/// Two rollouts at once never fight over a node.
fn check_overlap(state: &State, place: &Place, targets: &[&Node]) -> Result<(), ApiError> {
    let mut live = state.rollouts.live().filter(|rollout| rollout.project == place.project);
    let shared = live.find(|rollout| targets.iter().any(|node| rollout.spec.target_selector.matches(node)));
    match shared {
        None => Ok(()),
        Some(rollout) => {
            let (id, state) = (rollout.id, rollout.state.as_str());
            let message = format!("Rollout {id} is {state} on some of these nodes; wait for its end or cancel it");
            Err(ApiError::new(ErrorCode::Conflict, message))
        }
    }
}

fn spec(wanted: &CreateRollout, targets: usize) -> Spec {
    let target_count = u32::try_from(targets).unwrap_or(u32::MAX);
    let share = |percent: u8| (u64::from(target_count) * u64::from(percent) / 100).max(1);
    let batch_size = match wanted.batch_percentage {
        Some(percent) => u32::try_from(share(percent)).unwrap_or(u32::MAX),
        None => wanted.batch_size.unwrap_or(1),
    };
    Spec {
        bundle_id: wanted.bundle_id,
        strategy: wanted.strategy,
        target_selector: wanted.target_selector.clone(),
        batch_size,
        batch_percentage: wanted.batch_percentage,
        max_unavailable: wanted.max_unavailable,
        progress_deadline_s: wanted.progress_deadline_seconds,
        health_gates: wanted.health_gates.clone(),
        target_count,
    }
}

/// What a rollout waits for, for people.
fn sentence(state: &State, blocker: &Blocker) -> String {
    let names = |ids: &[NodeId]| {
        let name = |id: &NodeId| state.nodes.get(*id).map_or_else(|| id.to_string(), |n| n.name.to_string());
        let mut text = ids.iter().take(NAMED_MAX).map(name).collect::<Vec<_>>().join(", ");
        if ids.len() > NAMED_MAX {
            text.push_str(&format!(" and {} more", ids.len() - NAMED_MAX));
        }
        text
    };
    match blocker {
        Blocker::Paused => "an operator to resume or cancel it".to_owned(),
        Blocker::Ended => "nothing: it has ended".to_owned(),
        Blocker::NodesPending { step_index, node_ids } => {
            format!("step {step_index}: {} to report the bundle", names(node_ids))
        }
        Blocker::NodesVerifying { step_index, node_ids } => {
            format!("step {step_index}: {} to send a healthy heartbeat", names(node_ids))
        }
        Blocker::NobodyAvailable => "a node that is online".to_owned(),
    }
}
