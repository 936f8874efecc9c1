//! What nodes report beside heartbeats. Checked, stamped with the node's identity and the time of arrival, and kept in the
//! telemetry stream, one message per request.

use crate::caller::NodeIdentity;
use crate::control::Control;
use crate::execute::{now, store_error};
use contract::{
    ApiError, ConfigAccepted, ErrorCode, EventsAccepted, MetricsAccepted, WafAccepted, parse_config, parse_events,
    parse_metrics, parse_waf_events,
};
use domain::Slug;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What one message of the telemetry stream holds: the server's `max_payload` of 2 MB, less room for its headers.
const REPORT_BYTES_MAX: usize = 2 * 1024 * 1024 - 16 * 1024;

/// What one message reports, as the last token of its subject says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReportKind {
    Events,
    Config,
    Metrics,
    WafEvents,
}

impl ReportKind {
    /// The subject of a node's reports; `*` for the node means all nodes of the project.
    pub fn subject(self, org: &Slug, project: &Slug, node: &str) -> String {
        let kind = match self {
            ReportKind::Events => "events",
            ReportKind::Config => "config",
            ReportKind::Metrics => "metrics",
            ReportKind::WafEvents => "waf_events",
        };
        format!("telemetry.{org}.{project}.{node}.{kind}")
    }
}

/// A message of the telemetry stream.
#[derive(Serialize)]
struct Report<'a, T: Serialize> {
    node: &'a str,
    received_at: Timestamp,
    entries: T,
}

#[derive(Serialize)]
struct ConfigReport<'a> {
    sha256: &'a str,
    config_kdl: &'a str,
}

#[derive(Serialize)]
struct MetricsReport<M: Serialize, L: Serialize> {
    metrics: M,
    request_logs: L,
}

impl Control {
    /// `POST /api/v1/nodes/{id}/events`
    pub async fn ingest_events(&self, node: &NodeIdentity, body: Value) -> Result<EventsAccepted, ApiError> {
        let events = parse_events(body)?;
        let count = events.len();
        self.keep_report(node, ReportKind::Events, &events).await?;
        Ok(EventsAccepted { status: ok(), count })
    }

    /// `POST /api/v1/nodes/{id}/config`
    pub async fn ingest_config(&self, node: &NodeIdentity, body: Value) -> Result<ConfigAccepted, ApiError> {
        let config_kdl = parse_config(body)?;
        let config_hash = data_encoding::HEXLOWER.encode(&Sha256::digest(config_kdl.as_bytes()));
        let report = ConfigReport { sha256: &config_hash, config_kdl: &config_kdl };
        self.keep_report(node, ReportKind::Config, report).await?;
        Ok(ConfigAccepted { status: ok(), config_hash })
    }

    /// `POST /api/v1/nodes/{id}/metrics`
    pub async fn ingest_metrics(&self, node: &NodeIdentity, body: Value) -> Result<MetricsAccepted, ApiError> {
        let project_id = {
            let state = self.views().read();
            state.orgs.project(&node.project).map(|project| project.id.to_string()).unwrap_or_default()
        };
        let batch = parse_metrics(body, [node.project.as_str(), &project_id])?;
        let (metrics_ingested, logs_ingested) = (batch.metrics.len(), batch.request_logs.len());
        let report = MetricsReport { metrics: &batch.metrics, request_logs: &batch.request_logs };
        self.keep_report(node, ReportKind::Metrics, report).await?;
        Ok(MetricsAccepted { status: ok(), metrics_ingested, logs_ingested })
    }

    /// `POST /api/v1/nodes/{id}/waf-events`
    pub async fn ingest_waf_events(&self, node: &NodeIdentity, body: Value) -> Result<WafAccepted, ApiError> {
        let events = parse_waf_events(body)?;
        let events_ingested = events.len();
        self.keep_report(node, ReportKind::WafEvents, &events).await?;
        Ok(WafAccepted { status: ok(), events_ingested })
    }

    async fn keep_report(
        &self,
        node: &NodeIdentity,
        kind: ReportKind,
        entries: impl Serialize,
    ) -> Result<(), ApiError> {
        let id = node.id.to_string();
        let report = Report { node: &id, received_at: now(), entries };
        let body = serde_json::to_vec(&report);
        let body = body.map_err(|e| store_error(journal::StoreError::Corrupt(e.to_string())))?;
        if body.len() > REPORT_BYTES_MAX {
            let message =
                format!("the report takes {} bytes; {REPORT_BYTES_MAX} are allowed, send less at once", body.len());
            return Err(ApiError::new(ErrorCode::PayloadTooLarge, message));
        }
        let subject = kind.subject(&node.org, &node.project, &id);
        self.telemetry().record(subject, body.into()).await.map_err(store_error)
    }
}

fn ok() -> String {
    "ok".to_owned()
}
