//! `enroll list|show|approve|reject|revoke`: what operators decide about hosts. Hosts belong to the org, so a caller that is
//! confined to a project has no say.

use super::Call;
use crate::enrollment::{approved_key_id, enrollment_not_found};
use crate::execute::{Decision, Fact, now, unix_ms};
use contract::{Answer, ApiError, ApproveEnrollment, EnrollmentBody, EnrollmentReason, ErrorCode, Page};
use domain::enrollment::{self, Enrollment, Host, Refusal, State as Stage};
use domain::node::{self, Command, Registered};
use domain::{Aggregate, EnrollmentId, Event, NodeId, NodeName, Slug};
use serde_json::{Value, json};
use trust::nats::HostKey;
use views::State;

impl Call<'_> {
    pub(super) fn list_enrollments(&self) -> Result<Answer, ApiError> {
        let query = &self.request.query;
        let wanted = match query.get("state").map_or("pending", String::as_str) {
            "all" => None,
            text => {
                Some(Stage::parse(text).ok_or_else(|| ApiError::new(ErrorCode::MalformedRequest, "invalid state"))?)
            }
        };
        let page = Page::from_query(query)?;
        let after = page.after.as_deref().map(str::parse::<EnrollmentId>).transpose();
        let after = after.map_err(|_| ApiError::field("after", "must be what an earlier page gave as next"))?;
        self.read(|state| {
            let (org, sees) = (&self.caller.org, self.caller.project.is_none());
            let is_wanted = |(host, found): &(&Host, &Enrollment)| {
                sees && host.org == *org && wanted.is_none_or(|wanted| found.state == wanted)
            };
            let total = state.enrollments.after(None).filter(is_wanted).count();
            let mut rows: Vec<EnrollmentBody> = state
                .enrollments
                .after(after.as_ref())
                .filter(is_wanted)
                .take(page.limit + 1)
                .map(|(host, enrollment)| body(host, enrollment))
                .collect();
            let next = super::bundle::cut(&mut rows, page.limit).map(|row| row.id.clone());
            Ok(json!({"enrollments": rows, "total": total, "next": next}))
        })
    }

    pub(super) fn show_enrollment(&self) -> Result<Answer, ApiError> {
        self.decides_for_org()?;
        self.read(|state| {
            let (host, enrollment) = find(state, &self.caller.org, self.id())?;
            Ok(json!(body(host, enrollment)))
        })
    }

    pub(super) async fn approve_enrollment(&self) -> Result<Answer, ApiError> {
        self.decides_for_org()?;
        let wanted = ApproveEnrollment::parse(self.request.body.clone())?;
        if wanted.project.is_some() {
            self.control.place(self.caller, wanted.project.as_ref().map(Slug::as_str))?;
        }
        let node = NodeId::from_parts(unix_ms(), trust::random_bytes());
        let decide = |state: &State| {
            let (host, enrollment) = find(state, &self.caller.org, self.id())?;
            decide_approval(state, host, enrollment, &wanted, node, None)
        };
        self.mutate(decide, render(self.id())).await
    }

    pub(super) async fn reject_enrollment(&self) -> Result<Answer, ApiError> {
        let reason = EnrollmentReason::parse(self.request.body.clone())?.reason;
        self.end(|enrollment| enrollment::reject(enrollment, reason.clone())).await
    }

    /// The account's JWT follows by itself, and the node's credentials end with the fact.
    pub(super) async fn revoke_enrollment(&self) -> Result<Answer, ApiError> {
        let reason = EnrollmentReason::parse(self.request.body.clone())?.reason;
        self.end(|enrollment| enrollment::revoke(enrollment, reason.clone(), now())).await
    }

    async fn end(
        &self,
        decide: impl Fn(&Enrollment) -> Result<enrollment::Event, Refusal>,
    ) -> Result<Answer, ApiError> {
        self.decides_for_org()?;
        let decide = |state: &State| {
            let (host, enrollment) = find(state, &self.caller.org, self.id())?;
            let event = decide(enrollment).map_err(refused)?;
            let aggregate = aggregate(host);
            let fact = Fact::next(aggregate.clone(), host.position, Event::Enrollment(event));
            Ok(Decision::Append(Box::new(fact), aggregate))
        };
        self.mutate(decide, render(self.id())).await
    }

    /// To a caller that is confined to a project, hosts do not exist.
    fn decides_for_org(&self) -> Result<(), ApiError> {
        self.caller.project.as_ref().map_or(Ok(()), |_| Err(enrollment_not_found()))
    }
}

/// The approval and, where a project is named, the node that the host becomes: both are stored, or neither. What the host had
/// as a node before its approval opens nothing.
pub(crate) fn decide_approval(
    state: &State,
    host: &Host,
    enrollment: &Enrollment,
    wanted: &ApproveEnrollment,
    fresh: NodeId,
    rule: Option<String>,
) -> Result<Decision<Aggregate>, ApiError> {
    let key = HostKey::parse(&enrollment.public_key);
    let actual = key.map(|key| key.fingerprint()).unwrap_or_default();
    let names_key = |text: &String| *text == actual || *text == enrollment.public_key;
    let expected_key = match &wanted.fingerprint {
        Some(text) if !names_key(text) => Some(text.as_str()),
        _ => None,
    };
    let node = wanted.project.as_ref().map(|project| joined(state, host, enrollment, project, wanted, fresh));
    let (mut facts, node) = match node.transpose()? {
        Some((facts, id)) => (facts, wanted.project.clone().map(|project| (project, id))),
        None => (Vec::new(), None),
    };
    let event = enrollment::approve(enrollment, expected_key, node, rule).map_err(|refusal| match refusal {
        Refusal::OtherKey => {
            ApiError::new(ErrorCode::Conflict, format!("cannot approve: the key's fingerprint is {actual}"))
        }
        refusal => refused(refusal),
    })?;
    let aggregate = aggregate(host);
    facts.push(Fact::next(aggregate.clone(), host.position, Event::Enrollment(event)));
    Ok(Decision::AppendAll(facts, aggregate))
}

/// A node's signing key is never replaced. So a host that is a node there under the same key gets another secret, and one that
/// comes back with another key is another node, in the place of the old one.
fn joined(
    state: &State,
    host: &Host,
    enrollment: &Enrollment,
    project: &Slug,
    wanted: &ApproveEnrollment,
    fresh: NodeId,
) -> Result<(Vec<Fact>, NodeId), ApiError> {
    let known = host.nodes.iter().find(|node| node.project == *project).and_then(|node| state.nodes.get(node.id));
    let signs = enrollment.public_key.parse::<node::PublicKey>().ok();
    let step = |known: &node::Node, command: Command| {
        let event = node::decide(known, command);
        event.map(|event| Fact::next(crate::nodes::aggregate(known), known.position, Event::Node(event)))
    };
    let mut facts = Vec::new();
    if let Some(known) = known {
        if known.public_key == signs {
            facts.extend(step(known, Command::ResetKey { key_id: approved_key_id(&enrollment.id) }));
            return Ok((facts, known.id));
        }
        facts.extend(step(known, Command::Delete));
    }
    let name: NodeName =
        host.id.as_str().parse().map_err(|e| ApiError::field("project", format!("needs a name: {e}")))?;
    let holder = state.nodes.named(project, &name).map(|node| node.id);
    let taken = holder.is_some() && holder != known.map(|known| known.id);
    let metadata = enrollment.metadata.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str())));
    let fact = Registered {
        name,
        labels: wanted.labels.clone(),
        version: None,
        ip: Some(enrollment.remote_addr.clone()),
        hostname: enrollment.hostname.clone(),
        capabilities: Vec::new(),
        metadata: metadata.collect(),
        join_token_id: None,
        approval_required: false,
        public_key: signs,
    };
    let named_so = |_| ApiError::field("project", format!("has another node with the name {}", host.id));
    let event = node::register(fact, taken).map_err(named_so)?;
    let aggregate = Aggregate::Node { org: host.org.clone(), project: project.clone(), id: fresh };
    let expected = state.nodes.registered_position(project);
    facts.push(Fact::first(aggregate, expected, Event::Node(event)));
    Ok((facts, fresh))
}

fn find<'s>(state: &'s State, org: &Slug, id: &str) -> Result<(&'s Host, &'s Enrollment), ApiError> {
    let id: EnrollmentId = id.parse().map_err(|_| enrollment_not_found())?;
    state.enrollments.get(&id).filter(|(host, _)| host.org == *org).ok_or_else(enrollment_not_found)
}

pub(crate) fn aggregate(host: &Host) -> Aggregate {
    Aggregate::Enrollment { org: host.org.clone(), host: host.id.clone() }
}

fn refused(refusal: Refusal) -> ApiError {
    ApiError::new(ErrorCode::Conflict, refusal.to_string())
}

fn render(id: &str) -> impl Fn(&State, &Aggregate, bool) -> Option<Value> {
    let id = id.parse::<EnrollmentId>().ok();
    move |state, _, _| {
        let (host, enrollment) = state.enrollments.get(id.as_ref()?)?;
        Some(json!(body(host, enrollment)))
    }
}

fn body(host: &Host, enrollment: &Enrollment) -> EnrollmentBody {
    let fingerprint = HostKey::parse(&enrollment.public_key).map(|key| key.fingerprint()).unwrap_or_default();
    EnrollmentBody::of(host, enrollment, fingerprint)
}
