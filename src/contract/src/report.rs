//! What nodes reported, as operators read it: pages in order of arrival.

use crate::fields::FieldErrors;
use crate::ingest::{EventInput, MetricInput, WafEventInput};
use crate::page::Page;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far back a question without `since` looks.
const SINCE_DEFAULT: SignedDuration = SignedDuration::from_hours(24);

/// An event, and who reported it when. Its `timestamp` is the time of arrival where the node told none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReportedEvent {
    pub node_id: String,
    #[schemars(with = "String")]
    pub received_at: Timestamp,
    #[serde(flatten)]
    pub event: EventInput,
}

/// Metrics of one service in one period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReportedMetric {
    pub node_id: String,
    #[schemars(with = "String")]
    pub received_at: Timestamp,
    /// Whether the project has the service that `service_id` names.
    pub verified: bool,
    #[serde(flatten)]
    pub metric: MetricInput,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReportedWafEvent {
    pub node_id: String,
    #[schemars(with = "String")]
    pub received_at: Timestamp,
    #[serde(flatten)]
    pub event: WafEventInput,
}

/// The configuration that a node runs, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportedConfig {
    pub node_id: String,
    #[schemars(with = "String")]
    pub received_at: Timestamp,
    /// SHA-256 of the exact bytes, hex.
    pub sha256: String,
    pub config_kdl: String,
}

/// Which entries a question is for: by their time of arrival, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportWindow {
    pub since: Timestamp,
    pub until: Timestamp,
    pub limit: usize,
    pub after: Option<ReportCursor>,
}

/// Where a page ended: `<sequence of the report>.<how many of its entries were shown>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportCursor {
    pub sequence: u64,
    pub shown: usize,
}

impl ReportWindow {
    /// `since` is a day before `until` where it is not given, and `until` is now.
    pub fn from_query(query: &BTreeMap<String, String>, now: Timestamp) -> Result<ReportWindow, FieldErrors> {
        let time = |name: &str| match query.get(name).map(|text| text.parse::<Timestamp>()) {
            None => Ok(None),
            Some(Ok(time)) => Ok(Some(time)),
            Some(Err(_)) => Err(FieldErrors::one(name, "must be a time such as 2026-02-23T10:00:00Z")),
        };
        let until = time("until")?;
        let end = until.unwrap_or(now);
        let since = time("since")?.unwrap_or_else(|| end.saturating_sub(SINCE_DEFAULT).unwrap_or(Timestamp::MIN));
        if since > end {
            return Err(FieldErrors::one("since", "must not be after until"));
        }
        let page = Page::from_query(query)?;
        let after = page.after.as_deref().map(ReportCursor::parse);
        if after == Some(None) {
            return Err(FieldErrors::one("after", "must be what an earlier page gave as next"));
        }
        // Without `until` the next report is as welcome as the last, whatever this clock says.
        let until = until.unwrap_or(Timestamp::MAX);
        Ok(ReportWindow { since, until, limit: page.limit, after: after.flatten() })
    }
}

impl ReportCursor {
    fn parse(text: &str) -> Option<ReportCursor> {
        let (sequence, shown) = text.split_once('.')?;
        Some(ReportCursor { sequence: sequence.parse().ok()?, shown: shown.parse().ok()? })
    }
}

impl std::fmt::Display for ReportCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.sequence, self.shown)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn window(pairs: &[(&str, &str)]) -> Result<ReportWindow, FieldErrors> {
        let query = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        ReportWindow::from_query(&query, "2026-02-23T10:00:00Z".parse().unwrap())
    }

    #[test]
    fn a_day_is_looked_at_where_nothing_is_said() {
        let found = window(&[]).unwrap();
        let since = "2026-02-22T10:00:00Z".parse().unwrap();
        assert_eq!(found, ReportWindow { since, until: Timestamp::MAX, limit: Page::LIMIT_DEFAULT, after: None });
        let past = window(&[("until", "2026-01-02T00:00:00Z")]).unwrap();
        assert_eq!((past.since.to_string().as_str(), past.until), ("2026-01-01T00:00:00Z", past.until));
    }

    #[test]
    fn a_cursor_reads_back_and_nothing_else_is_one() {
        let cursor = ReportCursor { sequence: 7, shown: 3 };
        assert_eq!(window(&[("after", &cursor.to_string())]).unwrap().after, Some(cursor));
        for wrong in ["", ".", "7", "7.", "-1.0", "7.x", "99999999999999999999.1"] {
            assert_eq!(window(&[("after", wrong)]).unwrap_err().0.into_keys().next().unwrap(), "after", "{wrong}");
        }
    }

    #[test]
    fn wrong_times_name_themselves() {
        for (name, value) in [("since", "yesterday"), ("until", ""), ("since", "2027-01-01T00:00:00Z"), ("limit", "0")]
        {
            assert_eq!(window(&[(name, value)]).unwrap_err().0.into_keys().next().unwrap(), name, "{value}");
        }
    }
}
