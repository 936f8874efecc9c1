//! Nodes with what they should run, indexed by project and name.

use domain::bundle;
use domain::fleet::{Assigned, Assigner, Desired};
use domain::node::{Event, Node, Status};
use domain::rollout::{self, Rollout};
use domain::{BundleId, Labels, NodeId, NodeName, Position, RolloutId, Slug};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeRow {
    pub node: Node,
    /// The newest assignment that stands.
    pub desired: Option<Desired>,
    /// The one before, of somebody else, if that was not withdrawn: what a withdrawn assignment falls back to.
    pub previous: Option<Desired>,
    /// The newest assignments, oldest first, whether or not they still stand: what a receipt may be for.
    pub assigned: Vec<Assigned>,
}

/// A node that signs for an assignment older than this many others signs too late.
const ASSIGNED_MAX: usize = 8;

#[derive(Debug, Default, PartialEq)]
pub struct Nodes {
    by_id: HashMap<NodeId, NodeRow>,
    by_project: HashMap<Slug, ProjectNodes>,
}

#[derive(Debug, Default, PartialEq)]
struct ProjectNodes {
    by_name: BTreeMap<NodeName, NodeId>,
    /// Where the newest registration of the project stands: the guard that makes names unique.
    registered: Position,
}

/// What a list asks for; an empty filter matches every node.
#[derive(Clone, Debug, Default)]
pub struct NodeFilter {
    pub status: Option<Status>,
    pub labels: Labels,
}

impl NodeFilter {
    fn matches(&self, node: &Node) -> bool {
        self.status.is_none_or(|status| status == node.status) && node.labels.contains_all(&self.labels)
    }
}

impl Nodes {
    pub fn row(&self, id: NodeId) -> Option<&NodeRow> {
        self.by_id.get(&id)
    }

    pub fn get(&self, id: NodeId) -> Option<&Node> {
        self.by_id.get(&id).map(|row| &row.node)
    }

    pub fn named(&self, project: &Slug, name: &NodeName) -> Option<&Node> {
        self.get(*self.by_project.get(project)?.by_name.get(name)?)
    }

    pub fn rows(&self) -> impl Iterator<Item = &NodeRow> {
        self.by_id.values()
    }

    /// The project's nodes in order of their names.
    pub fn of_project<'a>(&'a self, project: &Slug) -> impl Iterator<Item = &'a Node> {
        self.by_project.get(project).into_iter().flat_map(|nodes| nodes.by_name.values()).filter_map(|id| self.get(*id))
    }

    /// One page in order of names, after a name, and how many match in all.
    pub fn page(
        &self,
        project: &Slug,
        filter: &NodeFilter,
        after: Option<&NodeName>,
        limit: usize,
    ) -> (Vec<&NodeRow>, u64) {
        let Some(nodes) = self.by_project.get(project) else {
            return (Vec::new(), 0);
        };
        if filter.status.is_none() && filter.labels.is_empty() {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let page = nodes.by_name.range::<NodeName, _>((from, Bound::Unbounded));
            return (page.take(limit).filter_map(|(_, id)| self.row(*id)).collect(), nodes.by_name.len() as u64);
        }
        // One pass for the page and the count: about 10 ms for 50,000 nodes by status, 30 ms by labels.
        let (mut page, mut total) = (Vec::new(), 0);
        for (name, id) in &nodes.by_name {
            let Some(row) = self.by_id.get(id).filter(|row| filter.matches(&row.node)) else { continue };
            total += 1;
            if page.len() < limit && after.is_none_or(|after| name > after) {
                page.push(row);
            }
        }
        (page, total)
    }

    pub fn count(&self, project: &Slug) -> BTreeMap<Status, u64> {
        let mut counts = BTreeMap::new();
        for node in self.of_project(project) {
            *counts.entry(node.status).or_default() += 1;
        }
        counts
    }

    /// What a registration in the project must expect.
    pub fn registered_position(&self, project: &Slug) -> Position {
        self.by_project.get(project).map_or(Position::START, |nodes| nodes.registered)
    }

    pub(crate) fn registered_positions(&self) -> impl Iterator<Item = (&Slug, Position)> {
        self.by_project.iter().map(|(slug, nodes)| (slug, nodes.registered))
    }

    pub(crate) fn set_registered_position(&mut self, project: Slug, position: Position) {
        self.by_project.entry(project).or_default().registered = position;
    }

    pub(crate) fn apply(
        &mut self,
        (org, project, id): (&Slug, &Slug, NodeId),
        event: &Event,
        time: Timestamp,
        position: Position,
    ) {
        match event {
            Event::Registered(fact) => {
                let node = Node::registered((org.clone(), project.clone(), id), fact, time, position);
                self.insert(NodeRow { node, desired: None, previous: None, assigned: Vec::new() });
                self.set_registered_position(project.clone(), position);
            }
            Event::Deleted(_) => {
                if let Some(row) = self.by_id.remove(&id)
                    && let Some(nodes) = self.by_project.get_mut(project)
                {
                    nodes.by_name.remove(&row.node.name);
                }
            }
            Event::Online(_)
            | Event::BundleSwitched(_)
            | Event::Changed(_)
            | Event::ActivationFailed(_)
            | Event::Offline(_)
            | Event::Approved(_)
            | Event::KeyRotated(_)
            | Event::ActivationReceipt(_) => {
                if let Some(row) = self.by_id.get_mut(&id) {
                    row.node.evolve(event, time, position);
                }
            }
        }
    }

    /// A direct assignment.
    pub(crate) fn apply_bundle(&mut self, id: BundleId, event: &bundle::Event, time: Timestamp, position: Position) {
        if let bundle::Event::Assigned(assigned) = event {
            let (by, before, decided) = (Assigner::Operator, None, position);
            let desired = Desired { bundle: id, by, before, decided, position, assigned_at: time };
            self.assign(&assigned.node_ids, &desired);
        }
    }

    /// A rollout's steps assign; its end without success withdraws what was not taken yet, unless it is rolled back: then the
    /// end of the rollback does. `before` is the rollout as it was until this fact.
    pub(crate) fn apply_rollout(
        &mut self,
        (id, before): (RolloutId, Option<&Rollout>),
        event: &rollout::Event,
        time: Timestamp,
        position: Position,
    ) {
        let desired = |bundle| {
            let by = Assigner::Rollout(id);
            Desired { bundle, by, before: None, decided: position, position, assigned_at: time }
        };
        match event {
            rollout::Event::StepStarted(step) => self.assign(&step.node_ids, &desired(step.bundle_id)),
            rollout::Event::LateAssigned(late) => self.assign(&late.node_ids, &desired(late.bundle_id)),
            rollout::Event::Failed(_) | rollout::Event::Cancelled(_) => {
                self.withdraw(before.filter(|rollout| !rollout.state.is_terminal()), time, position);
            }
            rollout::Event::RollbackStarted(started) => {
                for restore in &started.restores {
                    let by = Assigner::Rollback(id);
                    let desired = Desired { by, ..desired(restore.bundle_id) };
                    for node in &restore.node_ids {
                        if let Some(row) = self.by_id.get_mut(node) {
                            row.restore(id, &desired);
                        }
                    }
                }
            }
            rollout::Event::RollbackEnded(_) => self.withdraw(before, time, position),
            rollout::Event::Completed(_)
            | rollout::Event::Created(_)
            | rollout::Event::Started(_)
            | rollout::Event::StepCompleted(_)
            | rollout::Event::Paused(_)
            | rollout::Event::Resumed(_) => {}
        }
    }

    fn assign(&mut self, nodes: &[NodeId], desired: &Desired) {
        for id in nodes {
            if let Some(row) = self.by_id.get_mut(id) {
                row.assign(desired.clone());
            }
        }
    }

    fn withdraw(&mut self, rollout: Option<&Rollout>, time: Timestamp, position: Position) {
        let Some(rollout) = rollout else { return };
        for id in rollout.steps.iter().flat_map(|step| &step.node_ids) {
            if let Some(row) = self.by_id.get_mut(id) {
                row.withdraw(rollout.id, time, position);
            }
        }
    }

    pub(crate) fn insert(&mut self, row: NodeRow) {
        let nodes = self.by_project.entry(row.node.project.clone()).or_default();
        nodes.by_name.insert(row.node.name.clone(), row.node.id);
        self.by_id.insert(row.node.id, row);
    }
}

impl NodeRow {
    fn assign(&mut self, mut desired: Desired) {
        match self.desired.take() {
            Some(old) if old.by == desired.by => desired.before = old.before,
            old => {
                // Who was on the way back has something there that nobody wants again.
                let back = old.as_ref().filter(|old| matches!(old.by, Assigner::Rollback(_))).map(|old| old.bundle);
                desired.before = back.or(self.node.active_bundle);
                self.previous = old.or(self.previous.take());
            }
        }
        self.desired = Some(desired);
        self.remember();
        self.node.assigned();
    }

    /// Called whenever `desired` is another one.
    fn remember(&mut self) {
        let Some(assigned) = self.desired.as_ref().map(Desired::assigned) else { return };
        if self.assigned.len() == ASSIGNED_MAX {
            self.assigned.remove(0);
        }
        self.assigned.push(assigned);
    }

    /// Whoever assigned something since is not overruled. What stood before the rollout stays what others fall back to.
    fn restore(&mut self, rollout: RolloutId, desired: &Desired) {
        if self.desired.as_ref().is_some_and(|old| old.is_of(rollout)) {
            self.desired = Some(desired.clone());
            self.remember();
            self.node.assigned();
        }
    }

    /// What the node already runs stays its assignment.
    fn withdraw(&mut self, rollout: RolloutId, time: Timestamp, position: Position) {
        let running = self.node.active_bundle;
        let untaken = |desired: &Desired| desired.is_of(rollout) && running != Some(desired.bundle);
        self.previous = self.previous.take().filter(|previous| !untaken(previous));
        if let Some(withdrawn) = self.desired.take_if(|desired| untaken(desired)) {
            // The node may have accepted the counter of what is withdrawn, and takes only a higher one: what it falls back to
            // is assigned anew by this fact. Nobody may have assigned what it ran, but it ran that.
            let ran = withdrawn.before.map(|bundle| {
                let (by, decided) = (Assigner::Rollback(rollout), Position::START);
                Desired { bundle, by, before: None, decided, position, assigned_at: time }
            });
            self.desired = self.previous.take().or(ran).map(|older| Desired { position, assigned_at: time, ..older });
            self.remember();
        }
    }
}
