//! `pilothouse node show`, once or when the node is as it should be.

use super::details;
use crate::answer::read;
use crate::complete::{Live, live};
use crate::error::CliError;
use crate::exit::Exit;
use crate::follow::{Watched, follow};
use crate::session::Session;
use crate::waker::Waker;
use contract::{NodeBody, Operation};
use domain::Kind;
use serde_json::Value;
use std::time::Duration;

#[derive(Clone, Debug, clap::Args)]
pub struct Show {
    /// Id or name
    #[arg(add = live(Live::Nodes))]
    node: String,
    /// Show it once it is online, or offline; it need not be registered yet
    #[arg(long, value_name = "STATUS", value_parser = ["online", "offline"])]
    wait: Option<String>,
    /// How long --wait waits
    #[arg(long, value_name = "SECONDS", default_value_t = 300, requires = "wait")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    wait_timeout: u64,
}

pub(crate) async fn run(show: Show, session: &mut Session<'_>) -> Result<Exit, CliError> {
    let Show { node, wait, wait_timeout } = show;
    let Some(wanted) = wait else {
        let body = session.ask(Operation::NodeShow, session.on(&node)?).await?;
        session.show(&body, details)?;
        return Ok(Exit::Ok);
    };
    let facts = format!("fleet.*.{}.{}.>", session.target.project()?, Kind::Node.token());
    let waker = Waker::new(session, &facts).await?;
    let limit = Duration::from_secs(wait_timeout);
    let mut waiting = Waiting { node, wanted, last: "not registered".to_owned() };
    match follow(session, waker, &mut waiting, Some(limit)).await? {
        Some(exit) => Ok(exit),
        None => Err(CliError::StillGoing {
            what: format!("node {} is still {}", waiting.node, waiting.last),
            waited: limit,
            advice: format!("waited for it to be {}", waiting.wanted),
        }),
    }
}

struct Waiting {
    node: String,
    wanted: String,
    last: String,
}

impl Watched for Waiting {
    /// Null: there is no such node yet.
    async fn read(&mut self, session: &mut Session<'_>) -> Result<Value, CliError> {
        match session.ask(Operation::NodeShow, session.on(&self.node)?).await {
            Err(error) if error.exit() == Exit::NotFound => Ok(Value::Null),
            answered => answered,
        }
    }

    fn show(&mut self, session: &mut Session<'_>, body: &Value) -> Result<Option<Exit>, CliError> {
        if body.is_null() {
            return Ok(None);
        }
        self.last = read::<NodeBody>(body, "node")?.status;
        if self.last != self.wanted {
            return Ok(None);
        }
        session.show(body, details)?;
        Ok(Some(Exit::Ok))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::node;
    use super::*;
    use crate::globals::Output;
    use crate::testing::{Fake, on_server};
    use contract::{ApiError, ErrorCode};
    use serde_json::json;

    fn node_that_is(status: &str) -> Value {
        let mut body = node("proxy-1");
        body["status"] = status.into();
        json!({ "node": body })
    }

    #[test]
    fn a_node_is_shown_once_it_is_as_wanted() {
        on_server(async |server| {
            let mut fake = Fake::start(&server, |_, _, times| match times {
                0 => Fake::fail(ApiError::not_found("Node")),
                1 => Fake::ok(200, node_that_is("unknown"), 5),
                2 => Fake::fail(ApiError::new(ErrorCode::Unavailable, "not caught up")),
                _ => Fake::ok(200, node_that_is("online"), 5),
            })
            .await;
            fake.commit_after_each("fleet.default.demo.node.n1.online", 5);
            let ran = fake.run(Output::Json, "node show proxy-1 --wait online -p demo", "").await;
            assert_eq!((ran.exit, ran.talk.as_str()), (Exit::Ok, ""));
            assert_eq!(serde_json::from_str::<Value>(&ran.data).unwrap()["node"]["status"], "online");
        });
    }

    #[test]
    fn waiting_ends_with_its_limit_and_says_what_was_seen() {
        on_server(async |server| {
            let mut fake = Fake::start(&server, |_, _, _| Fake::ok(200, node_that_is("offline"), 5)).await;
            let ran = fake.run(Output::Table, "node show proxy-1 --wait online --wait-timeout 1 -p demo", "").await;
            assert_eq!((ran.exit, ran.data.as_str()), (Exit::Timeout, ""));
            assert_eq!(ran.talk, "error: node proxy-1 is still offline after 1 s: waited for it to be online\n");
        });
    }

    #[test]
    fn what_time_does_not_heal_ends_waiting() {
        on_server(async |server| {
            let mut fake =
                Fake::start(&server, |_, _, _| Fake::fail(ApiError::new(ErrorCode::InsufficientScope, "no"))).await;
            let ran = fake.run(Output::Table, "node show proxy-1 --wait online -p demo", "").await;
            assert_eq!((ran.exit, ran.talk.as_str()), (Exit::Auth, "error: no\n"));
        });
    }
}
