//! `pilothouse node events|config|metrics|waf-events`: what nodes reported.

use crate::answer::{read, read_list};
use crate::arguments::Expiry;
use crate::complete::{Live, live};
use crate::error::CliError;
use crate::exit::Exit;
use crate::listing::{List, Paging, Render};
use crate::render::{NONE, Table, relative};
use crate::session::Session;
use contract::{Operation, ReportedConfig, ReportedEvent, ReportedMetric, ReportedWafEvent, Request};
use jiff::Timestamp;
use serde_json::Value;

/// Of one node, or of all.
#[derive(Clone, Debug, clap::Args)]
pub struct Reports {
    /// Id or name [default: all nodes of the project]
    #[arg(add = live(Live::Nodes))]
    node: Option<String>,
    #[command(flatten)]
    window: Window,
    #[command(flatten)]
    paging: Paging,
}

#[derive(Clone, Debug, clap::Args)]
pub struct Metrics {
    /// Id or name
    #[arg(add = live(Live::Nodes))]
    node: String,
    #[command(flatten)]
    window: Window,
    #[command(flatten)]
    paging: Paging,
}

#[derive(Clone, Debug, clap::Args)]
pub struct Window {
    /// What arrived then or later: a time (RFC 3339), or how long ago: 90m, 7d [default: a day before --until]
    #[arg(long, value_name = "WHEN", value_parser = Expiry::parse)]
    since: Option<Expiry>,
    /// What arrived until then: a time (RFC 3339), or how long ago [default: now]
    #[arg(long, value_name = "WHEN", value_parser = Expiry::parse)]
    until: Option<Expiry>,
}

impl Window {
    fn add_to(&self, request: &mut Request, now: Timestamp) -> Result<(), CliError> {
        for (name, when) in [("since", self.since), ("until", self.until)] {
            let Some(when) = when else { continue };
            let too_far = || CliError::Usage(format!("--{name} is too long ago"));
            request.query.insert(name.to_owned(), when.before(now).ok_or_else(too_far)?.to_string());
        }
        Ok(())
    }
}

pub(super) async fn events(asked: Reports, session: &mut Session<'_>) -> Result<Exit, CliError> {
    list(asked, [Operation::NodeEvents, Operation::NodeAllEvents], "events", event_table, session).await
}

pub(super) async fn waf_events(asked: Reports, session: &mut Session<'_>) -> Result<Exit, CliError> {
    list(asked, [Operation::NodeWafEvents, Operation::NodeAllWafEvents], "waf_events", waf_table, session).await
}

pub(super) async fn metrics(asked: Metrics, session: &mut Session<'_>) -> Result<Exit, CliError> {
    let Metrics { node, window, paging } = asked;
    let asked = Reports { node: Some(node), window, paging };
    list(asked, [Operation::NodeMetrics; 2], "metrics", metric_table, session).await
}

/// The text as it is: it can go into a file.
pub(super) async fn config(node: &str, session: &mut Session<'_>) -> Result<Exit, CliError> {
    let body = session.ask(Operation::NodeConfig, session.on(node)?).await?;
    let config: ReportedConfig = read(&body, "config")?;
    if session.console.is_structured() {
        session.console.print_body(&body)?;
    } else {
        let age = relative(session.console.now(), config.received_at);
        session.console.say(&format!("reported {age}, sha256 {}", config.sha256));
        session.console.print(config.config_kdl.trim_end_matches('\n'))?;
    }
    Ok(Exit::Ok)
}

async fn list(
    asked: Reports,
    [of_one, of_all]: [Operation; 2],
    name: &'static str,
    render: Render,
    session: &mut Session<'_>,
) -> Result<Exit, CliError> {
    let (operation, mut request) = match &asked.node {
        Some(node) => (of_one, session.on(node)?),
        None => (of_all, session.in_project()?),
    };
    asked.window.add_to(&mut request, session.console.now())?;
    List { operation, request, name, paging: asked.paging, render }.run(session, false).await
}

fn event_table(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let mut table = Table::new(["ARRIVED", "NODE", "TYPE", "SEVERITY", "MESSAGE"]);
    for ReportedEvent { node_id, received_at, event } in read_list::<ReportedEvent>(body, "events")? {
        table.row([relative(now, received_at), node_id, event.event_type, event.severity, event.message]);
    }
    Ok(table.to_string())
}

fn waf_table(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let mut table = Table::new(["ARRIVED", "NODE", "RULE", "ACTION", "SEVERITY", "CLIENT", "REQUEST"]);
    for ReportedWafEvent { node_id, received_at, event } in read_list::<ReportedWafEvent>(body, "waf_events")? {
        let rule = format!("{} {}", event.rule_type, event.rule_id);
        let request = [event.method, event.path].into_iter().flatten().collect::<Vec<_>>().join(" ");
        let client = event.client_ip.unwrap_or_else(|| NONE.to_owned());
        table.row([relative(now, received_at), node_id, rule, event.action, event.severity, client, request]);
    }
    Ok(table.to_string())
}

fn metric_table(body: &Value, now: Timestamp) -> Result<String, CliError> {
    let mut table = Table::new(["ARRIVED", "SERVICE", "VERIFIED", "PERIOD", "REQUESTS", "ERRORS", "P95 MS"]);
    for ReportedMetric { received_at, verified, metric, .. } in read_list::<ReportedMetric>(body, "metrics")? {
        let value = |name: &str| metric.values.get(name).map_or_else(|| NONE.to_owned(), u64::to_string);
        table.row([
            relative(now, received_at),
            metric.service_id.clone(),
            if verified { "yes" } else { "no" }.to_owned(),
            format!("{}s", metric.period_seconds),
            value("request_count"),
            value("error_count"),
            value("latency_p95_ms"),
        ]);
    }
    Ok(table.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;
    use crate::color::unpainted;
    use crate::testing::noon;
    use expect_test::expect;
    use serde_json::json;

    const NODE: &str = "019b7d3c-0000-7000-8000-000000000001";

    pub(crate) fn events_body() -> Value {
        json!({"next": null, "events": [{"node_id": NODE, "received_at": "2026-01-02T11:59:18Z", "event_type": "error",
            "severity": "error", "message": "port 80\u{1b}[31m", "metadata": {}, "timestamp": "2026-01-02T11:59:17Z"}]})
    }

    pub(crate) fn waf_body() -> Value {
        json!({"next": null, "waf_events": [{"node_id": NODE, "received_at": "2026-01-02T11:59:18Z", "service_id": null,
            "rule_type": "crs", "rule_id": "942100", "action": "blocked", "severity": "high", "client_ip": "192.0.2.1",
            "method": "POST", "path": "/login", "matched_data": null, "user_agent": null, "geo_country": null,
            "request_headers": {}, "metadata": {}, "timestamp": "2026-01-02T11:59:17Z"}]})
    }

    pub(crate) fn metrics_body() -> Value {
        json!({"next": null, "metrics": [{"node_id": NODE, "received_at": "2026-01-02T11:59:18Z", "verified": false,
            "service_id": "shop", "project_id": "demo", "period_start": null, "period_seconds": 60,
            "values": {"request_count": 5}, "top_paths": {}, "top_consumers": {}}]})
    }

    pub(crate) fn config_body() -> Value {
        json!({"config": {"node_id": NODE, "received_at": "2026-01-02T11:59:18Z", "sha256": "00", "config_kdl": "a {}\n"}})
    }

    #[test]
    fn reports_are_tables() {
        let tables = [
            event_table(&events_body(), noon()).unwrap(),
            waf_table(&waf_body(), noon()).unwrap(),
            metric_table(&metrics_body(), noon()).unwrap(),
        ];
        expect![[r#"
            ARRIVED  NODE                                  TYPE   SEVERITY  MESSAGE
            42s ago  019b7d3c-0000-7000-8000-000000000001  error  error     port 80\u{1b}[31m
            ARRIVED  NODE                                  RULE        ACTION   SEVERITY  CLIENT     REQUEST
            42s ago  019b7d3c-0000-7000-8000-000000000001  crs 942100  blocked  high      192.0.2.1  POST /login
            ARRIVED  SERVICE  VERIFIED  PERIOD  REQUESTS  ERRORS  P95 MS
            42s ago  shop     no        60s     5         -       -
        "#]]
        .assert_eq(&unpainted(&tables.concat()));
    }
}
