//! Operator operations: one door for REST and for NATS. What is the same for all stands here: access, project, repeats under
//! an `Idempotency-Key`, positions; one file per noun has the rest.

mod api_key;
mod assign;
mod bundle;
pub(crate) mod enroll;
mod node;
mod project;
mod receipt;
mod report;
mod rollout;
mod stream;
mod token;
mod why;

use crate::caller::Caller;
use crate::control::Control;
use crate::execute::{Decision, Meta, command_id, unavailable};
use crate::nodes::ReportKind;
use contract::{Answer, ApiError, ErrorCode, Operation, Request, Route};
use domain::{Actor, Aggregate, CommandId, Position, Slug};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use views::State;

const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;

/// Whether a command was carried out before.
pub(crate) enum Idempotency {
    New,
    /// It was, and this is what it made or changed.
    Replay {
        aggregate: Aggregate,
        position: Position,
    },
}

/// One call on its way through an operation.
pub(crate) struct Call<'a> {
    control: &'a Control,
    caller: &'a Caller,
    operation: Operation,
    request: Request,
    base_url: &'a str,
}

/// The project that a call names, seen by its caller.
#[derive(Clone)]
pub(crate) struct Place {
    org: Slug,
    project: Slug,
}

impl Control {
    /// Answers one operator call. Errors are answers too; `base_url` is the scheme and authority for links.
    pub async fn perform(&self, caller: &Caller, operation: Operation, request: Request, base_url: &str) -> Answer {
        let answer = match self.try_perform(caller, operation, request.clone(), base_url).await {
            // What another replica has just created may be unknown here. Nothing was stored, so asking again is safe.
            Err(e) if e.code == ErrorCode::NotFound => match self.catch_up().await {
                Ok(()) => self.try_perform(caller, operation, request, base_url).await,
                Err(e) => Err(e),
            },
            answer => answer,
        };
        answer.unwrap_or_else(|e| Answer {
            status: e.code.status(),
            body: serde_json::to_value(e.body()).unwrap_or_default(),
            position: self.position().0,
        })
    }

    async fn try_perform(
        &self,
        caller: &Caller,
        operation: Operation,
        request: Request,
        base_url: &str,
    ) -> Result<Answer, ApiError> {
        caller.check(Route::of(operation).access)?;
        if let Some(position) = request.min_position {
            self.wait_for_named(Position(position)).await?;
        }
        let call = Call { control: self, caller, operation, request, base_url };
        match operation {
            Operation::ProjectCreate => call.create_project().await,
            Operation::ProjectList => call.list_projects(),
            Operation::ProjectUpdate => call.update_project().await,
            Operation::NodeList => call.list_nodes(),
            Operation::NodeStats => call.count_nodes(),
            Operation::NodeShow => call.show_node(),
            Operation::NodeWhy => call.explain_node(),
            Operation::NodeDelete => call.delete_node().await,
            Operation::NodeApprove => call.approve_node().await,
            Operation::NodeRotateKey => call.rotate_node_key().await,
            Operation::TokenCreate => call.create_join_token().await,
            Operation::TokenList => call.list_join_tokens(),
            Operation::TokenShow => call.show_join_token(),
            Operation::TokenRevoke => call.revoke_join_token().await,
            Operation::NodeEvents | Operation::NodeAllEvents => call.list_reports(ReportKind::Events).await,
            Operation::NodeMetrics => call.list_reports(ReportKind::Metrics).await,
            Operation::NodeWafEvents | Operation::NodeAllWafEvents => call.list_reports(ReportKind::WafEvents).await,
            Operation::NodeReceipts => call.list_receipts().await,
            Operation::NodeConfig => call.show_config().await,
            Operation::BundleCreate => call.create_bundle().await,
            Operation::BundleList => call.list_bundles(),
            Operation::BundleShow => call.show_bundle(),
            Operation::BundleDownload => call.download_bundle(),
            Operation::BundleVerify => call.verify_bundle().await,
            Operation::BundleRevoke => call.revoke_bundle().await,
            Operation::BundleAssign => call.assign_bundle().await,
            Operation::BundleDelete => call.delete_bundle().await,
            Operation::RolloutCreate => call.create_rollout().await,
            Operation::RolloutList => call.list_rollouts(),
            Operation::RolloutShow => call.show_rollout(),
            Operation::RolloutPause => call.change_rollout(domain::rollout::Command::Pause).await,
            Operation::RolloutResume => call.change_rollout(domain::rollout::Command::Resume).await,
            Operation::RolloutCancel => call.change_rollout(domain::rollout::Command::Cancel).await,
            Operation::RolloutStart => call.start_rollout().await,
            Operation::RolloutRollback => call.roll_back().await,
            Operation::RolloutWhy => call.explain_rollout(),
            Operation::EnrollList => call.list_enrollments(),
            Operation::EnrollShow => call.show_enrollment(),
            Operation::EnrollApprove => call.approve_enrollment().await,
            Operation::EnrollReject => call.reject_enrollment().await,
            Operation::EnrollRevoke => call.revoke_enrollment().await,
            Operation::ApiKeyCreate => call.create_api_key().await,
            Operation::ApiKeyList => call.list_api_keys(),
            Operation::ApiKeyShow => call.show_api_key(),
            Operation::ApiKeyRevoke => call.revoke_api_key().await,
        }
    }

    fn place(&self, caller: &Caller, slug: Option<&str>) -> Result<Place, ApiError> {
        let not_found = || ApiError::not_found("Project");
        let slug: Slug = slug.and_then(|slug| slug.parse().ok()).ok_or_else(not_found)?;
        let state = self.views().read();
        let project = state.orgs.project(&slug).filter(|project| caller.sees(&project.org, &slug));
        project.map(|project| Place { org: project.org.clone(), project: slug.clone() }).ok_or_else(not_found)
    }

    /// The command that a request stands for. Without a key nobody can repeat it.
    pub(crate) fn meta(
        &self,
        actor: Actor,
        org: &Slug,
        route: &str,
        key: Option<&str>,
        request: u64,
    ) -> Result<Meta, ApiError> {
        let Some(key) = key else { return Ok(Meta::once(actor)) };
        let chars = key.chars().count();
        if chars == 0 || chars > IDEMPOTENCY_KEY_CHARS_MAX || key.chars().any(char::is_control) {
            let message = format!("Idempotency-Key must be 1 to {IDEMPOTENCY_KEY_CHARS_MAX} printable characters");
            return Err(ApiError::new(ErrorCode::MalformedRequest, message));
        }
        let command: CommandId = command_id(&[org.as_str(), &actor.to_string(), route, key]);
        Ok(Meta { actor, command, request: Some(request) })
    }

    /// Looks a command up among those of the last 24 hours; the same key with another request is refused.
    pub(crate) fn idempotency(&self, meta: &Meta) -> Result<Idempotency, ApiError> {
        let Some(request) = meta.request else { return Ok(Idempotency::New) };
        let state = self.views().read();
        let Some(done) = state.commands.get(&meta.command) else { return Ok(Idempotency::New) };
        if done.request != request {
            let message = "Idempotency-Key was used with another request; choose a new key for a new request";
            return Err(ApiError::new(ErrorCode::IdempotencyKeyReused, message));
        }
        let aggregate = done.aggregate().ok_or_else(|| unavailable("the first answer is not readable"))?;
        Ok(Idempotency::Replay { aggregate, position: done.position })
    }
}

/// The first 8 bytes of a SHA-256 over what was asked for.
pub(crate) fn request_hash(parts: &[&str], body: &Value) -> u64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0xff]);
    }
    // Keys of a JSON object are in order, so that spelling the same body differently is the same request.
    hash.update(body.to_string().as_bytes());
    let digest = hash.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

impl Call<'_> {
    /// 404 unless the project exists and the caller may know of it.
    fn place(&self) -> Result<Place, ApiError> {
        self.control.place(self.caller, self.request.project.as_deref())
    }

    fn id(&self) -> &str {
        self.request.id.as_deref().unwrap_or_default()
    }

    /// An answer to a read: the position is what the views hold.
    fn read(&self, look: impl FnOnce(&State) -> Result<Value, ApiError>) -> Result<Answer, ApiError> {
        let state = self.control.views().read();
        let body = look(&state)?;
        Ok(Answer { status: Route::of(self.operation).success, body, position: state.position.0 })
    }

    fn meta(&self) -> Result<Meta, ApiError> {
        let (request, name) = (&self.request, self.operation.name());
        let place = [name, request.project.as_deref().unwrap_or_default(), self.id()];
        let hash = request_hash(&place, &request.body);
        let key = request.idempotency_key.as_deref();
        self.control.meta(self.caller.actor.clone(), &self.caller.org, name, key, hash)
    }

    /// The answer to a repeat, before anything is done for it; none when the command is new.
    fn replay(&self, render: impl Fn(&State, &Aggregate, bool) -> Option<Value>) -> Result<Option<Answer>, ApiError> {
        Ok(match self.control.idempotency(&self.meta()?)? {
            Idempotency::New => None,
            Idempotency::Replay { aggregate, position } => Some(self.changed(&aggregate, position, true, render)),
        })
    }

    /// Carries a mutation out, once per `Idempotency-Key`, and renders what it made or changed. The flag tells `render` that
    /// this is a repeat.
    async fn mutate(
        &self,
        decide: impl FnMut(&State) -> Result<Decision<Aggregate>, ApiError>,
        render: impl Fn(&State, &Aggregate, bool) -> Option<Value>,
    ) -> Result<Answer, ApiError> {
        let meta = self.meta()?;
        let (aggregate, position, replayed) = match self.control.idempotency(&meta)? {
            Idempotency::Replay { aggregate, position } => (aggregate, position, true),
            Idempotency::New => match self.control.commit(&meta, decide).await {
                Ok(done) if !done.duplicate => (done.value, done.position, false),
                // The same command came twice at once and its twin was first, or the first answer to this one got lost.
                outcome => match (self.control.idempotency(&meta)?, outcome) {
                    (Idempotency::Replay { aggregate, position }, outcome) => {
                        let ours = outcome.is_ok_and(|done| done.is_ours(Some(&aggregate)));
                        (aggregate, position, !ours)
                    }
                    (Idempotency::New, Ok(done)) => (done.value, done.position, false),
                    (Idempotency::New, Err(e)) => return Err(e),
                },
            },
        };
        Ok(self.changed(&aggregate, position, replayed, render))
    }

    fn changed(
        &self,
        aggregate: &Aggregate,
        position: Position,
        replayed: bool,
        render: impl Fn(&State, &Aggregate, bool) -> Option<Value>,
    ) -> Answer {
        let state = self.control.views().read();
        let gone = || json!({"id": aggregate.id(), "replayed": true});
        let body = render(&state, aggregate, replayed).unwrap_or_else(gone);
        Answer { status: Route::of(self.operation).success, body, position: position.0 }
    }
}
