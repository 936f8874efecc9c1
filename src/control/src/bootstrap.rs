//! The first facts of an installation: the default org with its signing keys, and a first project. Safe to run at every start
//! and by two replicas at once.

use crate::control::Control;
use crate::execute::{Fact, Meta, unavailable, unix_ms};
use contract::ApiError;
use domain::org::{self, KeyUse};
use domain::project::{self, Registration};
use domain::{Actor, Aggregate, Event, Position, ProjectId, Slug};
use thiserror::Error;

/// How often a round of first facts is lost to another replica before this one gives up.
const ATTEMPTS_MAX: u32 = 8;

#[derive(Debug, Error)]
pub enum BootstrapError {
    #[error("the first facts of the installation could not be stored")]
    Store(#[from] ApiError),
}

/// What an empty installation begins with.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// A project beside the default org.
    pub project: Option<Slug>,
}

impl Control {
    /// Brings the views up to date, then stores what is missing.
    pub async fn bootstrap(&self, wanted: &Bootstrap) -> Result<(), BootstrapError> {
        self.catch_up().await?;
        let org = self.default_org().clone();
        let mut stored = false;
        for _ in 0..ATTEMPTS_MAX {
            let missing = self.missing(&org, wanted);
            stored = missing.is_empty();
            if stored {
                break;
            }
            // A conflict means that another replica was first with some of them; the rest comes in the next round.
            self.commit_batch(&Meta::once(Actor::System), missing).await?;
        }
        if !stored && !self.missing(&org, wanted).is_empty() {
            return Err(unavailable("too many replicas begin at once; start again").into());
        }
        for key_use in [KeyUse::NodeToken, KeyUse::Bundle] {
            let has = self.views().read().orgs.org(&org).is_some_and(|org| org.active_key(key_use).is_some());
            if !has {
                self.create_signing_key(&org, key_use).await?;
            }
        }
        Ok(())
    }

    fn missing(&self, org: &Slug, wanted: &Bootstrap) -> Vec<Fact> {
        let state = self.views().read();
        let mut facts = Vec::new();
        if state.orgs.org(org).is_none() {
            let created = org::Event::Created(org::Created { name: org.to_string() });
            facts.push(Fact::next(Aggregate::Org(org.clone()), Position::START, Event::Org(created)));
        }
        if let Some(project) = wanted.project.as_ref().filter(|project| state.orgs.project(project).is_none()) {
            let id = ProjectId::from_parts(unix_ms(), trust::random_bytes());
            let (name, registration) = (project.to_string(), Registration::Open);
            let created = project::Event::Created(project::Created { id, name, registration });
            let aggregate = Aggregate::Project { org: org.clone(), project: project.clone() };
            facts.push(Fact::first(aggregate, Position::START, Event::Project(created)));
        }
        facts
    }
}
