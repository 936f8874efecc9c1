//! Rollouts, indexed by project and age; the live ones apart, because the engine asks for them at every fact.

use domain::rollout::{Event, Rollout};
use domain::{Position, RolloutId, Slug};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};

#[derive(Debug, Default, PartialEq)]
pub struct Rollouts {
    by_id: HashMap<RolloutId, Rollout>,
    by_project: HashMap<Slug, ProjectRollouts>,
    live: BTreeSet<RolloutId>,
}

#[derive(Debug, Default, PartialEq)]
struct ProjectRollouts {
    /// By the position of the `created` fact.
    by_age: BTreeMap<Position, RolloutId>,
    /// Where the newest fact of any of them stands: the guard that keeps two rollouts from taking the same nodes.
    newest: Position,
}

impl Rollouts {
    pub fn get(&self, id: RolloutId) -> Option<&Rollout> {
        self.by_id.get(&id)
    }

    /// What the engine has to look at: neither completed, failed nor cancelled, or still being rolled back.
    pub fn live(&self) -> impl Iterator<Item = &Rollout> {
        self.live.iter().filter_map(|id| self.get(*id))
    }

    pub fn newest_first<'a>(
        &'a self,
        project: &Slug,
        before: Option<Position>,
    ) -> impl Iterator<Item = (Position, &'a Rollout)> {
        let end = before.unwrap_or(Position(u64::MAX));
        let rollouts = self.by_project.get(project).into_iter().flat_map(move |p| p.by_age.range(..end).rev());
        rollouts.filter_map(|(position, id)| Some((*position, self.get(*id)?)))
    }

    /// What a creation or a start in the project must expect: that nothing has happened to any of its rollouts.
    pub fn newest_position(&self, project: &Slug) -> Position {
        self.by_project.get(project).map_or(Position::START, |rollouts| rollouts.newest)
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = (Position, &Rollout)> {
        let ages = self.by_project.values().flat_map(|project| &project.by_age);
        ages.filter_map(|(position, id)| Some((*position, self.get(*id)?)))
    }

    pub(crate) fn apply(
        &mut self,
        (org, project, id): (&Slug, &Slug, RolloutId),
        event: &Event,
        time: Timestamp,
        position: Position,
    ) {
        if let Event::Created(spec) = event {
            self.insert(position, Rollout::created((org.clone(), project.clone(), id), spec, time, position));
            return;
        }
        if let Some(rollout) = self.by_id.get_mut(&id) {
            rollout.evolve(event, time, position);
            match rollout.is_live() {
                true => self.live.insert(id),
                false => self.live.remove(&id),
            };
        }
        self.by_project.entry(project.clone()).or_default().newest = position;
    }

    pub(crate) fn insert(&mut self, created: Position, rollout: Rollout) {
        let project = self.by_project.entry(rollout.project.clone()).or_default();
        project.by_age.insert(created, rollout.id);
        project.newest = project.newest.max(rollout.position);
        if rollout.is_live() {
            self.live.insert(rollout.id);
        }
        self.by_id.insert(rollout.id, rollout);
    }
}
