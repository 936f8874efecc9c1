//! A project: the nodes, bundles and rollouts that belong together.

use crate::event::events;
use crate::{Position, ProjectId, Slug};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

events! {
    /// A project was made.
    Created(Created) = "created" v 1,
}

/// Who may register a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Registration {
    /// Whoever knows the slug.
    Open,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    pub id: ProjectId,
    pub name: String,
    pub registration: Registration,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    pub id: ProjectId,
    pub org: Slug,
    pub slug: Slug,
    pub name: String,
    pub registration: Registration,
    pub created_at: Timestamp,
    pub position: Position,
}

impl Project {
    pub fn created(org: Slug, slug: Slug, fact: &Created, time: Timestamp, position: Position) -> Project {
        let (name, registration) = (fact.name.clone(), fact.registration);
        Project { id: fact.id, org, slug, name, registration, created_at: time, position }
    }

    pub fn evolve(&mut self, event: &Event, position: Position) {
        self.position = position;
        match event {
            Event::Created(_) => {}
        }
    }
}
