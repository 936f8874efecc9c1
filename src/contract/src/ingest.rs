//! What nodes report beside heartbeats: events, metrics, request logs, WAF events, the running configuration. Batches are
//! all-or-nothing; a message names the index of the first bad entry.

use crate::fields::{FieldErrors, Fields};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

const BATCH_MAX: usize = 1000;
const MESSAGE_CHARS_MAX: usize = 4000;
const TEXT_CHARS_MAX: usize = 255;
const PATH_CHARS_MAX: usize = 2048;
const METADATA_BYTES_MAX: usize = 8 * 1024;
const CONFIG_BYTES_MAX: usize = 1024 * 1024;
const EVENT_TYPES: [&str; 7] = ["config_reload", "bundle_switch", "error", "startup", "shutdown", "warning", "info"];
const EVENT_SEVERITIES: [&str; 4] = ["debug", "info", "warn", "error"];
const WAF_ACTIONS: [&str; 3] = ["blocked", "logged", "challenged"];
const WAF_SEVERITIES: [&str; 6] = ["critical", "high", "medium", "low", "warn", "info"];

/// One entry of `POST /api/v1/nodes/{id}/events`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventInput {
    pub event_type: String,
    /// Default `info`.
    pub severity: String,
    pub message: String,
    pub metadata: Map<String, Value>,
    /// Default: the time of arrival.
    #[schemars(with = "Option<String>")]
    pub timestamp: Option<Timestamp>,
}

/// One entry of `metrics` in `POST /api/v1/nodes/{id}/metrics`. Counts that are absent are 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricInput {
    pub service_id: String,
    /// Slug or id of the node's own project.
    pub project_id: String,
    #[schemars(with = "Option<String>")]
    pub period_start: Option<Timestamp>,
    pub period_seconds: u64,
    /// `request_count`, `error_count`, `latency_p50_ms`, `status_2xx`, … that were sent.
    pub values: std::collections::BTreeMap<String, u64>,
    pub top_paths: Map<String, Value>,
    pub top_consumers: Map<String, Value>,
}

/// One entry of `request_logs` in `POST /api/v1/nodes/{id}/metrics`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RequestLogInput {
    pub service_id: String,
    pub project_id: String,
    #[schemars(with = "Option<String>")]
    pub timestamp: Option<Timestamp>,
    pub method: Option<String>,
    pub path: Option<String>,
    pub status: Option<u64>,
    pub latency_ms: Option<u64>,
    pub client_ip: Option<String>,
    pub user_agent: Option<String>,
    pub request_size: Option<u64>,
    pub response_size: Option<u64>,
}

/// One entry of `POST /api/v1/nodes/{id}/waf-events`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WafEventInput {
    pub service_id: Option<String>,
    pub rule_type: String,
    pub rule_id: String,
    pub action: String,
    pub severity: String,
    pub client_ip: Option<String>,
    pub method: Option<String>,
    pub path: Option<String>,
    pub matched_data: Option<String>,
    pub user_agent: Option<String>,
    pub geo_country: Option<String>,
    pub request_headers: Map<String, Value>,
    pub metadata: Map<String, Value>,
    #[schemars(with = "Option<String>")]
    pub timestamp: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventsAccepted {
    /// Always `ok`.
    pub status: String,
    pub count: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigAccepted {
    pub status: String,
    /// SHA-256 of the exact bytes, hex.
    pub config_hash: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MetricsAccepted {
    pub status: String,
    pub metrics_ingested: usize,
    pub logs_ingested: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WafAccepted {
    pub status: String,
    pub events_ingested: usize,
}

/// The metrics and logs of one accepted request.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchAccepted {
    pub metrics: Vec<MetricInput>,
    pub request_logs: Vec<RequestLogInput>,
}

/// A single event, or a batch under `events`.
pub fn parse_events(body: Value) -> Result<Vec<EventInput>, FieldErrors> {
    if body.get("events").is_none() {
        return Ok(vec![event(body, "")?]);
    }
    let mut fields = Fields::new(body);
    let list = fields.list("events", BATCH_MAX);
    entries(fields.finish(list)?, "events", event)
}

pub fn parse_waf_events(body: Value) -> Result<Vec<WafEventInput>, FieldErrors> {
    let mut fields = Fields::new(body);
    if !fields.has("events") {
        fields.error("events", "is required and must be a list");
    }
    let list = fields.list("events", BATCH_MAX);
    entries(fields.finish(list)?, "events", waf_event)
}

/// `own` is what `project_id` may say: the slug and the id of the node's own project.
pub fn parse_metrics(body: Value, own: [&str; 2]) -> Result<BatchAccepted, FieldErrors> {
    let mut fields = Fields::new(body);
    let metrics = fields.list("metrics", BATCH_MAX).unwrap_or_default();
    let logs = fields.list("request_logs", BATCH_MAX).unwrap_or_default();
    let (metrics, logs) = fields.finish(Some((metrics, logs)))?;
    Ok(BatchAccepted {
        metrics: entries(metrics, "metrics", |value, prefix| metric(value, prefix, own))?,
        request_logs: entries(logs, "request_logs", |value, prefix| request_log(value, prefix, own))?,
    })
}

/// The running configuration: any text up to 1 MiB.
pub fn parse_config(body: Value) -> Result<String, FieldErrors> {
    let mut fields = Fields::new(body);
    let text = match fields.required("config_kdl") {
        Some(Value::String(text)) if text.len() > CONFIG_BYTES_MAX => {
            fields.error("config_kdl", format!("should be at most {CONFIG_BYTES_MAX} byte(s)"));
            None
        }
        Some(Value::String(text)) => Some(text),
        Some(_) => {
            fields.error("config_kdl", "must be a string");
            None
        }
        None => None,
    };
    fields.finish(text)
}

fn entries<T>(
    list: Vec<Value>,
    name: &str,
    read: impl Fn(Value, &str) -> Result<T, FieldErrors>,
) -> Result<Vec<T>, FieldErrors> {
    list.into_iter().enumerate().map(|(i, value)| read(value, &format!("{name}[{i}]."))).collect()
}

fn event(value: Value, prefix: &str) -> Result<EventInput, FieldErrors> {
    let mut fields = Fields::nested(value, prefix);
    let event_type = required_word(&mut fields, "event_type", &EVENT_TYPES);
    let severity = fields.one_of("severity", &EVENT_SEVERITIES).unwrap_or_else(|| "info".to_owned());
    let message = fields.required_text("message", MESSAGE_CHARS_MAX);
    let metadata = fields.object("metadata", METADATA_BYTES_MAX).unwrap_or_default();
    let timestamp = fields.time("timestamp");
    let value = event_type.zip(message);
    let value = value.map(|(event_type, message)| EventInput { event_type, severity, message, metadata, timestamp });
    fields.finish(value)
}

fn metric(value: Value, prefix: &str, own: [&str; 2]) -> Result<MetricInput, FieldErrors> {
    const COUNTS: [&str; 11] = [
        "request_count",
        "error_count",
        "latency_p50_ms",
        "latency_p95_ms",
        "latency_p99_ms",
        "bandwidth_in_bytes",
        "bandwidth_out_bytes",
        "status_2xx",
        "status_3xx",
        "status_4xx",
        "status_5xx",
    ];
    let mut fields = Fields::nested(value, prefix);
    let service_id = fields.required_text("service_id", TEXT_CHARS_MAX);
    let project_id = own_project(&mut fields, own);
    let period_start = fields.time("period_start");
    let period_seconds = fields.integer("period_seconds", 1, 86_400).unwrap_or(60);
    let mut values = std::collections::BTreeMap::new();
    for name in COUNTS {
        if let Some(count) = fields.integer(name, 0, u64::MAX) {
            values.insert(name.to_owned(), count);
        }
    }
    let top_paths = fields.object("top_paths", METADATA_BYTES_MAX).unwrap_or_default();
    let top_consumers = fields.object("top_consumers", METADATA_BYTES_MAX).unwrap_or_default();
    let value = service_id.zip(project_id).map(|(service_id, project_id)| MetricInput {
        service_id,
        project_id,
        period_start,
        period_seconds,
        values,
        top_paths,
        top_consumers,
    });
    fields.finish(value)
}

fn request_log(value: Value, prefix: &str, own: [&str; 2]) -> Result<RequestLogInput, FieldErrors> {
    let mut fields = Fields::nested(value, prefix);
    let service_id = fields.required_text("service_id", TEXT_CHARS_MAX);
    let project_id = own_project(&mut fields, own);
    let rest = RequestLogInput {
        service_id: String::new(),
        project_id: String::new(),
        timestamp: fields.time("timestamp"),
        method: fields.text("method", 32),
        path: fields.text("path", PATH_CHARS_MAX),
        status: fields.integer("status", 100, 599),
        latency_ms: fields.integer("latency_ms", 0, u64::MAX),
        client_ip: fields.text("client_ip", TEXT_CHARS_MAX),
        user_agent: fields.text("user_agent", PATH_CHARS_MAX),
        request_size: fields.integer("request_size", 0, u64::MAX),
        response_size: fields.integer("response_size", 0, u64::MAX),
    };
    let value = service_id.zip(project_id);
    let value = value.map(|(service_id, project_id)| RequestLogInput { service_id, project_id, ..rest });
    fields.finish(value)
}

fn waf_event(value: Value, prefix: &str) -> Result<WafEventInput, FieldErrors> {
    let mut fields = Fields::nested(value, prefix);
    let rule_type = fields.required_text("rule_type", 64);
    let rule_id = fields.required_text("rule_id", TEXT_CHARS_MAX);
    let action = required_word(&mut fields, "action", &WAF_ACTIONS);
    let severity = required_word(&mut fields, "severity", &WAF_SEVERITIES);
    let rest = WafEventInput {
        service_id: fields.text("service_id", TEXT_CHARS_MAX),
        rule_type: String::new(),
        rule_id: String::new(),
        action: String::new(),
        severity: String::new(),
        client_ip: fields.text("client_ip", TEXT_CHARS_MAX),
        method: fields.text("method", 32),
        path: fields.text("path", PATH_CHARS_MAX),
        matched_data: fields.text("matched_data", MESSAGE_CHARS_MAX),
        user_agent: fields.text("user_agent", PATH_CHARS_MAX),
        geo_country: fields.text("geo_country", 64),
        request_headers: fields.object("request_headers", METADATA_BYTES_MAX).unwrap_or_default(),
        metadata: fields.object("metadata", METADATA_BYTES_MAX).unwrap_or_default(),
        timestamp: fields.time("timestamp"),
    };
    let value = rule_type.zip(rule_id).zip(action.zip(severity));
    let value = value.map(|((rule_type, rule_id), (action, severity))| WafEventInput {
        rule_type,
        rule_id,
        action,
        severity,
        ..rest
    });
    fields.finish(value)
}

fn required_word(fields: &mut Fields, field: &str, words: &[&str]) -> Option<String> {
    if !fields.has(field) {
        fields.error(field, "can't be blank");
        return None;
    }
    fields.one_of(field, words)
}

fn own_project(fields: &mut Fields, own: [&str; 2]) -> Option<String> {
    let project = fields.required_text("project_id", TEXT_CHARS_MAX)?;
    if !own.contains(&project.as_str()) {
        fields.error("project_id", "must be the node's own project");
        return None;
    }
    Some(project)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_bad_entry_is_named_by_index() {
        let body = json!({"events": [
            {"event_type": "info", "message": "fine"},
            {"event_type": "party", "severity": "loud", "message": "no"}]});
        let fields: Vec<String> = parse_events(body).unwrap_err().0.into_keys().collect();
        assert_eq!(fields, ["events[1].event_type", "events[1].severity"]);
    }

    #[test]
    fn the_documents_waf_event_is_accepted() {
        let body = json!({"events": [{"rule_type": "crs", "rule_id": "942100", "action": "blocked", "severity": "high",
            "client_ip": "1.2.3.4", "method": "POST", "path": "/login", "timestamp": "2026-02-23T10:00:00Z",
            "matched_data": "1 OR 1=1", "metadata": {"category": "sql_injection"}}]});
        assert_eq!(parse_waf_events(body).unwrap().len(), 1);
    }

    #[test]
    fn a_foreign_project_is_refused() {
        let body = json!({"metrics": [{"service_id": "s", "project_id": "other", "request_count": 1}]});
        let fields: Vec<String> = parse_metrics(body, ["demo", "id"]).unwrap_err().0.into_keys().collect();
        assert_eq!(fields, ["metrics[0].project_id"]);
    }
}
