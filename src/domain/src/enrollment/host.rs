//! All that is known of one host id: its enrollments, and what outlives them.

use super::{Enrollment, Event, Issuance, State, Submitted, Verdict};
use crate::{Actor, EnrollmentId, HostId, NodeId, Position, Slug};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How many enrollments of a host are remembered; older ones have ended.
const ENROLLMENTS_MAX: usize = 16;

/// JWTs of a key that count no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    pub public_key: String,
    /// Those issued until then, in seconds since 1970.
    pub until_s: i64,
    /// When the last of them ends by itself.
    pub expires_at_s: i64,
}

/// A node that an approval made the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostNode {
    pub id: NodeId,
    pub project: Slug,
    /// An operator revoked the host since: the node's credentials open nothing.
    pub refused: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    pub id: HostId,
    pub org: Slug,
    /// Oldest first, at least one.
    pub enrollments: Vec<Enrollment>,
    /// Keys that operators revoked: they never come back.
    pub blocked: Vec<String>,
    /// What the account's JWT must say, less what has ended by itself.
    pub revocations: Vec<Revocation>,
    /// At most one in a project.
    pub nodes: Vec<HostNode>,
    pub position: Position,
}

impl Host {
    pub fn submitted((org, id): (Slug, HostId), fact: &Submitted, time: Timestamp, position: Position) -> Host {
        let enrollments = vec![Enrollment::submitted(fact, time)];
        let (blocked, revocations) = (Vec::new(), Vec::new());
        Host { id, org, enrollments, blocked, revocations, nodes: Vec::new(), position }
    }

    /// The newest one, which alone can be live.
    pub fn current(&self) -> &Enrollment {
        self.enrollments.last().expect("a host begins with an enrollment and loses only older ones")
    }

    pub fn get(&self, id: &EnrollmentId) -> Option<&Enrollment> {
        self.enrollments.iter().find(|enrollment| enrollment.id == *id)
    }

    pub fn evolve(&mut self, org: &Slug, event: &Event, actor: &Actor, time: Timestamp, position: Position) {
        self.position = position;
        let verdict = |reason: &Option<String>| Verdict { by: actor.clone(), at: time, reason: reason.clone() };
        match event {
            Event::Submitted(fact) => self.submit_again(org, fact, time),
            Event::Approved(fact) => {
                let node = fact.project.clone().zip(fact.node_id);
                if let Some((project, id)) = node.clone() {
                    self.nodes.retain(|known| known.project != project);
                    self.nodes.push(HostNode { id, project, refused: false });
                }
                self.change(&fact.enrollment_id, time, |enrollment| {
                    (enrollment.state, enrollment.node) = (State::Approved, node);
                    enrollment.decided = Some(verdict(&None));
                });
            }
            Event::Rejected(fact) => self.change(&fact.enrollment_id, time, |enrollment| {
                enrollment.state = State::Rejected;
                enrollment.decided = Some(verdict(&fact.reason));
            }),
            Event::Expired(fact) => self.change(&fact.enrollment_id, time, |enrollment| {
                enrollment.state = State::Rejected;
                enrollment.decided = Some(verdict(&Some("expired".to_owned())));
            }),
            Event::Issued(fact) => self.change(&fact.enrollment_id, time, |enrollment| {
                if enrollment.state == State::Approved {
                    enrollment.state = State::Issued;
                }
                enrollment.renewing = false;
                let (issued_at_s, expires_at_s) = (fact.issued_at_s, fact.expires_at_s);
                let jwt_sha256 = fact.jwt_sha256.clone();
                enrollment.issued = Some(Issuance { issued_at_s, expires_at_s, jwt_sha256, at: time, position });
            }),
            Event::Activated(fact) => {
                self.change(&fact.enrollment_id, time, |enrollment| enrollment.state = State::Active);
            }
            Event::Renewed(fact) => self.change(&fact.enrollment_id, time, |enrollment| enrollment.renewing = true),
            Event::Revoked(fact) => {
                self.revoke(&fact.enrollment_id, verdict(&fact.reason), fact.revoked_until_s);
                self.blocked.push(fact.public_key.clone());
                self.nodes.iter_mut().for_each(|node| node.refused = true);
            }
        }
    }

    fn submit_again(&mut self, org: &Slug, fact: &Submitted, time: Timestamp) {
        if let Some(old) = &fact.supersedes {
            let reason = Some(format!("superseded by {}", fact.enrollment_id));
            self.revoke(old, Verdict { by: Actor::System, at: time, reason }, time.as_second());
        }
        self.org.clone_from(org);
        self.enrollments.push(Enrollment::submitted(fact, time));
        if self.enrollments.len() > ENROLLMENTS_MAX {
            self.enrollments.remove(0);
        }
    }

    fn change(&mut self, id: &EnrollmentId, time: Timestamp, change: impl FnOnce(&mut Enrollment)) {
        if let Some(enrollment) = self.enrollments.iter_mut().find(|enrollment| enrollment.id == *id) {
            change(enrollment);
            enrollment.updated_at = time;
        }
    }

    fn revoke(&mut self, id: &EnrollmentId, verdict: Verdict, until_s: i64) {
        let time = verdict.at;
        let mut revocation = None;
        self.change(id, time, |enrollment| {
            (enrollment.state, enrollment.renewing) = (State::Revoked, false);
            revocation = enrollment.issued.as_ref().map(|issued| Revocation {
                public_key: enrollment.public_key.clone(),
                until_s: until_s.max(issued.issued_at_s),
                expires_at_s: issued.expires_at_s,
            });
            enrollment.revoked = Some(verdict);
        });
        self.revocations.retain(|known| known.expires_at_s > time.as_second());
        self.revocations.extend(revocation);
    }

    /// The least issue time that no revocation of the key reaches.
    pub(super) fn issue_time(&self, public_key: &str, now_s: i64) -> i64 {
        let of_key = self.revocations.iter().filter(|revocation| revocation.public_key == public_key);
        of_key.map(|revocation| revocation.until_s.saturating_add(1)).fold(now_s, i64::max)
    }
}

impl Enrollment {
    fn submitted(fact: &Submitted, time: Timestamp) -> Enrollment {
        let fact = fact.clone();
        Enrollment {
            id: fact.enrollment_id,
            public_key: fact.public_key,
            curve_public_key: fact.curve_public_key,
            hostname: fact.hostname,
            metadata: fact.metadata,
            remote_addr: fact.remote_addr,
            join_token: fact.join_token_id,
            state: State::Pending,
            created_at: time,
            updated_at: time,
            decided: None,
            revoked: None,
            issued: None,
            renewing: false,
            node: None,
        }
    }
}
