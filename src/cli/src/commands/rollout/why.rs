//! `pilothouse rollout why`

use super::cause;
use crate::answer::read;
use crate::error::CliError;
use crate::exit::Exit;
use crate::render::{Details, Table, moment, relative_or_none};
use crate::session::Session;
use contract::{EvidenceBody, Operation, RolloutWhy};
use jiff::Timestamp;
use serde_json::Value;

pub(crate) async fn run(id: &str, session: &mut Session<'_>) -> Result<Exit, CliError> {
    let body = session.ask(Operation::RolloutWhy, session.on(id)?).await?;
    session.show(&body, render)?;
    Ok(Exit::Ok)
}

fn render(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let why: RolloutWhy = read(body, "why")?;
    let mut details = Details::default();
    details
        .add("rollout", &why.rollout_id)
        .add("state", &why.state)
        .add("waiting for", &why.sentence)
        .add("holds", &why.predicate)
        .add_some("because", why.cause.as_ref().map(cause))
        .add_some("next deadline", why.next_deadline.map(|time| moment(now, time)))
        .add("newest fact", why.position);
    let mut text = details.to_string();
    let more = why.nodes_total.saturating_sub(why.nodes.len() as u64);
    if !why.nodes.is_empty() {
        text.push('\n');
        text.push_str(&evidence_table(why.nodes, now));
    }
    if more > 0 {
        text.push_str(&format!("and {more} more\n"));
    }
    Ok(text)
}

/// The numbers are positions of facts in the journal.
pub(crate) fn evidence_table(nodes: Vec<EvidenceBody>, now: Timestamp) -> String {
    let mut table =
        Table::new(["NODE", "STATUS", "SAYS", "ASSIGNED", "ONLINE/OFFLINE", "SWITCHED", "FAILED", "LAST BEAT"]);
    let at = |position: Option<u64>| position.map_or_else(String::new, |position| position.to_string());
    for node in nodes {
        table.row([
            node.name.unwrap_or(node.node_id),
            node.status.unwrap_or_default(),
            node.says,
            at(node.assigned_position),
            at(node.status_position),
            at(node.switched_position),
            at(node.failed_position),
            relative_or_none(now, node.last_heartbeat_at),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::super::tests::ID;
    use super::*;
    use crate::color::unpainted;
    use crate::testing::noon;
    use expect_test::expect;
    use serde_json::json;

    pub(crate) fn evidence() -> Value {
        json!({"node_id": "n1", "name": "proxy-1", "status": "online", "says": "runs nothing and has not reported the bundle",
            "assigned_position": 12, "status_position": 7, "switched_position": null, "failed_position": null,
            "last_heartbeat_at": "2026-01-02T11:59:48Z"})
    }

    pub(crate) fn why() -> Value {
        json!({"rollout_id": ID, "state": "running", "predicate": "nodes_pending",
            "sentence": "step 0: proxy-1 and 1 more to report the bundle", "cause": null, "position": 12, "nodes_total": 2,
            "nodes": [evidence()], "next_deadline": "2026-01-02T12:08:00Z"})
    }

    #[test]
    fn a_rollout_says_why_it_waits_and_on_which_facts() {
        expect![[r#"
            rollout:        019b7d3c-0000-7000-8000-0000000000c1
            state:          running
            waiting for:    step 0: proxy-1 and 1 more to report the bundle
            holds:          nodes_pending
            next deadline:  2026-01-02T12:08:00Z (in 8m)
            newest fact:    12

            NODE     STATUS  SAYS                                          ASSIGNED  ONLINE/OFFLINE  SWITCHED  FAILED  LAST BEAT
            proxy-1  online  runs nothing and has not reported the bundle  12        7               -         -       12s ago
            and 1 more
        "#]]
        .assert_eq(&unpainted(&render(&why(), noon()).unwrap()));
    }
}
