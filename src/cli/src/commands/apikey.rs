//! `pilothouse apikey …`

use crate::answer::{read, read_list};
use crate::arguments::{Confirm, Expiry, Mutation};
use crate::complete::{Live, live};
use crate::error::CliError;
use crate::exit::Exit;
use crate::listing;
use crate::render::{Details, Table, moment, relative, relative_or_none};
use crate::session::Session;
use contract::{ApiKeyBody, ApiKeyCreated, Operation, Request};
use domain::api_key::Scope;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const FULL_ACCESS: &str = "full access";

#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// Create an API key and show it, this once
    ///
    /// With --project (or PILOTHOUSE_PROJECT) the key is confined to that project; the dev file's project does not confine it.
    #[command(
        after_help = "Example:\n  pilothouse apikey create --name ci --scope bundles:write --scope rollouts:write --project demo --expires 90d"
    )]
    Create {
        /// What it is for
        #[arg(long)]
        name: String,
        /// What it may do, once or more [default: full access]
        #[arg(long, value_parser = parse_scope)]
        scope: Vec<Scope>,
        /// A time (RFC 3339), or how long from now: 12h, 90d [default: never]
        #[arg(long, value_name = "WHEN", value_parser = Expiry::parse)]
        expires: Option<Expiry>,
        #[command(flatten)]
        mutation: Mutation,
    },
    /// List API keys
    #[command(after_help = "Example:\n  pilothouse apikey list")]
    List,
    /// Show an API key, without its secret
    #[command(after_help = "Example:\n  pilothouse apikey show 019b7d3c-0000-7000-8000-000000000001")]
    Show {
        /// Id of the key
        #[arg(add = live(Live::ApiKeys))]
        id: String,
    },
    /// Revoke an API key; it ends at once
    #[command(after_help = "Example:\n  pilothouse apikey revoke 019b7d3c-0000-7000-8000-000000000001 --yes")]
    Revoke {
        /// Id of the key
        #[arg(add = live(Live::ApiKeys))]
        id: String,
        #[command(flatten)]
        confirm: Confirm,
        #[command(flatten)]
        mutation: Mutation,
    },
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).ok_or_else(|| format!("known are {}", Scope::ALL.map(Scope::as_str).join(", ")))
}

pub(crate) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, CliError> {
    match verb {
        Verb::Create { name, scope, expires, mutation } => {
            let mut body = json!({ "name": name, "scopes": scope });
            if session.target.project_is_explicit {
                body["project"] = session.target.project()?.as_str().into();
            }
            if let Some(expires) = expires {
                let now = session.console.now();
                let time = expires.from(now).ok_or_else(|| CliError::Usage("--expires is too far away".to_owned()))?;
                body["expires_at"] = time.to_string().into();
            }
            let request = Request { body, idempotency_key: mutation.idempotency_key, ..Request::default() };
            let body = session.ask(Operation::ApiKeyCreate, request).await?;
            session.show(&body, created)?;
            let created: ApiKeyCreated = read(&body, "api_key")?;
            let key = &created.api_key;
            if key.scopes.is_empty() {
                let within = key.project.as_ref().map_or("the org".to_owned(), |slug| format!("project {slug}"));
                session.console.say(&format!("this key has full access to {within}; --scope limits a key"));
            }
            match created.key {
                Some(_) => session.console.say("keep the key now: it is not shown again"),
                None => session.console.say("this is a repeat: the key was shown when it was created"),
            }
        }
        Verb::List => {
            let body = session.ask(Operation::ApiKeyList, Request::default()).await?;
            listing::show(session, &body, "api_keys", table)?;
        }
        Verb::Show { id } => {
            let request = Request { id: Some(id), ..Request::default() };
            let body = session.ask(Operation::ApiKeyShow, request).await?;
            session.show(&body, details)?;
        }
        Verb::Revoke { id, confirm, mutation } => {
            session.console.confirm(&format!("Revoke API key {id}"), confirm.yes)?;
            let request = Request { id: Some(id), idempotency_key: mutation.idempotency_key, ..Request::default() };
            let body = session.ask(Operation::ApiKeyRevoke, request).await?;
            session.show(&body, details)?;
        }
    }
    Ok(Exit::Ok)
}

fn created(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let created: ApiKeyCreated = read(body, "api_key")?;
    let mut details = Details::default();
    details.add_some("key", created.key);
    describe(&mut details, &created.api_key, now);
    Ok(details.to_string())
}

fn details(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let mut details = Details::default();
    describe(&mut details, &read(body, "api_key")?, now);
    Ok(details.to_string())
}

fn describe(details: &mut Details, key: &ApiKeyBody, now: Timestamp) {
    details
        .add("id", &key.id)
        .add("name", &key.name)
        .add("scopes", scopes(&key.scopes))
        .add_some("project", key.project.as_ref())
        .add("expires", key.expires_at.map_or_else(|| "never".to_owned(), |time| moment(now, time)))
        .add_some("revoked", key.revoked_at.map(|time| moment(now, time)))
        .add("created", moment(now, key.inserted_at));
}

fn table(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let mut table = Table::new(["ID", "NAME", "KEY", "STATE", "PROJECT", "EXPIRES", "CREATED", "SCOPES"]);
    for key in read_list::<ApiKeyBody>(body, "api_keys")? {
        let state = match (key.revoked_at, key.expires_at) {
            (Some(_), _) => "revoked",
            (None, Some(end)) if end <= now => "expired",
            (None, _) => "live",
        };
        table.row([
            key.id,
            key.name,
            format!("{}…", key.key_prefix),
            state.to_owned(),
            key.project.unwrap_or_default(),
            relative_or_none(now, key.expires_at),
            relative(now, key.inserted_at),
            scopes(&key.scopes),
        ]);
    }
    Ok(table.to_string())
}

fn scopes(scopes: &BTreeSet<Scope>) -> String {
    if scopes.is_empty() {
        return FULL_ACCESS.to_owned();
    }
    scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::color::unpainted;
    use crate::globals::Output;
    use crate::testing::{Fake, noon, on_server};
    use expect_test::expect;

    fn key(extra: Value) -> Value {
        let mut key = json!({"id": "019b7d3c-0000-7000-8000-0000000000a1", "name": "ci", "key_prefix": "abcd1234",
            "scopes": ["bundles:write"], "project": "demo", "expires_at": "2026-01-03T12:00:00Z", "revoked_at": null,
            "inserted_at": "2026-01-02T11:00:00Z"});
        key.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        key
    }

    #[test]
    fn a_list_shows_which_keys_are_live() {
        let all = [
            key(json!({})),
            key(json!({"revoked_at": "2026-01-02T11:30:00Z", "project": null, "scopes": []})),
            key(json!({"expires_at": "2026-01-02T12:00:00Z"})),
        ];
        expect![[r#"
            ID                                    NAME  KEY        STATE    PROJECT  EXPIRES  CREATED  SCOPES
            019b7d3c-0000-7000-8000-0000000000a1  ci    abcd1234…  live     demo     in 24h   1h ago   bundles:write
            019b7d3c-0000-7000-8000-0000000000a1  ci    abcd1234…  revoked  -        in 24h   1h ago   full access
            019b7d3c-0000-7000-8000-0000000000a1  ci    abcd1234…  expired  demo     0s ago   1h ago   bundles:write
        "#]]
        .assert_eq(&unpainted(&table(&json!({"api_keys": all}), noon()).unwrap()));
    }

    #[test]
    fn only_an_explicit_project_confines_a_key() {
        on_server(async |server| {
            let mut fake = Fake::start(&server, |_, request, times| {
                assert_eq!(request.project, None);
                let wanted = match times {
                    0 => json!({"name": "ci", "scopes": []}),
                    _ => json!({"name": "ci", "scopes": ["bundles:write"], "project": "demo",
                        "expires_at": "2026-01-03T12:00:00Z"}),
                };
                assert_eq!(request.body, wanted);
                Fake::ok(
                    201,
                    key(json!({"key": "S3CRET", "scopes": wanted["scopes"], "project": wanted.get("project")})),
                    1,
                )
            })
            .await;
            let ran = fake.run(Output::Table, "apikey create --name ci", "").await;
            assert_eq!(ran.exit, Exit::Ok);
            assert!(ran.talk.starts_with("this key has full access to the org"), "{}", ran.talk);
            let line = "apikey create --name ci --scope bundles:write -p demo --expires 1d";
            let ran = fake.run(Output::Table, line, "").await;
            expect![[r#"
                key:      S3CRET
                id:       019b7d3c-0000-7000-8000-0000000000a1
                name:     ci
                scopes:   bundles:write
                project:  demo
                expires:  2026-01-03T12:00:00Z (in 24h)
                created:  2026-01-02T11:00:00Z (1h ago)
            "#]]
            .assert_eq(&ran.data);
            assert_eq!(ran.talk, "keep the key now: it is not shown again\n");
        });
    }
}
