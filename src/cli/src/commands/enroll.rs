//! `pilothouse enroll …`

use crate::answer::{read, read_list};
use crate::arguments::{Confirm, Mutation, label_map, parse_label};
use crate::complete::{Live, live};
use crate::error::CliError;
use crate::exit::Exit;
use crate::listing::{List, Paging};
use crate::render::{Details, Table, moment, pairs, relative, relative_or_none};
use crate::session::Session;
use contract::{EnrollmentBody, Operation, Request};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Every fact of every host.
const FACTS: &str = "fleet.*._.enrollment.>";

#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// List enrollments; those that wait for a decision unless --state says otherwise
    #[command(after_help = "Example:\n  pilothouse enroll list\n  pilothouse enroll list --state all --all -o json")]
    List {
        /// Only enrollments in this state
        #[arg(long, value_parser = ["pending", "approved", "rejected", "issued", "active", "revoked", "all"])]
        state: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show an enrollment, with the fingerprint of its key
    #[command(after_help = "Example:\n  pilothouse enroll show enr-3MaoWhGs58RVjYTPjrk0BSnDY7X")]
    Show {
        /// Id of the enrollment
        #[arg(add = live(Live::Enrollments))]
        id: String,
    },
    /// Let a host have credentials; with --project it becomes a node there
    #[command(
        after_help = "Example:\n  pilothouse enroll approve enr-3MaoWhGs58RVjYTPjrk0BSnDY7X --fingerprint SHA256:JbyhEGTe1DxXOzbHtLKXPyOlyhwHZQVnZvhMzzNGnFk\n  pilothouse enroll approve enr-3MaoWhGs58RVjYTPjrk0BSnDY7X --project demo --label env=production"
    )]
    Approve {
        /// Id of the enrollment
        #[arg(add = live(Live::Enrollments))]
        id: String,
        /// The key that the host itself tells: its fingerprint, or the public key. Another one is refused
        #[arg(long, value_name = "KEY")]
        fingerprint: Option<String>,
        /// Label of the node, with --project; once or more
        #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
        label: Vec<(String, String)>,
        #[command(flatten)]
        mutation: Mutation,
    },
    /// Refuse a host that waits
    #[command(
        after_help = "Example:\n  pilothouse enroll reject enr-3MaoWhGs58RVjYTPjrk0BSnDY7X --reason \"unknown instance\""
    )]
    Reject {
        /// Id of the enrollment
        #[arg(add = live(Live::Enrollments))]
        id: String,
        /// Why, for those who look later
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        mutation: Mutation,
    },
    /// Take a host's credentials back and block its key for good; it is disconnected at once
    #[command(
        after_help = "Example:\n  pilothouse enroll revoke enr-3MaoWhGs58RVjYTPjrk0BSnDY7X --reason decommissioned --yes"
    )]
    Revoke {
        /// Id of the enrollment
        #[arg(add = live(Live::Enrollments))]
        id: String,
        /// Why, for those who look later
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        confirm: Confirm,
        #[command(flatten)]
        mutation: Mutation,
    },
    /// Show who waits for a decision, again whenever something changes, until stopped
    #[command(after_help = "Example:\n  pilothouse enroll watch")]
    Watch,
}

pub(crate) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, CliError> {
    let body = match verb {
        Verb::List { state, paging } => return list(state, paging).run(session, false).await,
        Verb::Watch => return list(None, Paging::default()).watch(session, FACTS).await,
        Verb::Show { id } => session.ask(Operation::EnrollShow, on(id, Value::Null, None)).await?,
        Verb::Approve { id, fingerprint, label, mutation } => {
            let mut body = json!({});
            if let Some(fingerprint) = fingerprint {
                body["fingerprint"] = fingerprint.into();
            }
            if session.target.project_is_explicit {
                body["project"] = session.target.project()?.as_str().into();
            }
            if !label.is_empty() {
                body["labels"] = json!(label_map(&label)?);
            }
            session.ask(Operation::EnrollApprove, on(id, body, mutation.idempotency_key)).await?
        }
        Verb::Reject { id, reason, mutation } => {
            session.ask(Operation::EnrollReject, on(id, because(reason), mutation.idempotency_key)).await?
        }
        Verb::Revoke { id, reason, confirm, mutation } => {
            session.console.confirm(&format!("Revoke {id} and block its key"), confirm.yes)?;
            session.ask(Operation::EnrollRevoke, on(id, because(reason), mutation.idempotency_key)).await?
        }
    };
    session.show(&body, details)?;
    Ok(Exit::Ok)
}

fn list(state: Option<String>, paging: Paging) -> List {
    let query = state.map(|state| ("state".to_owned(), state)).into_iter().collect();
    let request = Request { query, ..Request::default() };
    List { operation: Operation::EnrollList, request, name: "enrollments", paging, render: table }
}

fn on(id: String, body: Value, idempotency_key: Option<String>) -> Request {
    Request { id: Some(id), body, idempotency_key, ..Request::default() }
}

fn because(reason: Option<String>) -> Value {
    reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }))
}

fn table(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let mut table =
        Table::new(["ID", "HOST", "STATE", "FROM", "HOSTNAME", "FINGERPRINT", "ASKED", "EXPIRES", "REMARK"]);
    for found in read_list::<EnrollmentBody>(body, "enrollments")? {
        table.row([
            found.id.clone(),
            found.peel_id.clone(),
            found.state.clone(),
            found.remote_addr.clone(),
            found.hostname.clone().unwrap_or_default(),
            found.fingerprint.clone(),
            relative(now, found.created_at),
            relative_or_none(now, found.expires_at),
            if found.revoked_before { "revoked before" } else { "" }.to_owned(),
        ]);
    }
    Ok(table.to_string())
}

fn details(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let found: EnrollmentBody = read(body, "enrollment")?;
    let by = |who: Option<String>, when: Option<Timestamp>| {
        who.zip(when).map(|(who, when)| format!("{who}, {}", moment(now, when)))
    };
    let mut details = Details::default();
    details
        .add("id", &found.id)
        .add("host", &found.peel_id)
        .add("state", &found.state)
        .add("fingerprint", &found.fingerprint)
        .add("public key", &found.public_key)
        .add("curve key", &found.curve_public_key)
        .add_some("hostname", found.hostname)
        .add("from", &found.remote_addr)
        .add("metadata", pairs(&found.metadata))
        .add_some("join token", found.join_token_id)
        .add("org", &found.org)
        .add_some("project", found.project)
        .add_some("node", found.node_id)
        .add("asked", moment(now, found.created_at))
        .add_some("decided by", by(found.decided_by, found.decided_at))
        .add_some("rejected because", found.reject_reason)
        .add_some("issued", found.issued_at.map(|time| moment(now, time)))
        .add_some("expires", found.expires_at.map(|time| moment(now, time)))
        .add_some("renewal", found.renewing.then(|| "fresh credentials wait for the host".to_owned()))
        .add_some("revoked by", by(found.revoked_by, found.revoked_at))
        .add_some("revoked because", found.revoke_reason)
        .add_some("remark", found.revoked_before.then(|| "an operator revoked this host before".to_owned()));
    Ok(details.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;
    use crate::color::unpainted;
    use crate::globals::Output;
    use crate::testing::{Fake, noon, on_server};
    use expect_test::expect;

    pub(crate) fn enrollment(extra: Value) -> Value {
        let mut found = json!({"id": "enr-3MaoWhGs58RVjYTPjrk0BSnDY7X", "peel_id": "web-01", "hostname": "web-01.internal",
            "state": "pending", "created_at": "2026-01-02T11:00:00Z", "updated_at": "2026-01-02T11:00:00Z",
            "metadata": {"os": "linux"}, "org": "default", "public_key": "UAB2", "fingerprint": "SHA256:x",
            "curve_public_key": "XCHU", "remote_addr": "10.1.2.3", "join_token_id": null, "decided_by": null,
            "decided_at": null, "reject_reason": null, "revoked_by": null, "revoked_at": null, "revoke_reason": null,
            "issued_at": null, "expires_at": null, "renewing": false, "revoked_before": false, "project": null,
            "node_id": null});
        found.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        found
    }

    #[test]
    fn a_list_shows_whom_one_decides_about_and_nothing_steers_the_terminal() {
        let all = [
            enrollment(json!({"hostname": "a\u{1b}[2Jb"})),
            enrollment(json!({"state": "active", "expires_at": "2026-01-03T12:00:00Z", "revoked_before": true})),
        ];
        expect![[r#"
            ID                               HOST    STATE    FROM      HOSTNAME         FINGERPRINT  ASKED   EXPIRES  REMARK
            enr-3MaoWhGs58RVjYTPjrk0BSnDY7X  web-01  pending  10.1.2.3  a\u{1b}[2Jb      SHA256:x     1h ago  -        -
            enr-3MaoWhGs58RVjYTPjrk0BSnDY7X  web-01  active   10.1.2.3  web-01.internal  SHA256:x     1h ago  in 24h   revoked before
        "#]]
        .assert_eq(&unpainted(&table(&json!({"enrollments": all}), noon()).unwrap()));
    }

    #[test]
    fn an_approval_sends_what_is_wished_for() {
        on_server(async |server| {
            let mut fake = Fake::start(&server, |operation, request, _| {
                assert_eq!((operation, request.id.as_deref()), (Operation::EnrollApprove, Some("enr-1")));
                let wanted = json!({"fingerprint": "SHA256:x", "project": "demo", "labels": {"env": "prod"}});
                assert_eq!(request.body, wanted);
                let decided = json!({"state": "approved", "decided_by": "operator:UO", "project": "demo",
                    "decided_at": "2026-01-02T11:59:00Z", "node_id": "n"});
                Fake::ok(200, enrollment(decided), 1)
            })
            .await;
            let line = "enroll approve enr-1 --fingerprint SHA256:x --project demo --label env=prod";
            let ran = fake.run(Output::Table, line, "").await;
            expect![[r#"
                id:           enr-3MaoWhGs58RVjYTPjrk0BSnDY7X
                host:         web-01
                state:        approved
                fingerprint:  SHA256:x
                public key:   UAB2
                curve key:    XCHU
                hostname:     web-01.internal
                from:         10.1.2.3
                metadata:     os=linux
                org:          default
                project:      demo
                node:         n
                asked:        2026-01-02T11:00:00Z (1h ago)
                decided by:   operator:UO, 2026-01-02T11:59:00Z (1m ago)
            "#]]
            .assert_eq(&ran.data);
        });
    }
}
