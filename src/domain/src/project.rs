//! A project: the nodes, bundles and rollouts that belong together.

use crate::event::events;
use crate::{Position, ProjectId, Slug};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

events! {
    /// A project was made.
    Created(Created) = "created" v 1,
    /// Another policy says from now on who may register a node; nodes that are registered stay.
    RegistrationChanged(RegistrationChanged) = "registration_changed" v 1,
}

/// Who may register a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Registration {
    /// Whoever knows the slug.
    Open,
    /// Whoever shows a join token.
    Token,
    /// Hosts that an operator has enrolled.
    Enrolled,
}

impl Registration {
    pub const ALL: [Registration; 3] = [Registration::Open, Registration::Token, Registration::Enrolled];

    pub fn as_str(self) -> &'static str {
        match self {
            Registration::Open => "open",
            Registration::Token => "token",
            Registration::Enrolled => "enrolled",
        }
    }

    pub fn parse(text: &str) -> Option<Registration> {
        Registration::ALL.into_iter().find(|policy| policy.as_str() == text)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    pub id: ProjectId,
    pub name: String,
    pub registration: Registration,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegistrationChanged {
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
            Event::RegistrationChanged(fact) => self.registration = fact.registration,
        }
    }
}

/// None: the project has this policy already.
pub fn change_registration(project: &Project, registration: Registration) -> Option<Event> {
    let changes = project.registration != registration;
    changes.then_some(Event::RegistrationChanged(RegistrationChanged { registration }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
