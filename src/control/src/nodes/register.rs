//! Registration: a host becomes a node of a project and gets its key, once.

use crate::control::Control;
use crate::execute::{Decision, Fact, unix_ms};
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
        // Looked at before the repeat is: a name that a twin of this call took shows up with the twin.
        let taken = self.views().read().nodes.named(&project, &fact.name).is_some();
        if let Idempotency::Replay { aggregate, position } = self.idempotency(&meta)? {
            return Ok((self.registered(&org, &project, &aggregate.id(), None), position));
        }
        register(fact.clone(), taken).map_err(name_taken)?;
        let id = NodeId::from_parts(unix_ms(), trust::random_bytes());
        let key = trust::new_secret();
        let registered = |key| self.registered(&org, &project, &id.to_string(), key);
        self.keep_node_key(id, trust::secret_hash(&key)).await?;
        let turn = self.naming().lock().await;
        let done = self
            .commit(&meta, |state| {
                let taken = state.nodes.named(&project, &fact.name).is_some();
                let event = register(fact.clone(), taken).map_err(name_taken)?;
                let node = Aggregate::Node { org: org.clone(), project: project.clone(), id };
                let expected = state.nodes.registered_position(&project);
                Ok(Decision::Append(Box::new(Fact::first(node.clone(), expected, domain::Event::Node(event))), node))
            })
            .await;
        drop(turn);
        let done = match done {
            // Whether an unanswered append was stored is not known: the record stays and the sweep decides.
            Err(e) if e.code.status() >= 500 => return Err(e),
            done => done,
        };
        // A twin under the same key may have been first, with a node of its own.
        let stored = match (done, self.idempotency(&meta)) {
            (Ok(done), Ok(Idempotency::New)) => return Ok((registered(Some(key)), done.position)),
            (Ok(done), Ok(Idempotency::Replay { aggregate, .. })) if done.is_ours(Some(&aggregate)) => {
                return Ok((registered(Some(key)), done.position));
            }
            (_, Ok(Idempotency::Replay { aggregate, position })) => Ok((aggregate, position)),
            (Err(refused), Ok(Idempotency::New)) | (_, Err(refused)) => Err(refused),
        };
        self.drop_node_key(id).await;
        stored.map(|(aggregate, position)| (self.registered(&org, &project, &aggregate.id(), None), position))
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

fn name_taken(rejection: Rejection) -> ApiError {
    match rejection {
        Rejection::NameTaken => ApiError::field("name", rejection.to_string()),
    }
}

impl Control {
    /// The newest state of an authenticated node; it may have been deleted since.
    pub(crate) fn with_node<T>(&self, id: NodeId, look: impl FnOnce(&node::Node) -> T) -> Result<T, ApiError> {
        let state = self.views().read();
        state.nodes.get(id).map(look).ok_or_else(super::authenticate::node_gone)
    }
}
