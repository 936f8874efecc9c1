//! `TELEMETRY` in memory. Nothing is forgotten.

use super::Memory;
use super::journal::matches;
use crate::contract::{Report, ReportQuestion, Reports, ReportsFrom, StoreError, Telemetry};
use bytes::Bytes;
use futures_util::future::BoxFuture;

impl Telemetry for Memory {
    fn record(&self, subject: String, body: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.change(|state| {
                let (sequence, time) = (state.telemetry.len() as u64 + 1, state.now());
                state.telemetry.push(Report { sequence, time, subject, body });
            });
            Ok(())
        })
    }

    fn reports(&self, question: ReportQuestion) -> BoxFuture<'_, Result<Reports, StoreError>> {
        let (mut reports, mut bytes) = (Reports::default(), 0);
        let wanted = |report: &&Report| {
            let begun = match question.from {
                ReportsFrom::Sequence(sequence) => report.sequence >= sequence,
                ReportsFrom::Time(time) => report.time >= time,
            };
            begun && matches(&question.filter, &report.subject)
        };
        let state = self.lock();
        for report in state.telemetry.iter().filter(wanted).take_while(|report| report.time <= question.until) {
            if reports.found.len() >= question.reports_max || bytes >= question.bytes_max {
                reports.is_cut = true;
                break;
            }
            bytes += report.body.len();
            reports.found.push(report.clone());
        }
        drop(state);
        Box::pin(async move { Ok(reports) })
    }

    fn newest_report(&self, subject: &str) -> BoxFuture<'_, Result<Option<Report>, StoreError>> {
        let newest = self.lock().telemetry.iter().rev().find(|report| report.subject == subject).cloned();
        Box::pin(async move { Ok(newest) })
    }
}
