//! The one place where journal subjects are built and read: `fleet.<org>.<project>.<kind>.<id>.<event>`. A fact of an org has
//! `_` as project. User-chosen text other than a slug and a host's id, which are made for it, never becomes a token.

use crate::{ApiKeyId, BundleId, HostId, JoinTokenId, NodeId, RolloutId, Slug};
use std::fmt;
use thiserror::Error;

/// First token of every stored subject.
const ROOT: &str = "fleet";
/// Stands for "no project".
const NONE: &str = "_";

/// The kinds of aggregates, as they stand in subjects and event types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Org,
    Project,
    ApiKey,
    JoinToken,
    Enrollment,
    Node,
    Bundle,
    Rollout,
}

impl Kind {
    pub const ALL: [Kind; 8] = [
        Kind::Org,
        Kind::Project,
        Kind::ApiKey,
        Kind::JoinToken,
        Kind::Enrollment,
        Kind::Node,
        Kind::Bundle,
        Kind::Rollout,
    ];

    pub fn token(self) -> &'static str {
        match self {
            Kind::Org => "org",
            Kind::Project => "project",
            Kind::ApiKey => "api_key",
            Kind::JoinToken => "join_token",
            Kind::Enrollment => "enrollment",
            Kind::Node => "node",
            Kind::Bundle => "bundle",
            Kind::Rollout => "rollout",
        }
    }
}

/// One aggregate: the thing whose facts share a subject prefix and an expected position.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aggregate {
    Org(Slug),
    Project {
        org: Slug,
        project: Slug,
    },
    /// A key of an org; which project it is confined to is in its fact.
    ApiKey {
        org: Slug,
        id: ApiKeyId,
    },
    JoinToken {
        org: Slug,
        project: Slug,
        id: JoinTokenId,
    },
    /// A host id with all its enrollments; which org the newest one is in is in its facts' subjects.
    Enrollment {
        org: Slug,
        host: HostId,
    },
    Node {
        org: Slug,
        project: Slug,
        id: NodeId,
    },
    Bundle {
        org: Slug,
        project: Slug,
        id: BundleId,
    },
    Rollout {
        org: Slug,
        project: Slug,
        id: RolloutId,
    },
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0:?} is not a journal subject")]
pub struct SubjectError(pub String);

impl Aggregate {
    pub fn org(&self) -> &Slug {
        match self {
            Aggregate::Org(org)
            | Aggregate::Project { org, .. }
            | Aggregate::ApiKey { org, .. }
            | Aggregate::JoinToken { org, .. }
            | Aggregate::Enrollment { org, .. }
            | Aggregate::Node { org, .. }
            | Aggregate::Bundle { org, .. }
            | Aggregate::Rollout { org, .. } => org,
        }
    }

    pub fn project(&self) -> Option<&Slug> {
        match self {
            Aggregate::Org(_) | Aggregate::ApiKey { .. } | Aggregate::Enrollment { .. } => None,
            Aggregate::Project { project, .. }
            | Aggregate::JoinToken { project, .. }
            | Aggregate::Node { project, .. }
            | Aggregate::Bundle { project, .. }
            | Aggregate::Rollout { project, .. } => Some(project),
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Aggregate::Org(_) => Kind::Org,
            Aggregate::Project { .. } => Kind::Project,
            Aggregate::ApiKey { .. } => Kind::ApiKey,
            Aggregate::JoinToken { .. } => Kind::JoinToken,
            Aggregate::Enrollment { .. } => Kind::Enrollment,
            Aggregate::Node { .. } => Kind::Node,
            Aggregate::Bundle { .. } => Kind::Bundle,
            Aggregate::Rollout { .. } => Kind::Rollout,
        }
    }

    /// The aggregate's id as it stands in the subject.
    pub fn id(&self) -> String {
        match self {
            Aggregate::Org(org) => org.to_string(),
            Aggregate::Project { project, .. } => project.to_string(),
            Aggregate::ApiKey { id, .. } => id.to_string(),
            Aggregate::JoinToken { id, .. } => id.to_string(),
            Aggregate::Enrollment { host, .. } => host.to_string(),
            Aggregate::Node { id, .. } => id.to_string(),
            Aggregate::Bundle { id, .. } => id.to_string(),
            Aggregate::Rollout { id, .. } => id.to_string(),
        }
    }

    /// The stored subject of one of its facts; `event` is the event's name, `registered`.
    pub fn subject(&self, event: &str) -> String {
        format!("{self}.{event}")
    }

    /// The canonical filter over all facts of this aggregate: the only text that guards it. A host's id is unique in the
    /// installation, so its filter covers all orgs.
    pub fn filter(&self) -> String {
        match self {
            Aggregate::Enrollment { host, .. } => format!("{ROOT}.*.{NONE}.{}.{host}.>", self.kind().token()),
            _ => format!("{self}.>"),
        }
    }

    /// The filter that makes something unique among its siblings: all first facts (`event`) of this kind in the same project,
    /// or for a project and an org all of the installation that have the same slug.
    pub fn siblings_filter(&self, event: &str) -> String {
        let kind = self.kind().token();
        match self {
            Aggregate::Org(org) => format!("{ROOT}.{org}.{NONE}.{kind}.{org}.{event}"),
            Aggregate::Project { project, .. } => {
                format!("{ROOT}.*.{project}.{kind}.{project}.{event}")
            }
            _ => format!("{ROOT}.{}.{}.{kind}.*.{event}", self.org(), self.project().map_or(NONE, Slug::as_str)),
        }
    }

    /// The filter over all facts of this kind in the same project, or of the org: guards what a decision about several aggregates
    /// of the kind looked at.
    pub fn kind_filter(&self) -> String {
        let project = self.project().map_or(NONE, Slug::as_str);
        format!("{ROOT}.{}.{project}.{}.>", self.org(), self.kind().token())
    }

    /// Reads a stored subject back into its aggregate and event name.
    pub fn parse(subject: &str) -> Result<(Aggregate, &str), SubjectError> {
        let wrong = || SubjectError(subject.to_owned());
        let mut tokens = subject.splitn(6, '.');
        let mut next = || tokens.next().ok_or_else(wrong);
        let (root, org, project, kind, id, event) = (next()?, next()?, next()?, next()?, next()?, next()?);
        if root != ROOT || event.is_empty() || event.contains('.') {
            return Err(wrong());
        }
        let org: Slug = org.parse().map_err(|_| wrong())?;
        let slug = || project.parse::<Slug>().map_err(|_| wrong());
        let aggregate = match kind {
            "org" => Aggregate::Org(org),
            "project" => Aggregate::Project { org, project: slug()? },
            "api_key" => Aggregate::ApiKey { org, id: id.parse().map_err(|_| wrong())? },
            "join_token" => Aggregate::JoinToken { org, project: slug()?, id: id.parse().map_err(|_| wrong())? },
            "enrollment" => Aggregate::Enrollment { org, host: id.parse().map_err(|_| wrong())? },
            "node" => Aggregate::Node { org, project: slug()?, id: id.parse().map_err(|_| wrong())? },
            "bundle" => Aggregate::Bundle { org, project: slug()?, id: id.parse().map_err(|_| wrong())? },
            "rollout" => Aggregate::Rollout { org, project: slug()?, id: id.parse().map_err(|_| wrong())? },
            _ => return Err(wrong()),
        };
        // Tokens that say nothing of their own have one spelling too.
        let canonical = match &aggregate {
            Aggregate::Org(org) => project == NONE && id == org.as_str(),
            Aggregate::Project { project, .. } => id == project.as_str(),
            Aggregate::ApiKey { .. } | Aggregate::Enrollment { .. } => project == NONE,
            Aggregate::JoinToken { .. }
            | Aggregate::Node { .. }
            | Aggregate::Bundle { .. }
            | Aggregate::Rollout { .. } => true,
        };
        if !canonical {
            return Err(wrong());
        }
        Ok((aggregate, event))
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let project = self.project().map_or(NONE, Slug::as_str);
        write!(f, "{ROOT}.{}.{project}.{}.{}", self.org(), self.kind().token(), self.id())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn every_kind() -> [Aggregate; 8] {
        let (org, project): (Slug, Slug) = ("default".parse().unwrap(), "demo".parse().unwrap());
        [
            Aggregate::Org(org.clone()),
            Aggregate::Project { org: org.clone(), project: project.clone() },
            Aggregate::ApiKey { org: org.clone(), id: ApiKeyId::from_bytes([7; 16]) },
            Aggregate::JoinToken { org: org.clone(), project: project.clone(), id: JoinTokenId::from_bytes([7; 16]) },
            Aggregate::Enrollment { org: org.clone(), host: "web-01".parse().unwrap() },
            Aggregate::Node { org: org.clone(), project: project.clone(), id: NodeId::from_bytes([7; 16]) },
            Aggregate::Bundle { org: org.clone(), project: project.clone(), id: BundleId::from_bytes([7; 16]) },
            Aggregate::Rollout { org, project, id: RolloutId::from_bytes([7; 16]) },
        ]
    }

    #[test]
    fn every_subject_reads_back() {
        assert_eq!(every_kind().map(|aggregate| aggregate.kind()), Kind::ALL);
        for aggregate in every_kind() {
            let subject = aggregate.subject("created");
            assert_eq!(Aggregate::parse(&subject), Ok((aggregate.clone(), "created")), "{subject}");
            let mut filter = subject.replace("created", ">");
            if aggregate.kind() == Kind::Enrollment {
                filter = filter.replace("default", "*");
            }
            assert_eq!(aggregate.filter(), filter);
        }
    }

    #[test]
    fn the_guards_name_the_siblings() {
        let filters = every_kind().map(|aggregate| aggregate.siblings_filter("created"));
        let expected = [
            "fleet.default._.org.default.created",
            "fleet.*.demo.project.demo.created",
            "fleet.default._.api_key.*.created",
            "fleet.default.demo.join_token.*.created",
            "fleet.default._.enrollment.*.created",
            "fleet.default.demo.node.*.created",
            "fleet.default.demo.bundle.*.created",
            "fleet.default.demo.rollout.*.created",
        ];
        assert_eq!(filters, expected);
    }

    #[test]
    fn no_other_text_is_a_subject() {
        let id = NodeId::from_bytes([0xab; 16]).to_string();
        let wrong = [
            String::new(),
            "fleet".to_owned(),
            format!("append.default.demo.node.{id}.registered"),
            format!("fleet.default.demo.node.{}.registered", id.to_uppercase()),
            format!("fleet.default.demo.node.{id}"),
            format!("fleet.default.demo.node.{id}."),
            format!("fleet.default.demo.node.{id}.a.b"),
            format!("fleet.default._.node.{id}.registered"),
            format!("fleet.default.demo.robot.{id}.registered"),
            "fleet.default.demo.node.1.registered".to_owned(),
            "fleet.default._.org.other.created".to_owned(),
            "fleet.default.demo.org.default.created".to_owned(),
            "fleet.default.demo.project.other.created".to_owned(),
            format!("fleet.default.demo.api_key.{id}.created"),
            format!("fleet.default._.join_token.{id}.created"),
            "fleet.default.demo.enrollment.web-01.submitted".to_owned(),
            "fleet.default._.enrollment.-web.submitted".to_owned(),
        ];
        for subject in wrong {
            assert_eq!(Aggregate::parse(&subject), Err(SubjectError(subject.clone())));
        }
    }
}
