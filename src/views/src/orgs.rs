//! Orgs, projects and API keys.

use domain::api_key::{self, ApiKey};
use domain::org::{self, Org};
use domain::project::{self, Project};
use domain::{ApiKeyId, Position, Slug};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};

#[derive(Debug, Default, PartialEq)]
pub struct Orgs {
    orgs: BTreeMap<Slug, Org>,
    /// Slugs of projects are unique in the installation.
    projects: BTreeMap<Slug, Project>,
    api_keys: BTreeMap<ApiKeyId, ApiKey>,
    /// Which org a signing key belongs to.
    signing_keys: HashMap<String, Slug>,
}

impl Orgs {
    pub fn org(&self, slug: &Slug) -> Option<&Org> {
        self.orgs.get(slug)
    }

    pub fn orgs(&self) -> impl Iterator<Item = &Org> {
        self.orgs.values()
    }

    pub fn project(&self, slug: &Slug) -> Option<&Project> {
        self.projects.get(slug)
    }

    pub fn projects(&self) -> impl Iterator<Item = &Project> {
        self.projects.values()
    }

    pub fn api_key(&self, id: ApiKeyId) -> Option<&ApiKey> {
        self.api_keys.get(&id)
    }

    pub fn api_keys(&self) -> impl Iterator<Item = &ApiKey> {
        self.api_keys.values()
    }

    /// The org that owns a signing key, and the key.
    pub fn signing_key(&self, key_id: &str) -> Option<(&Slug, &org::SigningKey)> {
        let slug = self.signing_keys.get(key_id)?;
        Some((slug, self.orgs.get(slug)?.signing_keys.get(key_id)?))
    }

    pub(crate) fn apply_org(&mut self, slug: &Slug, event: &org::Event, time: Timestamp, position: Position) {
        match event {
            org::Event::Created(fact) => {
                self.insert_org(Org::created(slug.clone(), fact, time, position));
            }
            org::Event::SigningKeyCreated(_) | org::Event::SigningKeyDeactivated(_) => {
                if let Some(org) = self.orgs.get_mut(slug) {
                    org.evolve(event, time, position);
                }
                if let org::Event::SigningKeyCreated(key) = event {
                    self.signing_keys.insert(key.key_id.clone(), slug.clone());
                }
            }
        }
    }

    pub(crate) fn apply_project(
        &mut self,
        org: &Slug,
        slug: &Slug,
        event: &project::Event,
        time: Timestamp,
        position: Position,
    ) {
        match event {
            project::Event::Created(fact) => {
                self.insert_project(Project::created(org.clone(), slug.clone(), fact, time, position));
            }
            project::Event::RegistrationChanged(_) => {
                if let Some(project) = self.projects.get_mut(slug) {
                    project.evolve(event, position);
                }
            }
        }
    }

    pub(crate) fn apply_api_key(
        &mut self,
        org: &Slug,
        id: ApiKeyId,
        event: &api_key::Event,
        time: Timestamp,
        position: Position,
    ) {
        match event {
            api_key::Event::Created(fact) => {
                self.insert_api_key(ApiKey::created(org.clone(), id, fact, time, position));
            }
            api_key::Event::Revoked(_) => {
                if let Some(key) = self.api_keys.get_mut(&id) {
                    key.evolve(event, time, position);
                }
            }
        }
    }

    pub(crate) fn insert_org(&mut self, org: Org) {
        for key_id in org.signing_keys.keys() {
            self.signing_keys.insert(key_id.clone(), org.slug.clone());
        }
        self.orgs.insert(org.slug.clone(), org);
    }

    pub(crate) fn insert_project(&mut self, project: Project) {
        self.projects.insert(project.slug.clone(), project);
    }

    pub(crate) fn insert_api_key(&mut self, key: ApiKey) {
        self.api_keys.insert(key.id, key);
    }
}
