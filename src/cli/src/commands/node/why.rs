//! `pilothouse node why`

use crate::answer::read;
use crate::commands::rollout::evidence_table;
use crate::error::CliError;
use crate::exit::Exit;
use crate::render::{Details, NONE};
use crate::session::Session;
use contract::{NodeWhy, Operation};
use jiff::Timestamp;
use serde_json::Value;

pub(crate) async fn run(node: &str, session: &mut Session<'_>) -> Result<Exit, CliError> {
    let body = session.ask(Operation::NodeWhy, session.on(node)?).await?;
    session.show(&body, render)?;
    Ok(Exit::Ok)
}

fn render(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let why: NodeWhy = read(body, "why")?;
    let mut details = Details::default();
    details
        .add("answer", &why.sentence)
        .add("holds", &why.predicate)
        .add("active bundle", why.active_bundle_id.as_deref().unwrap_or(NONE))
        .add("expected bundle", why.expected_bundle_id.as_deref().unwrap_or(NONE))
        .add_some("assigned by", why.assigned_by)
        .add_some("rollout", why.rollout_id);
    Ok(format!("{details}\n{}", evidence_table(vec![why.node], now)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;
    use crate::color::unpainted;
    use crate::commands::rollout::evidence;
    use crate::testing::noon;
    use expect_test::expect;
    use serde_json::json;

    pub(crate) fn why() -> Value {
        json!({"predicate": "not_reported", "sentence": "proxy-1 is offered bundle b1 and has not reported it",
            "active_bundle_id": null, "expected_bundle_id": "b1", "assigned_by": "operator", "rollout_id": null,
            "node": evidence()})
    }

    #[test]
    fn a_node_says_why_it_runs_what_it_runs() {
        expect![[r#"
            answer:           proxy-1 is offered bundle b1 and has not reported it
            holds:            not_reported
            active bundle:    -
            expected bundle:  b1
            assigned by:      operator

            NODE     STATUS  SAYS                                          ASSIGNED  ONLINE/OFFLINE  SWITCHED  FAILED  LAST BEAT
            proxy-1  online  runs nothing and has not reported the bundle  12        7               -         -       12s ago
        "#]]
        .assert_eq(&unpainted(&render(&why(), noon()).unwrap()));
    }
}
