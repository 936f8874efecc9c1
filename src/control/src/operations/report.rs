//! `node events|config|metrics|waf_events`: what nodes reported, in order of arrival. The work of one question is bounded; a
//! page may hold fewer entries than were asked for and still have a next one.

use super::node::{find, not_found};
use super::{Call, Place};
use crate::execute::{now, store_error};
use crate::nodes::ReportKind;
use contract::{Answer, ApiError, ReportCursor, ReportWindow, ReportedConfig, Route};
use journal::{Report, ReportQuestion, Reports, ReportsFrom, StoreError};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Reports that one question reads.
const REPORTS_READ_MAX: usize = 256;
/// Bytes after which a page ends: an answer over NATS is one message.
const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// A message of the telemetry stream, as ingesting wrote it.
#[derive(Deserialize)]
struct Kept {
    node: String,
    received_at: Value,
    entries: Value,
}

struct Shown {
    entries: Vec<Value>,
    next: Option<ReportCursor>,
}

impl Call<'_> {
    /// Of one node, or where the route names none of all nodes of the project, deleted ones included.
    pub(super) async fn list_reports(&self, kind: ReportKind) -> Result<Answer, ApiError> {
        let place = self.place()?;
        let window = ReportWindow::from_query(&self.request.query, now())?;
        let node = match Route::of(self.operation).path.contains("{id}") {
            true => self.reporting_node(&place)?,
            false => "*".to_owned(),
        };
        let from = match window.after {
            // What was shown wholly is read again: only reading it tells that.
            Some(cursor) => ReportsFrom::Sequence(cursor.sequence),
            None => ReportsFrom::Time(window.since),
        };
        let question = ReportQuestion {
            filter: kind.subject(&place.org, &place.project, &node),
            from,
            until: window.until,
            reports_max: window.limit.saturating_add(1).min(REPORTS_READ_MAX),
            bytes_max: PAGE_BYTES_MAX,
        };
        let reports = self.control.telemetry().reports(question).await.map_err(store_error)?;
        let Shown { entries, next } = page(kind, &window, &reports).map_err(store_error)?;
        let name = match kind {
            ReportKind::Metrics => "metrics",
            ReportKind::WafEvents => "waf_events",
            ReportKind::Events | ReportKind::Config => "events",
        };
        self.read(|_| Ok(json!({name: entries, "next": next.map(|next| next.to_string())})))
    }

    /// The newest one.
    pub(super) async fn show_config(&self) -> Result<Answer, ApiError> {
        let place = self.place()?;
        let node = self.reporting_node(&place)?;
        let subject = ReportKind::Config.subject(&place.org, &place.project, &node);
        let newest = self.control.telemetry().newest_report(&subject).await.map_err(store_error)?;
        let newest = newest.ok_or_else(|| ApiError::not_found("Reported configuration"))?;
        let kept = read(&newest).map_err(store_error)?;
        let fields =
            Map::from_iter([("node_id".to_owned(), kept.node.into()), ("received_at".to_owned(), kept.received_at)]);
        let body = with_fields(kept.entries, fields);
        let config = serde_json::from_value::<ReportedConfig>(body).map_err(|e| store_error(damaged(&newest, &e)))?;
        self.read(|_| Ok(json!({ "config": config })))
    }

    fn reporting_node(&self, place: &Place) -> Result<String, ApiError> {
        let state = self.control.views().read();
        find(&state, place, self.id()).map(|row| row.node.id.to_string()).ok_or_else(not_found)
    }
}

fn page(kind: ReportKind, window: &ReportWindow, reports: &Reports) -> Result<Shown, StoreError> {
    let mut shown = Shown { entries: Vec::new(), next: None };
    let (mut cursor, mut bytes) = (window.after, 0);
    for report in &reports.found {
        let skip = window.after.filter(|after| after.sequence == report.sequence).map_or(0, |after| after.shown);
        for (index, entry) in entries(kind, report)?.into_iter().enumerate().skip(skip) {
            if shown.entries.len() >= window.limit || bytes >= PAGE_BYTES_MAX {
                shown.next = cursor;
                return Ok(shown);
            }
            bytes += entry.to_string().len();
            shown.entries.push(entry);
            cursor = Some(ReportCursor { sequence: report.sequence, shown: index + 1 });
        }
        // Nothing of it is left, even if it was empty.
        let whole = cursor.filter(|cursor| cursor.sequence == report.sequence);
        cursor = whole.or(Some(ReportCursor { sequence: report.sequence, shown: 0 }));
    }
    if reports.is_cut {
        shown.next = reports.found.last().map(|last| ReportCursor { sequence: last.sequence + 1, shown: 0 });
    }
    Ok(shown)
}

/// The entries of a report, each with who reported it and when.
fn entries(kind: ReportKind, report: &Report) -> Result<Vec<Value>, StoreError> {
    let Kept { node, received_at, entries } = read(report)?;
    let list = match (kind, entries) {
        (ReportKind::Metrics, Value::Object(mut parts)) => parts.remove("metrics").unwrap_or_default(),
        (_, entries) => entries,
    };
    let Value::Array(list) = list else { return Ok(Vec::new()) };
    let dress = |entry: Value| {
        let mut fields =
            Map::from_iter([("node_id".to_owned(), json!(node)), ("received_at".to_owned(), received_at.clone())]);
        if kind == ReportKind::Metrics {
            // There is no register of services that could tell.
            fields.insert("verified".to_owned(), json!(false));
        } else if entry.get("timestamp").is_none_or(Value::is_null) {
            fields.insert("timestamp".to_owned(), received_at.clone());
        }
        with_fields(entry, fields)
    };
    Ok(list.into_iter().map(dress).collect())
}

/// An object and further fields, which win.
fn with_fields(value: Value, fields: Map<String, Value>) -> Value {
    let mut object = match value {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    object.extend(fields);
    Value::Object(object)
}

fn read(report: &Report) -> Result<Kept, StoreError> {
    serde_json::from_slice(&report.body).map_err(|e| damaged(report, &e))
}

fn damaged(report: &Report, error: &serde_json::Error) -> StoreError {
    StoreError::Corrupt(format!("report {} under {}: {error}", report.sequence, report.subject))
}
