//! All read models of one replica at one position. A fold of the journal: the same facts give the same state everywhere.

use crate::bundles::Bundles;
use crate::commands::Commands;
use crate::enrollments::Enrollments;
use crate::join_tokens::JoinTokens;
use crate::nodes::Nodes;
use crate::orgs::Orgs;
use crate::rollouts::Rollouts;
use domain::{Aggregate, Event, Position, Recorded};

#[derive(Debug, Default, PartialEq)]
pub struct State {
    /// The newest fact that is in here.
    pub position: Position,
    pub orgs: Orgs,
    pub join_tokens: JoinTokens,
    pub enrollments: Enrollments,
    pub nodes: Nodes,
    pub bundles: Bundles,
    pub rollouts: Rollouts,
    pub commands: Commands,
}

impl State {
    /// Takes one fact in. Facts come in order and each exactly once: a fact at or before `position` is left out, so that
    /// applying a tail twice is harmless.
    pub fn apply(&mut self, fact: &Recorded) {
        if fact.position <= self.position {
            return;
        }
        let (time, position) = (fact.envelope.time, fact.position);
        match (&fact.aggregate, &fact.envelope.event) {
            (Aggregate::Org(org), Event::Org(event)) => self.orgs.apply_org(org, event, time, position),
            (Aggregate::Project { org, project }, Event::Project(event)) => {
                self.orgs.apply_project(org, project, event, time, position);
            }
            (Aggregate::ApiKey { org, id }, Event::ApiKey(event)) => {
                self.orgs.apply_api_key(org, *id, event, time, position);
            }
            (Aggregate::JoinToken { org, project, id }, Event::JoinToken(event)) => {
                self.join_tokens.apply((org, project, *id), event, time, position);
            }
            (Aggregate::Enrollment { org, host }, Event::Enrollment(event)) => {
                self.enrollments.apply((org, host), event, &fact.envelope.actor, time, position);
            }
            (Aggregate::Node { org, project, id }, Event::Node(event)) => {
                self.nodes.apply((org, project, *id), event, time, position);
            }
            (Aggregate::Bundle { org, project, id }, Event::Bundle(event)) => {
                self.bundles.apply((org, project, *id), event, time, position);
                self.nodes.apply_bundle(*id, event, time, position);
            }
            (Aggregate::Rollout { org, project, id }, Event::Rollout(event)) => {
                // What an end takes back depends on what was there before it.
                self.nodes.apply_rollout((*id, self.rollouts.get(*id)), event, time, position);
                self.rollouts.apply((org, project, *id), event, time, position);
                self.bundles.apply_rollout(event);
            }
            // Decoding reads the event by the aggregate's kind, so that no other pair exists.
            (
                Aggregate::Org(_)
                | Aggregate::Project { .. }
                | Aggregate::ApiKey { .. }
                | Aggregate::JoinToken { .. }
                | Aggregate::Enrollment { .. }
                | Aggregate::Node { .. }
                | Aggregate::Bundle { .. }
                | Aggregate::Rollout { .. },
                _,
            ) => {}
        }
        self.commands.apply(fact);
        self.position = position;
    }
}
