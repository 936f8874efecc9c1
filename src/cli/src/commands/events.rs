//! `pilothouse events …`: committed facts as they come. The server republishes only what the journal has stored and numbers
//! it; anything else on these subjects is not a fact and is never shown as one.

use crate::client::fact_position;
use crate::error::CliError;
use crate::exit::Exit;
use crate::render::plain;
use crate::session::Session;
use async_nats::connection::State;
use domain::{Kind, Slug};
use futures_util::StreamExt;
use serde_json::{Map, Value};
use std::time::Duration;

/// How often the connection is looked at while no fact comes.
const LOOK: Duration = Duration::from_secs(1);
/// What stands in a filter for "any".
const ANY: &str = "*";
/// What stands in a subject where a fact belongs to no project.
const NO_PROJECT: &str = "_";

#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// Print facts as they are committed: subject, position, type, actor, time
    ///
    /// Begins with the next fact; nothing is replayed. Runs until it is stopped, or until --count facts have come.
    #[command(after_help = "Example:\n  pilothouse events watch --subject-filter default/demo/rollout --count 10")]
    Watch {
        /// ORG, ORG/PROJECT or ORG/PROJECT/KIND; * stands for any, _ for facts outside of projects
        #[arg(long, value_name = "ORG/PROJECT/KIND", value_parser = Filter::parse)]
        subject_filter: Option<Filter>,
        /// End after so many facts
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        count: Option<u64>,
    },
}

/// Which facts are wanted, as the subject to subscribe to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(String);

impl Filter {
    pub fn parse(text: &str) -> Result<Filter, String> {
        let parts: Vec<&str> = text.split('/').collect();
        if parts.len() > 3 {
            return Err("has more than ORG/PROJECT/KIND".to_owned());
        }
        let slug_or = |part: &str, also: &[&str]| also.contains(&part) || part.parse::<Slug>().is_ok();
        if !slug_or(parts[0], &[ANY]) {
            return Err(format!("{:?} is not the slug of an org", parts[0]));
        }
        if let Some(project) = parts.get(1).filter(|project| !slug_or(project, &[ANY, NO_PROJECT])) {
            return Err(format!("{project:?} is not the slug of a project"));
        }
        let known = Kind::ALL.map(Kind::token);
        if let Some(kind) = parts.get(2).filter(|kind| **kind != ANY && !known.contains(kind)) {
            return Err(format!("{kind:?} is not a kind of fact; known are {}", known.join(", ")));
        }
        Ok(Filter(format!("fleet.{}.>", parts.join("."))))
    }
}

pub(crate) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, CliError> {
    let Verb::Watch { subject_filter, count } = verb;
    let subject = subject_filter.map_or_else(|| "fleet.>".to_owned(), |filter| filter.0);
    let client = session.client().await?;
    let mut facts = client.follow(&subject).await?;
    let mut refused = std::pin::pin!(client.refusal(&subject));
    let mut look = tokio::time::interval(LOOK);
    let mut connected = true;
    let mut left = count;
    while left != Some(0) {
        tokio::select! {
            biased;
            error = &mut refused => return Err(error),
            fact = facts.next() => {
                let Some(fact) = fact else {
                    return Err(CliError::Connection { url: session.target.shown_url(), cause: "it was closed".to_owned() });
                };
                if print(session, &fact)? {
                    left = left.map(|left| left - 1);
                }
            }
            _ = look.tick() => {
                let now = session.client().await?.connection() == State::Connected;
                if now != connected {
                    connected = now;
                    session.console.say(if now {
                        "connected again; facts committed meanwhile are not shown"
                    } else {
                        "the connection is lost; trying again"
                    });
                }
            }
        }
    }
    Ok(Exit::Ok)
}

/// False: it was not a fact.
fn print(session: &mut Session<'_>, message: &async_nats::Message) -> Result<bool, CliError> {
    let body = serde_json::from_slice::<Map<String, Value>>(&message.payload);
    let (Some(position), Ok(body)) = (fact_position(message), body) else {
        session.console.say(&format!("ignored a message on {} that is not from the journal", message.subject));
        return Ok(false);
    };
    if session.console.is_structured() {
        session.console.print_item(&json_of(message.subject.as_str(), position, body))?;
    } else {
        session.console.print(&line_of(message.subject.as_str(), position, &body))?;
    }
    Ok(true)
}

fn line_of(subject: &str, position: u64, body: &Map<String, Value>) -> String {
    let text = |field: &str| body.get(field).and_then(Value::as_str).unwrap_or("-");
    plain(&format!("{subject}  {position}  {}  {}  {}", text("type"), text("actor"), text("time")))
}

/// The fact's own fields, and where it stands.
fn json_of(subject: &str, position: u64, mut body: Map<String, Value>) -> Value {
    body.insert("subject".to_owned(), subject.into());
    body.insert("position".to_owned(), position.into());
    Value::Object(body)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::globals::Output;
    use crate::testing::{Fake, on_server};

    #[test]
    fn filters_become_subjects() {
        let subject = |text: &str| Filter::parse(text).map(|filter| filter.0);
        assert_eq!(subject("default").as_deref(), Ok("fleet.default.>"));
        assert_eq!(subject("*/demo").as_deref(), Ok("fleet.*.demo.>"));
        assert_eq!(subject("default/_/api_key").as_deref(), Ok("fleet.default._.api_key.>"));
        assert_eq!(subject("*/*/rollout").as_deref(), Ok("fleet.*.*.rollout.>"));
        for wrong in ["", "a.b", ">", "default/>", "default/demo/>", "default/demo/nodes", "a/b/node/x", "a//node"] {
            assert!(subject(wrong).is_err(), "{wrong}");
        }
    }

    const BODY: &str =
        r#"{"id":"c.0","type":"node.registered","v":1,"time":"2026-01-02T12:00:00Z","actor":"anonymous","data":{}}"#;
    const SUBJECT: &str = "fleet.default.demo.node.n1.registered";

    #[test]
    fn facts_are_lines_and_strangers_messages_are_not_facts() {
        on_server(async |server| {
            let mut fake = Fake::start(&server, |_, _, _| unreachable!("nothing is asked")).await;
            let facts =
                [(SUBJECT, None, BODY), (SUBJECT, Some(41), BODY), (SUBJECT, Some(42), "{\"type\":\"a\\u001b\"}")];
            let line = "events watch --subject-filter default/demo --count 2";
            let ran = fake.run_while_publishing(Output::Table, line, &facts).await;
            assert_eq!(ran.exit, Exit::Ok);
            let wanted = format!(
                "{SUBJECT}  41  node.registered  anonymous  2026-01-02T12:00:00Z\n{SUBJECT}  42  a\\u{{1b}}  -  -\n"
            );
            assert_eq!(ran.data, wanted);
            assert_eq!(ran.talk, format!("ignored a message on {SUBJECT} that is not from the journal\n"));
        });
    }

    #[test]
    fn facts_are_json_lines_with_their_place() {
        on_server(async |server| {
            let mut fake = Fake::start(&server, |_, _, _| unreachable!("nothing is asked")).await;
            let facts = [(SUBJECT, Some(41), BODY), (SUBJECT, Some(42), BODY)];
            let ran = fake.run_while_publishing(Output::Json, "events watch --count 1", &facts).await;
            let fact: Value = serde_json::from_str(&ran.data).unwrap();
            assert_eq!((&fact["position"], &fact["subject"], &fact["v"]), (&41.into(), &SUBJECT.into(), &1.into()));
        });
    }
}
