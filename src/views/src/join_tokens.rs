//! Join tokens, by project.

use domain::join_token::{Event, JoinToken};
use domain::{JoinTokenId, Position, Slug};
use jiff::Timestamp;
use std::collections::BTreeMap;

#[derive(Debug, Default, PartialEq)]
pub struct JoinTokens {
    by_id: BTreeMap<JoinTokenId, JoinToken>,
}

impl JoinTokens {
    pub fn get(&self, id: JoinTokenId) -> Option<&JoinToken> {
        self.by_id.get(&id)
    }

    /// The project's tokens, oldest first: ids begin with the time.
    pub fn of_project<'a>(&'a self, project: &'a Slug) -> impl Iterator<Item = &'a JoinToken> {
        self.by_id.values().filter(move |token| token.project == *project)
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &JoinToken> {
        self.by_id.values()
    }

    pub(crate) fn apply(
        &mut self,
        (org, project, id): (&Slug, &Slug, JoinTokenId),
        event: &Event,
        time: Timestamp,
        position: Position,
    ) {
        match event {
            Event::Created(fact) => {
                self.insert(JoinToken::created((org.clone(), project.clone(), id), fact, time, position));
            }
            Event::Used(_) | Event::Revoked(_) => {
                if let Some(token) = self.by_id.get_mut(&id) {
                    token.evolve(event, time, position);
                }
            }
        }
    }

    pub(crate) fn insert(&mut self, token: JoinToken) {
        self.by_id.insert(token.id, token);
    }
}
