//! `pilothouse token …`

use crate::answer::{read, read_list};
use crate::arguments::{Confirm, Expiry, Mutation, label_map, parse_label};
use crate::complete::{Live, live};
use crate::error::CliError;
use crate::exit::Exit;
use crate::listing;
use crate::render::{Details, Table, moment, pairs, relative, relative_or_none};
use crate::session::Session;
use contract::{JoinTokenBody, JoinTokenCreated, Operation, Request};
use jiff::Timestamp;
use serde_json::{Value, json};

#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// Create a join token and show it, this once
    #[command(
        after_help = "Example:\n  pilothouse token create --name rack-7 --label env=production --uses 40 --expires 24h\n  pilothouse token create --name guests --approval"
    )]
    Create {
        /// What it is for
        #[arg(long)]
        name: String,
        /// Label of every node that joins with it, over the node's own; once or more
        #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
        label: Vec<(String, String)>,
        /// How many nodes may join with it [default: any number]
        #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        uses: Option<u32>,
        /// A time (RFC 3339), or how long from now: 12h, 90d [default: never]
        #[arg(long, value_name = "WHEN", value_parser = Expiry::parse)]
        expires: Option<Expiry>,
        /// Each node waits until `node approve` lets it take part
        #[arg(long)]
        approval: bool,
        #[command(flatten)]
        mutation: Mutation,
    },
    /// List join tokens
    #[command(after_help = "Example:\n  pilothouse token list")]
    List,
    /// Show a join token, without its secret
    #[command(after_help = "Example:\n  pilothouse token show 019b7d3c-0000-7000-8000-000000000001")]
    Show {
        /// Id of the token
        #[arg(add = live(Live::JoinTokens))]
        id: String,
    },
    /// Revoke a join token; nodes that joined with it stay
    #[command(after_help = "Example:\n  pilothouse token revoke 019b7d3c-0000-7000-8000-000000000001 --yes")]
    Revoke {
        /// Id of the token
        #[arg(add = live(Live::JoinTokens))]
        id: String,
        #[command(flatten)]
        confirm: Confirm,
        #[command(flatten)]
        mutation: Mutation,
    },
}

pub(crate) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, CliError> {
    match verb {
        Verb::Create { name, label, uses, expires, approval, mutation } => {
            let mut body = json!({"name": name, "labels": label_map(&label)?, "approval": approval});
            if let Some(uses) = uses {
                body["uses_max"] = uses.into();
            }
            if let Some(expires) = expires {
                let now = session.console.now();
                let time = expires.from(now).ok_or_else(|| CliError::Usage("--expires is too far away".to_owned()))?;
                body["expires_at"] = time.to_string().into();
            }
            let request = Request { body, idempotency_key: mutation.idempotency_key, ..session.in_project()? };
            let body = session.ask(Operation::TokenCreate, request).await?;
            session.show(&body, created)?;
            let created: JoinTokenCreated = read(&body, "join_token")?;
            match created.token {
                Some(_) => session.console.say("keep the token now: it is not shown again"),
                None => session.console.say("this is a repeat: the token was shown when it was created"),
            }
        }
        Verb::List => {
            let body = session.ask(Operation::TokenList, session.in_project()?).await?;
            listing::show(session, &body, "join_tokens", table)?;
        }
        Verb::Show { id } => {
            let body = session.ask(Operation::TokenShow, session.on(&id)?).await?;
            session.show(&body, details)?;
        }
        Verb::Revoke { id, confirm, mutation } => {
            let request = Request { idempotency_key: mutation.idempotency_key, ..session.on(&id)? };
            session.console.confirm(&format!("Revoke join token {id}"), confirm.yes)?;
            let body = session.ask(Operation::TokenRevoke, request).await?;
            session.show(&body, details)?;
        }
    }
    Ok(Exit::Ok)
}

fn created(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let created: JoinTokenCreated = read(body, "join_token")?;
    let mut details = Details::default();
    details.add_some("token", created.token);
    describe(&mut details, &created.join_token, now);
    Ok(details.to_string())
}

fn details(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let mut details = Details::default();
    describe(&mut details, &read(body, "join_token")?, now);
    Ok(details.to_string())
}

fn describe(details: &mut Details, token: &JoinTokenBody, now: Timestamp) {
    details
        .add("id", &token.id)
        .add("name", &token.name)
        .add("project", &token.project)
        .add("state", state(token, now))
        .add("labels", pairs(&token.labels))
        .add("uses", uses(token))
        .add("approval", if token.approval { "by an operator" } else { "not needed" })
        .add("expires", token.expires_at.map_or_else(|| "never".to_owned(), |time| moment(now, time)))
        .add_some("last used", token.last_used_at.map(|time| moment(now, time)))
        .add_some("revoked", token.revoked_at.map(|time| moment(now, time)))
        .add("created", moment(now, token.inserted_at));
}

fn table(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let mut table = Table::new(["ID", "NAME", "TOKEN", "STATE", "USES", "APPROVAL", "EXPIRES", "CREATED", "LABELS"]);
    for token in read_list::<JoinTokenBody>(body, "join_tokens")? {
        table.row([
            token.id.clone(),
            token.name.clone(),
            format!("{}…", token.token_prefix),
            state(&token, now).to_owned(),
            uses(&token),
            if token.approval { "needed" } else { "" }.to_owned(),
            relative_or_none(now, token.expires_at),
            relative(now, token.inserted_at),
            pairs(&token.labels),
        ]);
    }
    Ok(table.to_string())
}

fn state(token: &JoinTokenBody, now: Timestamp) -> &'static str {
    if token.revoked_at.is_some() {
        "revoked"
    } else if token.expires_at.is_some_and(|end| end <= now) {
        "expired"
    } else if token.uses_max.is_some_and(|max| token.uses >= max) {
        "used up"
    } else {
        "live"
    }
}

fn uses(token: &JoinTokenBody) -> String {
    match token.uses_max {
        Some(max) => format!("{} of {max}", token.uses),
        None => token.uses.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;
    use crate::color::unpainted;
    use crate::globals::Output;
    use crate::testing::{Fake, noon, on_server};
    use expect_test::expect;

    pub(crate) fn token(extra: Value) -> Value {
        let mut token = json!({"id": "019b7d3c-0000-7000-8000-0000000000d1", "name": "rack-7", "project": "demo",
            "token_prefix": "pjt_abcd1234", "labels": {"env": "production"}, "expires_at": "2026-01-03T12:00:00Z",
            "uses_max": 40, "uses": 3, "approval": false, "last_used_at": "2026-01-02T11:59:00Z", "revoked_at": null,
            "inserted_at": "2026-01-02T11:00:00Z"});
        token.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        token
    }

    #[test]
    fn a_list_shows_which_tokens_are_live() {
        let all = [
            token(json!({})),
            token(json!({"revoked_at": "2026-01-02T11:30:00Z", "uses_max": null, "labels": {}})),
            token(json!({"expires_at": "2026-01-02T12:00:00Z", "approval": true})),
            token(json!({"uses": 40, "expires_at": null})),
        ];
        expect![[r#"
            ID                                    NAME    TOKEN          STATE    USES      APPROVAL  EXPIRES  CREATED  LABELS
            019b7d3c-0000-7000-8000-0000000000d1  rack-7  pjt_abcd1234…  live     3 of 40   -         in 24h   1h ago   env=production
            019b7d3c-0000-7000-8000-0000000000d1  rack-7  pjt_abcd1234…  revoked  3         -         in 24h   1h ago   -
            019b7d3c-0000-7000-8000-0000000000d1  rack-7  pjt_abcd1234…  expired  3 of 40   needed    0s ago   1h ago   env=production
            019b7d3c-0000-7000-8000-0000000000d1  rack-7  pjt_abcd1234…  used up  40 of 40  -         -        1h ago   env=production
        "#]]
        .assert_eq(&unpainted(&table(&json!({"join_tokens": all}), noon()).unwrap()));
    }

    #[test]
    fn what_is_wished_for_is_sent_and_the_token_is_shown() {
        on_server(async |server| {
            let mut fake = Fake::start(&server, |_, request, _| {
                assert_eq!(request.project.as_deref(), Some("demo"));
                let wanted = json!({"name": "rack-7", "labels": {"env": "production"}, "approval": true,
                    "uses_max": 40, "expires_at": "2026-01-03T12:00:00Z"});
                assert_eq!(request.body, wanted);
                Fake::ok(201, token(json!({"token": "pjt_S3CRET", "approval": true, "uses": 0})), 1)
            })
            .await;
            let line = "token create --name rack-7 --label env=production --uses 40 --expires 1d --approval -p demo";
            let ran = fake.run(Output::Table, line, "").await;
            expect![[r#"
                token:      pjt_S3CRET
                id:         019b7d3c-0000-7000-8000-0000000000d1
                name:       rack-7
                project:    demo
                state:      live
                labels:     env=production
                uses:       0 of 40
                approval:   by an operator
                expires:    2026-01-03T12:00:00Z (in 24h)
                last used:  2026-01-02T11:59:00Z (1m ago)
                created:    2026-01-02T11:00:00Z (1h ago)
            "#]]
            .assert_eq(&ran.data);
            assert_eq!(ran.talk, "keep the token now: it is not shown again\n");
        });
    }
}
