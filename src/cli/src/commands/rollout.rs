//! `pilothouse rollout …`

mod create;
mod nodes;
mod wait;
mod watch;
mod why;

pub(crate) use create::node_id;
pub(crate) use why::evidence_table;
#[cfg(test)]
pub(crate) use why::tests::{evidence, why as rollout_why};

use crate::answer::{read, read_list};
use crate::arguments::{Confirm, Mutation, Watching};
use crate::complete::{Live, live};
use crate::error::CliError;
use crate::exit::Exit;
use crate::listing::{List, Paging};
use crate::render::{Details, Table, moment, pairs, relative, relative_or_none};
use crate::session::Session;
use contract::{Operation, ProgressBody, Request, RollbackBody, RolloutBody, RolloutDetail};
use domain::rollout::{LateJoiners, Selector, Strategy};
use jiff::Timestamp;
use serde_json::{Value, json};

#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// Bring a bundle to nodes
    #[command(
        after_help = "Example:\n  pilothouse rollout create --bundle 1.0.0 --label env=production --batch-size 2 --watch\n  pilothouse rollout create --bundle 1.0.0 --batch-percentage 25 --wait --wait-timeout 1800\n  pilothouse rollout create --bundle 1.0.0 --no-start"
    )]
    Create(create::Create),
    /// List rollouts, newest first
    #[command(after_help = "Example:\n  pilothouse rollout list\n  pilothouse rollout list --watch")]
    List {
        #[command(flatten)]
        watching: Watching,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a rollout with its steps
    #[command(
        after_help = "Example:\n  pilothouse rollout show 019b7d3c-0000-7000-8000-0000000000c1\n  pilothouse rollout show 019b7d3c-0000-7000-8000-0000000000c1 --watch\n  pilothouse rollout show 019b7d3c-0000-7000-8000-0000000000c1 --nodes"
    )]
    Show {
        /// Id of the rollout
        #[arg(add = live(Live::Rollouts))]
        id: String,
        /// Show it again whenever something changes, until it ends; exits as `rollout watch`
        #[arg(long, short)]
        watch: bool,
        /// Show every node too: where it stands, why, and since when
        #[arg(long, conflicts_with = "watch")]
        nodes: bool,
    },
    /// Tell what a rollout waits for, node by node, with the facts that say so
    #[command(after_help = "Example:\n  pilothouse rollout why 019b7d3c-0000-7000-8000-0000000000c1")]
    Why {
        /// Id of the rollout
        #[arg(add = live(Live::Rollouts))]
        id: String,
    },
    /// Start a pending rollout
    #[command(after_help = "Example:\n  pilothouse rollout start 019b7d3c-0000-7000-8000-0000000000c1")]
    Start(Change),
    /// End a rollout and bring its nodes back to what they ran before
    #[command(after_help = "Example:\n  pilothouse rollout rollback 019b7d3c-0000-7000-8000-0000000000c1 --yes")]
    Rollback {
        #[command(flatten)]
        change: Change,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Follow a rollout to its end: 0 when it completes, 1 when it fails or is cancelled
    #[command(after_help = "Example:\n  pilothouse rollout watch 019b7d3c-0000-7000-8000-0000000000c1")]
    Watch {
        /// Id of the rollout
        #[arg(add = live(Live::Rollouts))]
        id: String,
    },
    /// Hold a rollout: no further step starts
    #[command(after_help = "Example:\n  pilothouse rollout pause 019b7d3c-0000-7000-8000-0000000000c1")]
    Pause(Change),
    /// Go on with a paused rollout; failed nodes are tried once more
    #[command(after_help = "Example:\n  pilothouse rollout resume 019b7d3c-0000-7000-8000-0000000000c1")]
    Resume(Change),
    /// End a rollout where it stands; nodes keep what they run
    #[command(after_help = "Example:\n  pilothouse rollout cancel 019b7d3c-0000-7000-8000-0000000000c1")]
    Cancel(Change),
}

#[derive(Clone, Debug, clap::Args)]
pub struct Change {
    /// Id of the rollout
    #[arg(add = live(Live::Rollouts))]
    id: String,
    #[command(flatten)]
    mutation: Mutation,
}

pub(crate) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, CliError> {
    match verb {
        Verb::Create(create) => create::run(create, session).await,
        Verb::List { watching, paging } => {
            let (operation, request) = (Operation::RolloutList, session.in_project()?);
            let list = List { operation, request, name: "rollouts", paging, render: table };
            list.run(session, watching.watch).await
        }
        Verb::Show { id, watch: true, .. } => wait::show_until_it_ends(&id, session).await,
        Verb::Show { id, nodes: true, .. } => nodes::run(&id, session).await,
        Verb::Why { id } => why::run(&id, session).await,
        Verb::Start(change) => alter(Operation::RolloutStart, change, session).await,
        Verb::Rollback { change, confirm } => {
            let what = format!("End rollout {} and bring its nodes back to what they ran before", change.id);
            // What cannot be sent is told before anybody is asked.
            session.on(&change.id)?;
            session.console.confirm(&what, confirm.yes)?;
            alter(Operation::RolloutRollback, change, session).await
        }
        Verb::Show { id, .. } => {
            let body = session.ask(Operation::RolloutShow, session.on(&id)?).await?;
            session.show(&body, detail)?;
            Ok(Exit::Ok)
        }
        Verb::Watch { id } => watch::run(&id, session).await,
        Verb::Pause(change) => alter(Operation::RolloutPause, change, session).await,
        Verb::Resume(change) => alter(Operation::RolloutResume, change, session).await,
        Verb::Cancel(change) => alter(Operation::RolloutCancel, change, session).await,
    }
}

async fn alter(operation: Operation, change: Change, session: &mut Session<'_>) -> Result<Exit, CliError> {
    let key = change.mutation.idempotency_key;
    let request = Request { body: json!({}), idempotency_key: key, ..session.on(&change.id)? };
    let body = session.ask(operation, request).await?;
    session.show(&body, summary)?;
    Ok(Exit::Ok)
}

fn table(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let mut table = Table::new(["ID", "STATE", "STRATEGY", "BUNDLE", "STARTED", "ENDED"]);
    for rollout in read_list::<RolloutBody>(body, "rollouts")? {
        table.row([
            rollout.id,
            rollout.state,
            strategy(rollout.strategy).to_owned(),
            rollout.bundle_id,
            relative_or_none(now, rollout.started_at),
            relative_or_none(now, rollout.completed_at),
        ]);
    }
    Ok(table.to_string())
}

/// The rollout alone, without steps.
fn summary(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let mut details = Details::default();
    describe(&mut details, &read(body, "rollout")?, now);
    Ok(details.to_string())
}

fn detail(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let RolloutDetail { rollout, steps, progress, waiting_for, next_deadline, .. } = read_detail(body)?;
    let mut details = Details::default();
    describe(&mut details, &rollout, now);
    details
        .add("progress", counts(&progress))
        .add_some("waiting for", waiting_for)
        .add_some("next deadline", next_deadline.map(|time| moment(now, time)));
    let mut text = details.to_string();
    if !steps.is_empty() {
        let mut table = Table::new(["STEP", "STATE", "ATTEMPT", "NODES", "DEFERRED", "STARTED", "ENDED"]);
        for step in steps {
            table.row([
                (step.step_index + 1).to_string(),
                step.state,
                (step.attempt + 1).to_string(),
                step.node_ids.len().to_string(),
                step.deferred_node_ids.len().to_string(),
                relative(now, step.started_at),
                relative_or_none(now, step.completed_at),
            ]);
        }
        text.push('\n');
        text.push_str(&table.to_string());
    }
    Ok(text)
}

/// `rollout` is one field among others here, so the body is read whole.
fn read_detail(body: &Value) -> Result<RolloutDetail, CliError> {
    serde::Deserialize::deserialize(body).map_err(|error| CliError::Unreadable(format!("rollout: {error}")))
}

fn describe(details: &mut Details, rollout: &RolloutBody, now: Timestamp) {
    let batch = match rollout.batch_percentage {
        Some(share) => format!("{} nodes a step ({share} %)", rollout.batch_size),
        None => format!("{} nodes a step", rollout.batch_size),
    };
    details
        .add("id", &rollout.id)
        .add("project", &rollout.project_id)
        .add("bundle", &rollout.bundle_id)
        .add("state", &rollout.state)
        .add_some("because", rollout.error.as_ref().map(cause))
        .add("nodes", selector(&rollout.target_selector))
        .add("strategy", strategy(rollout.strategy))
        .add_some("batches", (rollout.strategy == Strategy::Rolling).then_some(batch))
        .add("max unavailable", rollout.max_unavailable)
        .add("step deadline", format!("{} s", rollout.progress_deadline_seconds))
        .add("health gate", if rollout.health_gates.heartbeat_healthy { "heartbeat healthy" } else { "none" })
        .add_some("late joiners", (rollout.late_joiners == LateJoiners::Ignore).then_some("ignored"))
        .add_some("rollback", rollout.rollback.as_ref().map(rollback))
        .add_some("started", rollout.started_at.map(|time| moment(now, time)))
        .add_some("ended", rollout.completed_at.map(|time| moment(now, time)));
}

fn rollback(rollback: &RollbackBody) -> String {
    let contract::RollbackNodes { restored, pending, left } = rollback.nodes;
    format!("{}: {restored} restored, {pending} pending, {left} left", rollback.state)
}

fn counts(progress: &ProgressBody) -> String {
    let ProgressBody { total, pending, active, failed, deferred } = progress;
    format!("{active}/{total} active, {pending} pending, {failed} failed, {deferred} deferred")
}

/// What a command that follows a rollout exits with; none while it goes on.
fn end(rollout: &RolloutBody) -> Option<Exit> {
    match rollout.state.as_str() {
        "completed" => Some(Exit::Ok),
        "failed" | "cancelled" => Some(Exit::Failure),
        _ => None,
    }
}

/// Why a rollout is paused; none if it is not.
fn pause(rollout: &RolloutBody) -> Option<String> {
    let why = || rollout.error.as_ref().map_or_else(|| "no reason given".to_owned(), cause);
    (rollout.state == "paused").then(why)
}

fn ways_out(id: &str) -> String {
    format!("resume with `pilothouse rollout resume {id}`, or end it with `pilothouse rollout cancel {id}`")
}

/// Why a rollout is held or ended: its message, or its reason and place.
fn cause(error: &Value) -> String {
    let text = |field: &str| error.get(field).and_then(Value::as_str);
    let reason = text("reason").unwrap_or("unknown").replace('_', " ");
    let mut told = match text("message") {
        Some(message) => format!("{reason}: {message}"),
        None => reason,
    };
    if let Some(index) = error.get("step_index").and_then(Value::as_u64) {
        told.push_str(&format!(", step {}", index + 1));
    }
    let nodes = error.get("node_ids").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let nodes: Vec<&str> = nodes.iter().filter_map(Value::as_str).collect();
    if !nodes.is_empty() {
        told.push_str(&format!(", nodes {}", nodes.join(" ")));
    }
    told
}

fn selector(selector: &Selector) -> String {
    match selector {
        Selector::All {} => "all".to_owned(),
        Selector::Labels { labels } => pairs(labels.as_map()),
        Selector::NodeIds { node_ids } if node_ids.len() == 1 => node_ids[0].to_string(),
        Selector::NodeIds { node_ids } => format!("{} named nodes", node_ids.len()),
    }
}

fn strategy(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Rolling => "rolling",
        Strategy::AllAtOnce => "all_at_once",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;
    use crate::color::unpainted;
    use crate::testing::noon;
    use expect_test::expect;

    pub(crate) const ID: &str = "019b7d3c-0000-7000-8000-0000000000c1";

    /// `counts`: pending, active, failed, deferred.
    pub(crate) fn detail_body(state: &str, counts: [u32; 4]) -> Value {
        let [pending, active, failed, deferred] = counts;
        let error = matches!(state, "paused" | "failed").then(|| {
            json!({"reason": "activation_failed", "step_index": 1, "node_ids": ["n1", "n2"], "message": "port 80 is taken"})
        });
        let ended = matches!(state, "completed" | "failed" | "cancelled").then_some("2026-01-02T11:59:00Z");
        json!({
            "rollout": {"id": ID, "project_id": "demo", "bundle_id": "019b7d3c-0000-7000-8000-0000000000b1",
                "target_selector": {"type": "labels", "labels": {"env": "production"}}, "strategy": "rolling",
                "batch_size": 2, "batch_percentage": 25, "max_unavailable": 0, "progress_deadline_seconds": 600,
                "health_gates": {"heartbeat_healthy": true}, "state": state, "error": error,
                "started_at": "2026-01-02T11:58:00Z", "completed_at": ended, "inserted_at": "2026-01-02T11:58:00Z",
                "updated_at": "2026-01-02T11:59:00Z"},
            "steps": [{"step_index": 0, "state": "completed", "attempt": 0, "node_ids": ["n1", "n2"],
                "deferred_node_ids": ["n2"], "started_at": "2026-01-02T11:58:00Z", "completed_at": "2026-01-02T11:58:30Z"},
                {"step_index": 1, "state": "running", "attempt": 1, "node_ids": ["n3"], "deferred_node_ids": [],
                "started_at": "2026-01-02T11:58:30Z", "completed_at": null}],
            "progress": {"total": pending + active + failed + deferred, "pending": pending, "active": active,
                "failed": failed, "deferred": deferred},
            "waiting_for": (state == "running").then_some("1 node of step 2 to report the bundle"),
            "next_deadline": (state == "running").then_some("2026-01-02T12:08:30Z")
        })
    }

    #[test]
    fn a_rollout_is_told_with_its_steps() {
        expect![[r#"
            id:               019b7d3c-0000-7000-8000-0000000000c1
            project:          demo
            bundle:           019b7d3c-0000-7000-8000-0000000000b1
            state:            running
            nodes:            env=production
            strategy:         rolling
            batches:          2 nodes a step (25 %)
            max unavailable:  0
            step deadline:    600 s
            health gate:      heartbeat healthy
            started:          2026-01-02T11:58:00Z (2m ago)
            progress:         4/8 active, 3 pending, 0 failed, 1 deferred
            waiting for:      1 node of step 2 to report the bundle
            next deadline:    2026-01-02T12:08:30Z (in 8m)

            STEP  STATE      ATTEMPT  NODES  DEFERRED  STARTED  ENDED
            1     completed  1        2      1         2m ago   1m ago
            2     running    2        1      0         1m ago   -
        "#]]
        .assert_eq(&unpainted(&detail(&detail_body("running", [3, 4, 0, 1]), noon()).unwrap()));
        expect![[r#"
            id:               019b7d3c-0000-7000-8000-0000000000c1
            project:          demo
            bundle:           019b7d3c-0000-7000-8000-0000000000b1
            state:            paused
            because:          activation failed: port 80 is taken, step 2, nodes n1 n2
            nodes:            env=production
            strategy:         rolling
            batches:          2 nodes a step (25 %)
            max unavailable:  0
            step deadline:    600 s
            health gate:      heartbeat healthy
            started:          2026-01-02T11:58:00Z (2m ago)
        "#]]
        .assert_eq(&unpainted(&summary(&detail_body("paused", [3, 4, 1, 0]), noon()).unwrap()));
    }

    #[test]
    fn what_is_special_about_a_rollout_is_told() {
        let mut body = detail_body("cancelled", [0, 1, 0, 0])["rollout"].clone();
        body["late_joiners"] = "ignore".into();
        body["rollback"] = json!({"state": "partial", "nodes": {"restored": 2, "pending": 0, "left": 1},
            "left_node_ids": ["n1"], "started_at": "2026-01-02T11:58:00Z", "completed_at": "2026-01-02T11:59:00Z"});
        let told = unpainted(&summary(&body, noon()).unwrap());
        assert!(told.contains("late joiners:     ignored\n"), "{told}");
        assert!(told.contains("rollback:         partial: 2 restored, 0 pending, 1 left\n"), "{told}");
        body["started_at"] = Value::Null;
        assert!(!unpainted(&summary(&body, noon()).unwrap()).contains("started:"));
    }

    #[test]
    fn a_list_is_a_table() {
        let all = ["running", "completed"].map(|state| detail_body(state, [0; 4])["rollout"].clone());
        expect![[r#"
            ID                                    STATE      STRATEGY  BUNDLE                                STARTED  ENDED
            019b7d3c-0000-7000-8000-0000000000c1  running    rolling   019b7d3c-0000-7000-8000-0000000000b1  2m ago   -
            019b7d3c-0000-7000-8000-0000000000c1  completed  rolling   019b7d3c-0000-7000-8000-0000000000b1  2m ago   1m ago
        "#]].assert_eq(&unpainted(&table(&json!({"rollouts": all, "total": 2, "next": null}), noon()).unwrap()));
    }

    #[test]
    fn a_cause_without_details_is_its_reason() {
        assert_eq!(cause(&json!({"reason": "paused_too_long"})), "paused too long");
        assert_eq!(cause(&json!(null)), "unknown");
    }
}
