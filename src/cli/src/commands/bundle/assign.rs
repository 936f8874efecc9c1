//! `pilothouse bundle assign`

use crate::answer::read;
use crate::arguments::Mutation;
use crate::commands::rollout::node_id;
use crate::complete::{Live, live};
use crate::error::CliError;
use crate::exit::Exit;
use crate::session::Session;
use contract::{BundleAssigned, Operation, Request};
use serde_json::json;

#[derive(Clone, Debug, clap::Args)]
pub struct Assign {
    /// Id or version of a compiled bundle
    #[arg(add = live(Live::Bundles))]
    bundle: String,
    /// To this node, by id or name; once or more
    #[arg(long, value_name = "NODE", required = true, add = live(Live::Nodes))]
    node: Vec<String>,
    #[command(flatten)]
    mutation: Mutation,
}

pub(crate) async fn run(assign: Assign, session: &mut Session<'_>) -> Result<Exit, CliError> {
    let mut ids = Vec::new();
    for node in &assign.node {
        ids.push(node_id(session, node).await?);
    }
    let (body, idempotency_key) = (json!({ "node_ids": ids }), assign.mutation.idempotency_key);
    let request = Request { body, idempotency_key, ..session.on(&assign.bundle)? };
    let body = session.ask(Operation::BundleAssign, request).await?;
    let count = read::<BundleAssigned>(&body, "assignment")?.assigned;
    session.console.done(&body, &format!("bundle {} is assigned to {count} node(s)", assign.bundle))?;
    Ok(Exit::Ok)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::commands::node_body;
    use crate::exit::Exit;
    use crate::globals::Output;
    use crate::testing::{Fake, on_server};
    use contract::Operation;
    use serde_json::json;

    #[test]
    fn names_become_ids() {
        on_server(async |server| {
            let id = "019b7d3c-0000-7000-8000-000000000001";
            let mut fake = Fake::start(&server, move |operation, request, _| match operation {
                Operation::NodeShow => Fake::ok(200, json!({ "node": node_body("proxy-1") }), 3),
                _ => {
                    assert_eq!((operation, request.id.as_deref()), (Operation::BundleAssign, Some("1.0.0")));
                    assert_eq!(request.body, json!({"node_ids": [id, id]}));
                    Fake::ok(200, json!({"assigned": 1}), 4)
                }
            })
            .await;
            let line = format!("bundle assign 1.0.0 --node proxy-1 --node {id} -p demo");
            let ran = fake.run(Output::Table, &line, "").await;
            assert_eq!((ran.exit, ran.talk.as_str()), (Exit::Ok, "bundle 1.0.0 is assigned to 1 node(s)\n"));
        });
    }
}
