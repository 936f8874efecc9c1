//! Registration: a host becomes a node of a project and gets its key, once.

use crate::control::Control;
use crate::execute::{Decision, Fact, Meta, unavailable, unix_ms};
use crate::operations::{Idempotency, request_hash};
use contract::{ApiError, PublicKeyBody, Register, Registered};
use domain::node::{Rejection, register};
use domain::org::KeyUse;
use domain::{Actor, Aggregate, NodeId, Position, Slug, node};
use serde_json::Value;
use std::net::IpAddr;

impl Control {
    /// `POST /api/v1/projects/{slug}/nodes/register`. The key's record is written first, then the fact: a credential without
    /// a fact opens nothing and is swept away, a fact without a credential would lock the node out.
    pub async fn register(
        &self,
        project_slug: &str,
        body: Value,
        peer: IpAddr,
        idempotency_key: Option<&str>,
    ) -> Result<(Registered, Position), ApiError> {
        let (org, project) = self.open_project(project_slug).await?;
        let request = request_hash(&["register", project.as_str()], &body);
        let mut fact = Register::parse(body)?.node;
        fact.ip.get_or_insert_with(|| peer.to_canonical().to_string());
        let route = format!("register/{project}");
        let meta = self.meta(Actor::Anonymous, &org, &route, idempotency_key, request)?;
        if let Idempotency::Replay { aggregate, position } = self.idempotency(&meta)? {
            return Ok((self.registered(&org, &project, &aggregate.id(), None), position));
        }
        let id = NodeId::from_parts(unix_ms(), trust::random_bytes());
        let key = trust::new_secret();
        let _turn = self.naming().lock().await;
        self.keep_node_key(id, trust::secret_hash(&key)).await?;
        let done = self
            .commit(&meta, |state| {
                let taken = state.nodes.named(&project, &fact.name).is_some();
                let event = register(fact.clone(), taken)
                    .map_err(|e @ Rejection::NameTaken| ApiError::field("name", e.to_string()))?;
                let node = Aggregate::Node { org: org.clone(), project: project.clone(), id };
                let expected = state.nodes.registered_position(&project);
                Ok(Decision::Append(Box::new(Fact::first(node, expected, domain::Event::Node(event))), ()))
            })
            .await;
        match done {
            Ok(done) if !done.duplicate => {
                Ok((self.registered(&org, &project, &id.to_string(), Some(key)), done.position))
            }
            // The same command was stored by an earlier attempt, whose answer was lost with its key.
            Ok(_) => {
                self.drop_node_key(id).await;
                self.replay_registration(&org, &project, &meta)
            }
            // Whether an unanswered append was stored is not known: the record stays and the sweep decides.
            Err(e) if e.code.status() >= 500 => Err(e),
            Err(e) => {
                self.drop_node_key(id).await;
                self.replay_registration(&org, &project, &meta).map_err(|_| e)
            }
        }
    }

    /// What an earlier attempt of the same command registered.
    fn replay_registration(&self, org: &Slug, project: &Slug, meta: &Meta) -> Result<(Registered, Position), ApiError> {
        match self.idempotency(meta)? {
            Idempotency::Replay { aggregate, position } => {
                Ok((self.registered(org, project, &aggregate.id(), None), position))
            }
            Idempotency::New => Err(unavailable("the registration's outcome is not known; try again")),
        }
    }

    fn registered(&self, org: &Slug, project: &Slug, id: &str, key: Option<String>) -> Registered {
        let state = self.views().read();
        let keys = state.orgs.org(org).into_iter().flat_map(|org| &org.signing_keys);
        let bundle_keys = keys.filter(|(_, key)| key.active && key.key_use == KeyUse::Bundle);
        let bundle_keys =
            bundle_keys.map(|(id, key)| PublicKeyBody { key_id: id.clone(), public_key: key.public_key.clone() });
        Registered {
            node_id: id.to_owned(),
            replayed: key.is_none(),
            node_key: key,
            poll_interval_s: self.settings().poll_interval_s,
            org: org.to_string(),
            project: project.to_string(),
            bundle_keys: bundle_keys.collect(),
        }
    }

    /// A project that takes registrations, by what the path says.
    async fn open_project(&self, slug: &str) -> Result<(Slug, Slug), ApiError> {
        let not_found = || ApiError::not_found("Project");
        let slug: Slug = slug.parse().map_err(|_| not_found())?;
        let known = |control: &Control| {
            let state = control.views().read();
            state.orgs.project(&slug).map(|project| (project.org.clone(), project.slug.clone(), project.registration))
        };
        let found = match known(self) {
            Some(found) => Some(found),
            None => {
                self.catch_up().await?;
                known(self)
            }
        };
        let (org, project, registration) = found.ok_or_else(not_found)?;
        match registration {
            domain::project::Registration::Open => Ok((org, project)),
        }
    }
}

impl Control {
    /// The newest state of an authenticated node; it may have been deleted since.
    pub(crate) fn with_node<T>(&self, id: NodeId, look: impl FnOnce(&node::Node) -> T) -> Result<T, ApiError> {
        let state = self.views().read();
        state.nodes.get(id).map(look).ok_or_else(super::authenticate::node_gone)
    }
}
