//! `pilothouse rollout create`

use super::{summary, wait, watch};
use crate::answer::read;
use crate::arguments::{Mutation, label_map, parse_label};
use crate::complete::{Live, live};
use crate::error::CliError;
use crate::exit::Exit;
use crate::session::Session;
use contract::{BundleBody, NodeBody, Operation, Request, RolloutBody};
use domain::{BundleId, NodeId};
use serde_json::{Value, json};
use std::time::Duration;

#[derive(Clone, Debug, clap::Args)]
pub struct Create {
    /// Id or version of a compiled bundle
    #[arg(long, add = live(Live::Bundles))]
    bundle: String,
    /// rolling: batches, one after the other; all_at_once: every node [default: rolling]
    #[arg(long, value_parser = ["rolling", "all_at_once"])]
    strategy: Option<String>,
    /// Nodes per step [default: 1]
    #[arg(long, value_name = "N", conflicts_with = "batch_percentage")]
    batch_size: Option<u32>,
    /// Nodes per step as a share of the nodes that match now, 1 to 100
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    batch_percentage: Option<u8>,
    /// Only nodes with this label; several must all match [default: all nodes]
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label, conflicts_with = "node")]
    label: Vec<(String, String)>,
    /// Only this node, by id or name; once or more
    #[arg(long, value_name = "NODE", add = live(Live::Nodes))]
    node: Vec<String>,
    /// How many nodes of a step may be offline before the rollout pauses [default: 0]
    #[arg(long, value_name = "N")]
    max_unavailable: Option<u32>,
    /// How long a step may take [default: 600]
    #[arg(long, value_name = "SECONDS")]
    deadline: Option<u32>,
    /// Count a node as done without a healthy heartbeat
    #[arg(long)]
    no_health_gate: bool,
    /// What becomes of nodes that join or return late: join: they are taken along, also after the end; ignore: not [default:
    /// join]
    #[arg(long, value_parser = ["join", "ignore"])]
    late_joiners: Option<String>,
    /// Leave it pending until `rollout start`
    #[arg(long, conflicts_with_all = ["watch", "wait"])]
    no_start: bool,
    /// Follow it to its end
    #[arg(long, short)]
    watch: bool,
    /// Wait for its end and show it then: 0 when it completed, 1 when it failed or was cancelled
    #[arg(long, conflicts_with = "watch")]
    wait: bool,
    /// How long --wait waits, pauses included
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, requires = "wait")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    wait_timeout: u64,
    #[command(flatten)]
    mutation: Mutation,
}

pub(crate) async fn run(create: Create, session: &mut Session<'_>) -> Result<Exit, CliError> {
    let key = create.mutation.idempotency_key.clone();
    let labels = label_map(&create.label)?;
    let mut body = wishes(&create);
    body["bundle_id"] = bundle_id(session, &create.bundle).await?.into();
    if !labels.is_empty() {
        body["target_selector"] = json!({ "type": "labels", "labels": labels });
    }
    if !create.node.is_empty() {
        let mut ids = Vec::new();
        for node in &create.node {
            ids.push(node_id(session, node).await?);
        }
        body["target_selector"] = json!({ "type": "node_ids", "node_ids": ids });
    }
    let request = Request { body, idempotency_key: key, ..session.in_project()? };
    let created = session.ask(Operation::RolloutCreate, request).await?;
    if !create.watch && !create.wait {
        session.show(&created, summary)?;
        return Ok(Exit::Ok);
    }
    let id = read::<RolloutBody>(&created, "rollout")?.id;
    if !session.console.is_structured() {
        session.console.say(&format!("rollout {id} is created"));
    }
    match create.wait {
        true => wait::run(&id, Duration::from_secs(create.wait_timeout), session).await,
        false => watch::run(&id, session).await,
    }
}

/// Only what was asked for; the defaults are the control plane's.
fn wishes(create: &Create) -> Value {
    let mut body = json!({});
    let mut set = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            body[field] = value;
        }
    };
    set("strategy", create.strategy.clone().map(Value::from));
    set("batch_size", create.batch_size.map(Value::from));
    set("batch_percentage", create.batch_percentage.map(Value::from));
    set("max_unavailable", create.max_unavailable.map(Value::from));
    set("progress_deadline_seconds", create.deadline.map(Value::from));
    set("late_joiners", create.late_joiners.clone().map(Value::from));
    set("start", create.no_start.then_some(Value::Bool(false)));
    set("health_gates", create.no_health_gate.then(|| json!({ "heartbeat_healthy": false })));
    body
}

/// A rollout names its bundle by id; the control plane knows which id has the version.
async fn bundle_id(session: &mut Session<'_>, text: &str) -> Result<String, CliError> {
    if text.parse::<BundleId>().is_ok() {
        return Ok(text.to_owned());
    }
    let body = session.ask(Operation::BundleShow, session.on(text)?).await?;
    Ok(read::<BundleBody>(&body, "bundle")?.id)
}

/// The control plane knows which id has the name.
pub(crate) async fn node_id(session: &mut Session<'_>, text: &str) -> Result<String, CliError> {
    if text.parse::<NodeId>().is_ok() {
        return Ok(text.to_owned());
    }
    let body = session.ask(Operation::NodeShow, session.on(text)?).await?;
    Ok(read::<NodeBody>(&body, "node")?.id)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::{ID, detail_body};
    use super::*;
    use crate::commands::bundle::tests::bundle;
    use crate::globals::Output;
    use crate::testing::{Fake, on_server};

    #[test]
    fn a_version_becomes_an_id_and_only_wishes_are_sent() {
        on_server(async |server| {
            let mut fake = Fake::start(&server, |operation, request, _| match operation {
                Operation::BundleShow => {
                    assert_eq!(request.id.as_deref(), Some("1.0.0"));
                    Fake::ok(200, json!({ "bundle": bundle("compiled") }), 3)
                }
                _ => {
                    let wanted = json!({"bundle_id": "019b7d3c-0000-7000-8000-0000000000b1", "batch_percentage": 25,
                        "start": false, "late_joiners": "ignore",
                        "progress_deadline_seconds": 60, "health_gates": {"heartbeat_healthy": false},
                        "target_selector": {"type": "labels", "labels": {"env": "production"}}});
                    assert_eq!((&request.body, request.project.as_deref()), (&wanted, Some("demo")));
                    assert_eq!(request.idempotency_key.as_deref(), Some("k1"));
                    Fake::ok(201, detail_body("running", [1, 0, 0, 0])["rollout"].clone(), 4)
                }
            })
            .await;
            let line = "rollout create --bundle 1.0.0 -p demo --batch-percentage 25 --label env=production \
                --deadline 60 --no-start --late-joiners ignore --no-health-gate --idempotency-key k1 -o json";
            let ran = fake.run(Output::Json, line, "").await;
            assert_eq!(ran.exit, Exit::Ok, "{}", ran.talk);
            assert_eq!(serde_json::from_str::<Value>(&ran.data).unwrap()["id"], ID);
        });
    }
}
