//! `pilothouse rollout show --nodes`: the rollout and every node of it, all pages put together.

use super::{detail, read_detail};
use crate::error::CliError;
use crate::exit::Exit;
use crate::render::{Table, relative_or_none};
use crate::session::Session;
use contract::{Operation, Page, Request, RolloutNodeBody};
use jiff::Timestamp;
use serde_json::{Value, json};

/// A list that has still not ended then is a defect.
const PAGES_MAX: usize = 10_000;

pub(crate) async fn run(id: &str, session: &mut Session<'_>) -> Result<Exit, CliError> {
    let body = fetch(id, session).await?;
    session.show(&body, render)?;
    Ok(Exit::Ok)
}

/// The body is that of one large page: it holds every node and `nodes_next` is null.
async fn fetch(id: &str, session: &mut Session<'_>) -> Result<Value, CliError> {
    let mut all: Vec<RolloutNodeBody> = Vec::new();
    let mut after: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let mut request: Request = session.on(id)?;
        request.query.insert("limit".to_owned(), Page::LIMIT_MAX.to_string());
        request.query.extend(after.take().map(|after| ("after".to_owned(), after)));
        let mut body = session.ask(Operation::RolloutShow, request).await?;
        let page = read_detail(&body)?;
        all.extend(page.nodes);
        after = page.nodes_next;
        if after.is_none() {
            body["nodes"] = json!(all);
            return Ok(body);
        }
    }
    Err(CliError::Unreadable("the list does not end".to_owned()))
}

fn render(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let mut table = Table::new(["NODE", "STATE", "STEP", "SINCE", "REASON"]);
    for node in read_detail(body)?.nodes {
        table.row([
            node.name.unwrap_or(node.node_id),
            node.state,
            node.step_index.map_or_else(String::new, |index| (index + 1).to_string()),
            relative_or_none(now, node.since),
            node.reason.unwrap_or_default(),
        ]);
    }
    Ok(format!("{}\n{table}", detail(body, now)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::{ID, detail_body};
    use super::*;
    use crate::globals::Output;
    use crate::testing::{Fake, on_server};
    use expect_test::expect;

    #[test]
    fn every_node_is_told_over_all_pages() {
        on_server(async |server| {
            let mut fake = Fake::start(&server, |_, request, _| {
                let mut body = detail_body("running", [1, 1, 0, 0]);
                let first = json!({"node_id": "n1", "name": "proxy-1", "state": "active", "reason": null,
                    "since": "2026-01-02T11:59:00Z", "step_index": 0});
                let second = json!({"node_id": "n2", "name": null, "state": "gone", "reason": "was deleted",
                    "since": null, "step_index": null});
                let last = request.query.get("after").is_some_and(|after| after == "proxy-1");
                body["nodes"] = if last { json!([second]) } else { json!([first]) };
                body["nodes_next"] = if last { Value::Null } else { json!("proxy-1") };
                body["nodes_total"] = json!(2);
                Fake::ok(200, body, 5)
            })
            .await;
            let ran = fake.run(Output::Table, &format!("rollout show {ID} --nodes -p demo"), "").await;
            let told: Vec<&str> = ran.data.lines().skip_while(|line| !line.starts_with("NODE")).collect();
            expect![[r#"
                NODE     STATE   STEP  SINCE   REASON
                proxy-1  active  1     1m ago  -
                n2       gone    -     -       was deleted"#]]
            .assert_eq(&told.join("\n"));
            let ran = fake.run(Output::Json, &format!("rollout show {ID} --nodes -p demo"), "").await;
            let body: Value = serde_json::from_str(&ran.data).unwrap();
            assert_eq!((body["nodes"].as_array().unwrap().len(), &body["nodes_next"]), (2, &Value::Null));
        });
    }
}
