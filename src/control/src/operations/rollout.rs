//! `rollout create|list|show|start|pause|resume|cancel|rollback`

use super::bundle::{cut, one_of, position_after};
use super::{Call, Place};
use crate::execute::{Decision, Fact, now, unix_ms};
use contract::{
    Answer, ApiError, CreateRollout, ErrorCode, Page, ProgressBody, RolloutBody, RolloutDetail, RolloutNodeBody,
    StepBody,
};
use domain::bundle;
use domain::node::Node;
use domain::rollout::{self, Blocker, Command, Member, Rejection, Rollout, Selector, Spec, State as RolloutState};
use domain::{Aggregate, BundleId, NodeId, NodeName, RolloutId};
use serde_json::{Value, json};
use std::collections::HashSet;
use views::{FleetView, PresenceState, State};

const NAMED_MAX: usize = 5;
/// Begins the cursor of a page of nodes that ends at a deleted one, which has no name; no name begins so.
const DELETED: &str = "~";

impl Call<'_> {
    pub(super) async fn create_rollout(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        let wanted = CreateRollout::parse(self.request.body.clone())?;
        let id = RolloutId::from_parts(unix_ms(), trust::random_bytes());
        let _turn = self.control.naming().lock().await;
        let decide = |state: &State| {
            check_bundle(state, &place, wanted.bundle_id)?;
            let targets = targets(state, &place, &wanted.target_selector)?;
            if wanted.start {
                check_overlap(state, &place, &targets)?;
            }
            let spec = spec(&wanted, targets.len());
            let aggregate = place.rollout(id);
            let expected = state.rollouts.newest_position(&place.project);
            let event = domain::Event::Rollout(rollout::Event::Created(spec));
            Ok(Decision::Append(Box::new(Fact::among(aggregate.clone(), expected, event)), aggregate))
        };
        self.mutate(decide, render).await
    }

    /// What a creation asks for is asked anew: a pending rollout held nothing back.
    pub(super) async fn start_rollout(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        let _turn = self.control.naming().lock().await;
        let decide = |state: &State| {
            let rollout = find(state, &place, self.id()).ok_or_else(not_found)?;
            let event = rollout::decide(rollout, Command::Start).map_err(conflict)?;
            check_bundle(state, &place, rollout.spec.bundle_id)?;
            let nodes = state.nodes.of_project(&place.project);
            let targets: Vec<&Node> = nodes.filter(|node| rollout.spec.target_selector.matches(node)).collect();
            check_overlap(state, &place, &targets)?;
            let aggregate = place.rollout(rollout.id);
            let expected = state.rollouts.newest_position(&place.project);
            let fact = Fact::among(aggregate.clone(), expected, domain::Event::Rollout(event));
            Ok(Decision::Append(Box::new(fact), aggregate))
        };
        self.mutate(decide, render).await
    }

    pub(super) async fn roll_back(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        let decide = |state: &State| {
            let rollout = find(state, &place, self.id()).ok_or_else(not_found)?;
            let plan = {
                let presence = self.control.presence().read();
                rollout::plan(rollout, &FleetView { state, presence: &presence })
            };
            self.decide_rollout(&place, rollout, Command::Rollback(plan))
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
            let rollouts: Vec<RolloutBody> = shown.iter().map(|(_, rollout)| body(state, rollout)).collect();
            Ok(json!({"rollouts": rollouts, "total": total, "next": next}))
        })
    }

    pub(super) fn show_rollout(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        let page = Page::from_query(&self.request.query)?;
        self.read(|state| {
            let rollout = find(state, &place, self.id()).ok_or_else(not_found)?;
            let presence = self.control.presence().read();
            let fleet = FleetView { state, presence: &presence };
            let limits = self.control.settings().rollout_limits();
            let verdict = rollout::evaluate(rollout, &fleet, limits, now());
            let progress = rollout::progress(rollout, &fleet, limits, now());
            let (mut members, nodes_total) = members(rollout, &fleet, &page)?;
            let nodes_next = cut(&mut members, page.limit).map(cursor);
            let report = |member| RolloutNodeBody::from(rollout::report(rollout, member, &fleet, limits, now()));
            Ok(json!(RolloutDetail {
                rollout: body(state, rollout),
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
                nodes: members.into_iter().map(report).collect(),
                nodes_total,
                nodes_next,
            }))
        })
    }

    pub(super) async fn change_rollout(&self, command: Command) -> Result<Answer, ApiError> {
        let place = self.place()?;
        let decide = |state: &State| {
            let rollout = find(state, &place, self.id()).ok_or_else(not_found)?;
            self.decide_rollout(&place, rollout, command.clone())
        };
        self.mutate(decide, render).await
    }

    fn decide_rollout(
        &self,
        place: &Place,
        rollout: &Rollout,
        command: Command,
    ) -> Result<Decision<Aggregate>, ApiError> {
        let event = rollout::decide(rollout, command).map_err(conflict)?;
        let aggregate = place.rollout(rollout.id);
        let fact = Fact::next(aggregate.clone(), rollout.position, domain::Event::Rollout(event));
        Ok(Decision::Append(Box::new(fact), aggregate))
    }
}

impl Place {
    fn rollout(&self, id: RolloutId) -> Aggregate {
        Aggregate::Rollout { org: self.org.clone(), project: self.project.clone(), id }
    }
}

fn conflict(rejection: Rejection) -> ApiError {
    ApiError::new(ErrorCode::Conflict, rejection.to_string())
}

pub(super) fn not_found() -> ApiError {
    ApiError::not_found("Rollout")
}

pub(super) fn find<'a>(state: &'a State, place: &Place, id: &str) -> Option<&'a Rollout> {
    let rollout = state.rollouts.get(id.parse().ok()?);
    rollout.filter(|rollout| rollout.project == place.project && rollout.org == place.org)
}

fn render(state: &State, aggregate: &Aggregate, _replayed: bool) -> Option<Value> {
    let rollout = state.rollouts.get(aggregate.id().parse().ok()?)?;
    serde_json::to_value(body(state, rollout)).ok()
}

fn body(state: &State, rollout: &Rollout) -> RolloutBody {
    // Where a rollback stands is told by facts alone, so that presence does not matter.
    let presence = PresenceState::default();
    RolloutBody::of(rollout, rollout::rollback_progress(rollout, &FleetView { state, presence: &presence }))
}

/// One entry more than the page shows, and how many there are.
fn members<'a>(
    rollout: &'a Rollout,
    fleet: &'a FleetView<'a>,
    page: &Page,
) -> Result<(Vec<Member<'a>>, u64), ApiError> {
    let wrong = || ApiError::field("after", "must be what an earlier page gave as next");
    let (name, deleted) = match page.after.as_deref() {
        None => (None, None),
        Some(text) => match text.strip_prefix(DELETED) {
            Some(id) => (None, Some(id.parse::<NodeId>().map_err(|_| wrong())?)),
            None => (Some(text.parse::<NodeName>().map_err(|_| wrong())?), None),
        },
    };
    let follows = |member: &Member<'_>| match member.node {
        Some(node) => deleted.is_none() && name.as_ref().is_none_or(|name| node.name > *name),
        None => deleted.is_none_or(|id| member.id > id),
    };
    let (mut shown, mut total) = (Vec::new(), 0);
    for member in rollout::members(rollout, fleet) {
        total += 1;
        if shown.len() <= page.limit && follows(&member) {
            shown.push(member);
        }
    }
    Ok((shown, total))
}

fn cursor(member: &Member<'_>) -> String {
    member.node.map_or_else(|| format!("{DELETED}{}", member.id), |node| node.name.to_string())
}

fn check_bundle(state: &State, place: &Place, id: BundleId) -> Result<(), ApiError> {
    let found = state.bundles.get(id).filter(|b| b.project == place.project && b.org == place.org);
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
        return Err(unknown_nodes("target_selector", node_ids, &targets));
    }
    if targets.is_empty() {
        return Err(ApiError::field("target_selector", "matches no node of the project"));
    }
    Ok(targets)
}

pub(super) fn unknown_nodes(field: &str, wanted: &[NodeId], found: &[&Node]) -> ApiError {
    let known: HashSet<NodeId> = found.iter().map(|node| node.id).collect();
    let unknown = wanted.iter().filter(|id| !known.contains(id)).take(NAMED_MAX).map(ToString::to_string);
    let unknown = unknown.collect::<Vec<_>>().join(", ");
    ApiError::field(field, format!("names nodes that do not exist here or wait for approval: {unknown}"))
}

/// Two rollouts at once never fight over a node. One that is pending, or that is being rolled back, lets others go first.
fn check_overlap(state: &State, place: &Place, targets: &[&Node]) -> Result<(), ApiError> {
    let mut live = state.rollouts.live().filter(|rollout| rollout.project == place.project && rollout.holds_nodes());
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
        held: !wanted.start,
        late_joiners: wanted.late_joiners,
    }
}

/// What a rollout waits for, for people.
pub(super) fn sentence(state: &State, blocker: &Blocker) -> String {
    let names = |ids: &[NodeId]| {
        let name = |id: &NodeId| state.nodes.get(*id).map_or_else(|| id.to_string(), |n| n.name.to_string());
        let mut text = ids.iter().take(NAMED_MAX).map(name).collect::<Vec<_>>().join(", ");
        if ids.len() > NAMED_MAX {
            text.push_str(&format!(" and {} more", ids.len() - NAMED_MAX));
        }
        text
    };
    match blocker {
        Blocker::NotStarted => "an operator to start or cancel it".to_owned(),
        Blocker::Paused => "an operator to resume or cancel it".to_owned(),
        Blocker::Ended => "nothing: it has ended".to_owned(),
        Blocker::NodesPending { step_index, node_ids } => {
            format!("step {step_index}: {} to report the bundle", names(node_ids))
        }
        Blocker::NodesVerifying { step_index, node_ids } => {
            format!("step {step_index}: {} to send a healthy heartbeat", names(node_ids))
        }
        Blocker::NobodyAvailable => "a node that is online".to_owned(),
        Blocker::NodesRestoring { node_ids } => format!("{} to report what they ran before", names(node_ids)),
    }
}
