//! Bundles, indexed by project, version and age.

use domain::bundle::{Bundle, Event};
use domain::{BundleId, BundleVersion, Position, Slug, rollout};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

#[derive(Debug, Default, PartialEq)]
pub struct Bundles {
    by_id: HashMap<BundleId, Bundle>,
    by_project: HashMap<Slug, ProjectBundles>,
    /// Named by some rollout or direct assignment: never deleted.
    deployed: HashSet<BundleId>,
    compiling: BTreeSet<BundleId>,
}

#[derive(Debug, Default, PartialEq)]
struct ProjectBundles {
    by_version: HashMap<BundleVersion, BundleId>,
    /// By the position of the `created` fact.
    by_age: BTreeMap<Position, BundleId>,
    /// Where the newest creation stands: the guard that makes versions unique.
    created: Position,
}

impl Bundles {
    pub fn get(&self, id: BundleId) -> Option<&Bundle> {
        self.by_id.get(&id)
    }

    pub fn versioned(&self, project: &Slug, version: &BundleVersion) -> Option<&Bundle> {
        self.get(*self.by_project.get(project)?.by_version.get(version)?)
    }

    /// Newest first, with the position of creation that a page continues before.
    pub fn newest_first<'a>(
        &'a self,
        project: &Slug,
        before: Option<Position>,
    ) -> impl Iterator<Item = (Position, &'a Bundle)> {
        let end = before.unwrap_or(Position(u64::MAX));
        let bundles = self.by_project.get(project).into_iter().flat_map(move |p| p.by_age.range(..end).rev());
        bundles.filter_map(|(position, id)| Some((*position, self.get(*id)?)))
    }

    pub fn is_deployed(&self, id: BundleId) -> bool {
        self.deployed.contains(&id)
    }

    /// What waits for a compiler.
    pub fn compiling(&self) -> impl Iterator<Item = &Bundle> {
        self.compiling.iter().filter_map(|id| self.get(*id))
    }

    /// What a creation in the project must expect.
    pub fn created_position(&self, project: &Slug) -> Position {
        self.by_project.get(project).map_or(Position::START, |bundles| bundles.created)
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = (Position, &Bundle)> {
        let ages = self.by_project.values().flat_map(|project| &project.by_age);
        ages.filter_map(|(position, id)| Some((*position, self.get(*id)?)))
    }

    pub(crate) fn created_positions(&self) -> impl Iterator<Item = (&Slug, Position)> {
        self.by_project.iter().map(|(slug, bundles)| (slug, bundles.created))
    }

    pub(crate) fn deployed(&self) -> impl Iterator<Item = BundleId> {
        self.deployed.iter().copied()
    }

    pub(crate) fn set_created_position(&mut self, project: Slug, position: Position) {
        self.by_project.entry(project).or_default().created = position;
    }

    pub(crate) fn set_deployed(&mut self, id: BundleId) {
        self.deployed.insert(id);
    }

    pub(crate) fn apply(
        &mut self,
        (org, project, id): (&Slug, &Slug, BundleId),
        event: &Event,
        time: Timestamp,
        position: Position,
    ) {
        match event {
            Event::Created(fact) => {
                let bundle = Bundle::created((org.clone(), project.clone(), id), fact, time, position);
                self.insert(position, bundle);
                self.set_created_position(project.clone(), position);
            }
            Event::Deleted(_) => self.remove(project, id),
            Event::Assigned(_) => {
                self.deployed.insert(id);
                if let Some(bundle) = self.by_id.get_mut(&id) {
                    bundle.evolve(event, time, position);
                }
            }
            Event::Compiled(_) | Event::Failed(_) | Event::Revoked(_) => {
                self.compiling.remove(&id);
                if let Some(bundle) = self.by_id.get_mut(&id) {
                    bundle.evolve(event, time, position);
                }
            }
        }
    }

    pub(crate) fn apply_rollout(&mut self, event: &rollout::Event) {
        if let rollout::Event::Created(spec) = event {
            self.deployed.insert(spec.bundle_id);
        }
    }

    pub(crate) fn insert(&mut self, created: Position, bundle: Bundle) {
        let project = self.by_project.entry(bundle.project.clone()).or_default();
        project.by_version.insert(bundle.version.clone(), bundle.id);
        project.by_age.insert(created, bundle.id);
        if matches!(bundle.state, domain::bundle::State::Compiling) {
            self.compiling.insert(bundle.id);
        }
        self.by_id.insert(bundle.id, bundle);
    }

    fn remove(&mut self, project: &Slug, id: BundleId) {
        self.compiling.remove(&id);
        if let Some(bundle) = self.by_id.remove(&id)
            && let Some(project) = self.by_project.get_mut(project)
        {
            project.by_version.remove(&bundle.version);
            project.by_age.retain(|_, known| *known != id);
        }
    }
}
