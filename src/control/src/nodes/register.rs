//! Registration: a host becomes a node of a project and gets its key, once. What the project asks for is judged in
//! [`super::admission`].

use super::admission::{Admission, token_refused};
use crate::control::Control;
use crate::execute::{Decision, Fact, now, unix_ms};
use crate::operations::{Idempotency, request_hash};
use contract::{ApiError, PublicKeyBody, Register, Registered};
use domain::node::{Registered as RegisteredFact, Rejection, register};
use domain::org::KeyUse;
use domain::{Aggregate, Event, NodeId, Position, Slug, join_token, node};
use serde_json::Value;
use std::net::IpAddr;
use views::State;

impl Control {
    /// `POST /api/v1/projects/{slug}/nodes/register`. The key's record is written first, then the fact: a credential without
    /// a fact opens nothing and is swept away, a fact without a credential would lock the node out.
    pub async fn register(
        &self,
        project_slug: &str,
        body: Value,
        peer: IpAddr,
        join_token: Option<&str>,
        idempotency_key: Option<&str>,
    ) -> Result<(Registered, Position), ApiError> {
        let admission = self.admit(project_slug, join_token).await?;
        let (org, project) = (&admission.org, &admission.project);
        let request = request_hash(&["register", project.as_str()], &body);
        let mut fact = Register::parse(body)?.node;
        fact.ip.get_or_insert_with(|| peer.to_canonical().to_string());
        admission.stamp(&mut fact)?;
        let route = format!("register/{project}");
        let meta = self.meta(admission.actor(), org, &route, idempotency_key, request)?;
        let id = NodeId::from_parts(unix_ms(), trust::random_bytes());
        // Looked at before the repeat is: what a twin of this call took shows up with the twin.
        let refused = decide(&self.views().read(), &admission, &fact, id).err();
        if let Idempotency::Replay { aggregate, position } = self.idempotency(&meta)? {
            return Ok((self.registered(org, project, &aggregate.id(), None), position));
        }
        if let Some(refused) = refused {
            return Err(refused);
        }
        let key = trust::new_secret();
        let registered = |key| self.registered(org, project, &id.to_string(), key);
        self.keep_node_key(id, trust::secret_hash(&key)).await?;
        let turn = self.naming().lock().await;
        let done = self.commit(&meta, |state| decide(state, &admission, &fact, id)).await;
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
        stored.map(|(aggregate, position)| (self.registered(org, project, &aggregate.id(), None), position))
    }

    pub(crate) fn registered(&self, org: &Slug, project: &Slug, id: &str, key: Option<String>) -> Registered {
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
}

/// The registration, and the use of the token that lets it through: both are stored, or neither. The registration comes last,
/// so that it is what the command is known to have made.
fn decide(
    state: &State,
    admission: &Admission,
    fact: &RegisteredFact,
    id: NodeId,
) -> Result<Decision<Aggregate>, ApiError> {
    let (org, project) = (admission.org.clone(), admission.project.clone());
    let mut facts = Vec::new();
    if let Some(shown) = &admission.token {
        let token = state.join_tokens.get(shown.id).ok_or_else(token_refused)?;
        let used = join_token::admit(token, id, now()).map_err(|_| token_refused())?;
        let aggregate = Aggregate::JoinToken { org: org.clone(), project: project.clone(), id: token.id };
        facts.push(Fact::next(aggregate, token.position, Event::JoinToken(used)));
    }
    let taken = state.nodes.named(&project, &fact.name).is_some();
    let event = register(fact.clone(), taken).map_err(name_taken)?;
    let expected = state.nodes.registered_position(&project);
    let node = Aggregate::Node { org, project, id };
    facts.push(Fact::first(node.clone(), expected, Event::Node(event)));
    Ok(Decision::AppendAll(facts, node))
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
