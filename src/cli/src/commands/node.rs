//! `pilothouse node …`

pub(crate) mod receipts;
pub(crate) mod reports;
mod show;
pub(crate) mod why;

use crate::answer::{read, read_list};
use crate::arguments::{Confirm, Mutation, Watching, label_map, parse_label};
use crate::complete::{Live, live};
use crate::error::CliError;
use crate::exit::Exit;
use crate::listing::{List, Paging};
use crate::render::{Details, NONE, Table, moment, pairs, relative_or_none};
use crate::session::Session;
use contract::{NodeBody, NodeKeyBody, NodeStats, Operation, Request};
use jiff::Timestamp;
use serde_json::{Map, Value};

#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// List nodes
    #[command(
        after_help = "Example:\n  pilothouse node list --status online --label env=production\n  pilothouse node list --watch"
    )]
    List {
        /// Only nodes that are online, offline or unknown
        #[arg(long, value_parser = ["online", "offline", "unknown"])]
        status: Option<String>,
        /// Only nodes with this label; several must all match
        #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
        label: Vec<(String, String)>,
        #[command(flatten)]
        watching: Watching,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a node
    #[command(
        after_help = "Example:\n  pilothouse node show proxy-us-east-1\n  pilothouse node show proxy-us-east-1 --wait online --wait-timeout 60"
    )]
    Show(show::Show),
    /// Let a node take part that joined with a token which asks for approval
    #[command(after_help = "Example:\n  pilothouse node approve proxy-us-east-1")]
    Approve {
        /// Id or name
        #[arg(add = live(Live::Nodes))]
        node: String,
        #[command(flatten)]
        mutation: Mutation,
    },
    /// Replace a node's key and show the new one, this once; the old one and its tokens end at once
    #[command(after_help = "Example:\n  pilothouse node rotate-key proxy-us-east-1 --yes")]
    RotateKey {
        /// Id or name
        #[arg(add = live(Live::Nodes))]
        node: String,
        #[command(flatten)]
        confirm: Confirm,
        #[command(flatten)]
        mutation: Mutation,
    },
    /// Tell why a node runs what it runs, with the facts that say so
    #[command(after_help = "Example:\n  pilothouse node why proxy-us-east-1")]
    Why {
        /// Id or name
        #[arg(add = live(Live::Nodes))]
        node: String,
    },
    /// Delete a node; its credentials end at once
    #[command(after_help = "Example:\n  pilothouse node delete proxy-us-east-1 --yes")]
    Delete {
        /// Id or name
        #[arg(add = live(Live::Nodes))]
        node: String,
        #[command(flatten)]
        confirm: Confirm,
        #[command(flatten)]
        mutation: Mutation,
    },
    /// Events that a node reported, oldest first
    #[command(
        after_help = "Example:\n  pilothouse node events proxy-us-east-1 --since 2h\n  pilothouse node events --since 2026-02-23T10:00:00Z --until 2026-02-23T11:00:00Z --all -o json"
    )]
    Events(reports::Reports),
    /// The running configuration that a node reported last
    #[command(after_help = "Example:\n  pilothouse node config proxy-us-east-1")]
    Config {
        /// Id or name
        #[arg(add = live(Live::Nodes))]
        node: String,
    },
    /// Metrics that a node reported, oldest first
    #[command(after_help = "Example:\n  pilothouse node metrics proxy-us-east-1 --since 1h")]
    Metrics(reports::Metrics),
    /// WAF events that a node reported, oldest first
    #[command(
        after_help = "Example:\n  pilothouse node waf-events proxy-us-east-1 --since 1h\n  pilothouse node waf-events --since 1d --all"
    )]
    WafEvents(reports::Reports),
    /// Receipts that a node signed for what it activated, oldest first; verifies each signature
    #[command(
        after_help = "Example:\n  pilothouse node receipts proxy-us-east-1\n  pilothouse node receipts proxy-us-east-1 --all -o json"
    )]
    Receipts(receipts::Receipts),
    /// Count nodes by status
    #[command(after_help = "Example:\n  pilothouse node stats -o json")]
    Stats,
}

pub(crate) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, CliError> {
    match verb {
        Verb::List { status, label, watching, paging } => {
            let mut request = session.in_project()?;
            request.query.extend(status.map(|status| ("status".to_owned(), status)));
            let labels = label_map(&label)?.into_iter();
            request.query.extend(labels.map(|(key, value)| (format!("labels[{key}]"), value)));
            let list = List { operation: Operation::NodeList, request, name: "nodes", paging, render: table };
            return list.run(session, watching.watch).await;
        }
        Verb::Events(asked) => return reports::events(asked, session).await,
        Verb::WafEvents(asked) => return reports::waf_events(asked, session).await,
        Verb::Metrics(asked) => return reports::metrics(asked, session).await,
        Verb::Receipts(asked) => return receipts::run(asked, session).await,
        Verb::Config { node } => return reports::config(&node, session).await,
        Verb::Show(show) => return show::run(show, session).await,
        Verb::Approve { node, mutation } => {
            let request = Request { idempotency_key: mutation.idempotency_key, ..session.on(&node)? };
            let body = session.ask(Operation::NodeApprove, request).await?;
            session.show(&body, details)?;
        }
        Verb::RotateKey { node, confirm, mutation } => {
            let request = Request { idempotency_key: mutation.idempotency_key, ..session.on(&node)? };
            session.console.confirm(&format!("End the key of node {node} and its tokens"), confirm.yes)?;
            let body = session.ask(Operation::NodeRotateKey, request).await?;
            session.show(&body, new_key)?;
            match read::<NodeKeyBody>(&body, "node")?.node_key {
                Some(_) => session.console.say("keep the key now: it is not shown again"),
                None => session.console.say("this is a repeat: the key was shown when it was made"),
            }
        }
        Verb::Why { node } => return why::run(&node, session).await,
        Verb::Delete { node, confirm, mutation } => {
            let request = Request { idempotency_key: mutation.idempotency_key, ..session.on(&node)? };
            session.console.confirm(&format!("Delete node {node} and its credentials"), confirm.yes)?;
            let body = session.ask(Operation::NodeDelete, request).await?;
            session.console.done(&body, &format!("node {node} is deleted"))?;
        }
        Verb::Stats => {
            let body = session.ask(Operation::NodeStats, session.in_project()?).await?;
            session.show(&body, stats)?;
        }
    }
    Ok(Exit::Ok)
}

fn table(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let mut table = Table::new(["ID", "NAME", "STATUS", "LAST SEEN", "ACTIVE BUNDLE", "LABELS"]);
    for node in read_list::<NodeBody>(body, "nodes")? {
        table.row([
            node.id,
            node.name,
            if node.approved { node.status } else { format!("{} (unapproved)", node.status) },
            relative_or_none(now, node.last_seen_at),
            node.active_bundle_id.unwrap_or_default(),
            pairs(&node.labels),
        ]);
    }
    Ok(table.to_string())
}

fn details(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let node: NodeBody = read(body, "node")?;
    let object = |map: Map<String, Value>| Value::Object(map).to_string();
    let mut details = Details::default();
    details
        .add("id", &node.id)
        .add("name", &node.name)
        .add("status", &node.status)
        .add_some("approved", (!node.approved).then_some("no"))
        .add("last seen", node.last_seen_at.map_or(NONE.to_owned(), |time| moment(now, time)))
        .add("labels", pairs(&node.labels))
        .add("active bundle", node.active_bundle_id.as_deref().unwrap_or(NONE))
        .add_some("staged bundle", node.staged_bundle_id)
        .add("expected bundle", node.expected_bundle_id.as_deref().unwrap_or(NONE))
        .add_some("activation error", node.activation_error)
        .add_some("version", node.version)
        .add_some("ip", node.ip)
        .add_some("hostname", node.hostname)
        .add_some("capabilities", Some(node.capabilities.join(",")).filter(|text| !text.is_empty()))
        .add_some("metadata", Some(node.metadata).filter(|map| !map.is_empty()).map(object))
        .add_some("health", node.health.map(object))
        .add_some("metrics", node.metrics.map(object))
        .add_some("join token", node.join_token_id)
        .add_some("public key", node.public_key)
        .add("registered", moment(now, node.registered_at));
    Ok(details.to_string())
}

fn new_key(body: &Value, _now: Timestamp) -> Result<String, CliError> {
    let key: NodeKeyBody = read(body, "node")?;
    let mut details = Details::default();
    details.add_some("node key", key.node_key).add("key id", key.key_id).add("node", key.node_id);
    Ok(details.to_string())
}

fn stats(body: &Value, _now: Timestamp) -> Result<String, CliError> {
    let stats: NodeStats = read(body, "stats")?;
    let mut details = Details::default();
    details
        .add("total", stats.total)
        .add("online", stats.online)
        .add("offline", stats.offline)
        .add("unknown", stats.unknown);
    Ok(details.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;
    use crate::color::unpainted;
    use crate::testing::noon;
    use expect_test::expect;
    use serde_json::json;

    pub(crate) fn node(name: &str) -> Value {
        json!({"id": "019b7d3c-0000-7000-8000-000000000001", "name": name, "status": "online",
            "labels": {"env": "production", "region": "eu"}, "capabilities": [], "version": "1.0.0", "ip": null,
            "hostname": "a\u{1b}[31m", "metadata": {}, "active_bundle_id": "019b7d3c-0000-7000-8000-0000000000b1",
            "staged_bundle_id": null, "expected_bundle_id": null, "activation_error": "port 80 is taken",
            "health": {"status": "degraded"}, "metrics": null, "last_seen_at": "2026-01-02T11:59:18Z",
            "registered_at": "2026-01-01T12:00:00Z", "inserted_at": "2026-01-01T12:00:00Z", "later": 1})
    }

    #[test]
    fn a_list_is_a_table() {
        let mut silent = node("b");
        silent["last_seen_at"] = Value::Null;
        silent["active_bundle_id"] = Value::Null;
        silent["status"] = "unknown".into();
        silent["labels"] = json!({});
        silent["approved"] = false.into();
        let body = json!({"nodes": [node("proxy-us-east-1"), silent], "total": 2, "next": null});
        expect![[r#"
            ID                                    NAME             STATUS                LAST SEEN  ACTIVE BUNDLE                         LABELS
            019b7d3c-0000-7000-8000-000000000001  proxy-us-east-1  online                42s ago    019b7d3c-0000-7000-8000-0000000000b1  env=production,region=eu
            019b7d3c-0000-7000-8000-000000000001  b                unknown (unapproved)  -          -                                     -
        "#]].assert_eq(&unpainted(&table(&body, noon()).unwrap()));
    }

    #[test]
    fn a_node_is_told_in_full() {
        expect![[r#"
            id:                019b7d3c-0000-7000-8000-000000000001
            name:              a
            status:            online
            last seen:         2026-01-02T11:59:18Z (42s ago)
            labels:            env=production,region=eu
            active bundle:     019b7d3c-0000-7000-8000-0000000000b1
            expected bundle:   -
            activation error:  port 80 is taken
            version:           1.0.0
            hostname:          a\u{1b}[31m
            health:            {"status":"degraded"}
            registered:        2026-01-01T12:00:00Z (24h ago)
        "#]]
        .assert_eq(&unpainted(&details(&json!({"node": node("a")}), noon()).unwrap()));
    }

    #[test]
    fn an_answer_of_another_shape_is_an_error() {
        assert!(table(&json!({"nodes": 1}), noon()).is_err());
        assert!(table(&json!([]), noon()).is_err());
        assert!(details(&json!({"node": {"id": 1}}), noon()).is_err());
    }
}
