//! Waiting for the end of a rollout: quietly, for scripts, or with everything shown again at each change.

use super::{detail, end, pause, read_detail, ways_out};
use crate::error::CliError;
use crate::exit::Exit;
use crate::follow::{Watched, follow, project_facts};
use crate::session::Session;
use crate::waker::Waker;
use contract::Operation;
use serde_json::Value;
use std::time::Duration;

/// Shows the rollout when it has ended. A pause is told and does not end the wait: somebody may resume it. A rollout that
/// needs an approval does, because only people can go on.
pub(crate) async fn run(id: &str, limit: Duration, session: &mut Session<'_>) -> Result<Exit, CliError> {
    let mut rollout = Rollout::new(id, false);
    match rollout.follow(session, Some(limit)).await? {
        Some(exit) => Ok(exit),
        None => Err(CliError::StillGoing {
            what: format!("rollout {id} is still {}", rollout.state),
            waited: limit,
            advice: format!("`pilothouse rollout watch {id}` goes on"),
        }),
    }
}

pub(crate) async fn show_until_it_ends(id: &str, session: &mut Session<'_>) -> Result<Exit, CliError> {
    Ok(Rollout::new(id, true).follow(session, None).await?.unwrap_or(Exit::Ok))
}

struct Rollout {
    id: String,
    /// Every change is shown, not only the end.
    shows_all: bool,
    shown: Option<Value>,
    state: String,
    paused: Option<String>,
}

impl Rollout {
    fn new(id: &str, shows_all: bool) -> Rollout {
        Rollout { id: id.to_owned(), shows_all, shown: None, state: "not read".to_owned(), paused: None }
    }

    async fn follow(&mut self, session: &mut Session<'_>, limit: Option<Duration>) -> Result<Option<Exit>, CliError> {
        let facts = project_facts(session)?;
        let waker = Waker::new(session, &facts).await?;
        follow(session, waker, self, limit).await
    }

    fn show_change(&mut self, session: &mut Session<'_>, body: &Value) -> Result<(), CliError> {
        let changed = self.shown.as_ref() != Some(body);
        if session.console.is_structured() {
            if changed {
                session.console.print_item(body)?;
            }
        } else if session.console.data_is_terminal {
            let text = detail(body, session.console.now())?;
            session.console.redraw_screen(&text)?;
        } else if changed {
            if self.shown.is_some() {
                session.console.print("")?;
            }
            session.show(body, detail)?;
        }
        if changed {
            self.shown = Some(body.clone());
        }
        Ok(())
    }
}

impl Watched for Rollout {
    async fn read(&mut self, session: &mut Session<'_>) -> Result<Value, CliError> {
        session.ask(Operation::RolloutShow, session.on(&self.id)?).await
    }

    fn show(&mut self, session: &mut Session<'_>, body: &Value) -> Result<Option<Exit>, CliError> {
        let rollout = read_detail(body)?.rollout;
        let ended = end(&rollout);
        if self.shows_all {
            self.show_change(session, body)?;
            return Ok(ended);
        }
        if ended.is_some() {
            session.show(body, detail)?;
            return Ok(ended);
        }
        if needs_approval(body) {
            session.show(body, detail)?;
            return Ok(Some(Exit::Approval));
        }
        let paused = pause(&rollout);
        if let Some(why) = paused.as_ref().filter(|_| paused != self.paused) {
            session.console.say(&format!("rollout {} is paused: {why}", self.id));
            session.console.say(&ways_out(&self.id));
        }
        (self.paused, self.state) = (paused, rollout.state);
        Ok(None)
    }

    fn is_certain(&self) -> bool {
        // It was just created, or the first read says that it was not.
        !self.shows_all
    }
}

/// Nothing happens before enough people have approved it.
fn needs_approval(body: &Value) -> bool {
    let field = |name: &str| body.get("rollout").and_then(|rollout| rollout.get(name)).and_then(Value::as_str);
    field("state") == Some("pending") && field("approval_state") == Some("pending_approval")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::{ID, detail_body};
    use super::*;
    use crate::commands::bundle_body;
    use crate::globals::Output;
    use crate::testing::{Fake, Ran, Server, on_server};
    use contract::{ApiError, ErrorCode};
    use serde_json::json;

    const CREATE: &str = "rollout create --bundle 1.0.0 -p demo --wait";

    /// Answers with one state of the rollout after the other.
    async fn run(server: &Server, line: &str, output: Output, states: Vec<Value>) -> Ran {
        let mut fake = Fake::start(server, move |operation, _, times| match operation {
            Operation::BundleShow => Fake::ok(200, json!({ "bundle": bundle_body("compiled") }), 3),
            Operation::RolloutCreate => Fake::ok(201, detail_body("running", [1, 0, 0, 0])["rollout"].clone(), 4),
            _ => match &states[times.min(states.len() - 1)] {
                Value::Null => Fake::fail(ApiError::new(ErrorCode::Unavailable, "not caught up")),
                body => Fake::ok(200, body.clone(), 5),
            },
        })
        .await;
        fake.commit_after_each("fleet.default.demo.node.n1.activated", 5);
        fake.run(output, line, "").await
    }

    #[test]
    fn the_end_of_a_rollout_is_its_exit() {
        on_server(async |server| {
            let states = vec![
                Value::Null,
                detail_body("running", [1, 0, 0, 0]),
                detail_body("paused", [0, 0, 1, 0]),
                detail_body("paused", [0, 0, 1, 0]),
                detail_body("completed", [0, 1, 0, 0]),
            ];
            let ran = run(&server, CREATE, Output::Json, states).await;
            assert_eq!(ran.exit, Exit::Ok);
            assert_eq!(serde_json::from_str::<Value>(&ran.data).unwrap()["rollout"]["state"], "completed");
            let paused = format!("rollout {ID} is paused: activation failed: port 80 is taken, step 2, nodes n1 n2\n");
            assert_eq!(ran.talk, paused + &ways_out(ID) + "\n");
            for state in ["failed", "cancelled"] {
                let ran = run(&server, CREATE, Output::Table, vec![detail_body(state, [0, 0, 1, 0])]).await;
                assert_eq!(ran.exit, Exit::Failure, "{state}");
                assert!(ran.data.contains(&format!("state:            {state}\n")), "{}", ran.data);
            }
        });
    }

    #[test]
    fn time_and_people_have_exits_of_their_own() {
        on_server(async |server| {
            let line = format!("{CREATE} --wait-timeout 1");
            let ran = run(&server, &line, Output::Table, vec![detail_body("running", [1, 0, 0, 0])]).await;
            assert_eq!(ran.exit, Exit::Timeout);
            assert!(ran.talk.contains(&format!("rollout {ID} is still running after 1 s: ")), "{}", ran.talk);
            let mut pending = detail_body("pending", [1, 0, 0, 0]);
            pending["rollout"]["approval_state"] = "pending_approval".into();
            let ran = run(&server, CREATE, Output::Json, vec![pending.clone()]).await;
            assert_eq!((ran.exit, serde_json::from_str(&ran.data).unwrap()), (Exit::Approval, pending));
        });
    }

    #[test]
    fn a_watched_rollout_is_shown_at_each_change_until_it_ends() {
        on_server(async |server| {
            let running = detail_body("running", [1, 0, 0, 0]);
            let states = vec![running.clone(), running, Value::Null, detail_body("failed", [0, 0, 1, 0])];
            let line = format!("rollout show {ID} --watch -p demo");
            let ran = run(&server, &line, Output::Yaml, states.clone()).await;
            assert_eq!((ran.exit, ran.talk.as_str()), (Exit::Failure, ""));
            assert_eq!(ran.data.lines().filter(|line| *line == "---").count(), 2, "{}", ran.data);
            let ran = run(&server, &line, Output::Table, states).await;
            let told: Vec<&str> = ran.data.lines().filter(|line| line.starts_with("state:")).collect();
            assert_eq!(told, ["state:            running", "state:            failed"]);
        });
    }
}
