//! Telemetry: recorded with an acknowledgement, read message by message from the leader. Reading leaves nothing behind on the
//! server (no consumer) and needs no right beyond that of looking at a message.

use super::JetStream;
use super::api::RawMessage;
use super::pulse::PUBLISH_TIMEOUT;
use crate::contract::{Report, ReportQuestion, Reports, ReportsFrom, StoreError, Telemetry};
use crate::declaration::TELEMETRY;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

/// 2200-01-01
const LATEST: Timestamp = Timestamp::constant(7_258_118_400, 0);

impl Telemetry for JetStream {
    fn record(&self, subject: String, body: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.api.publish(subject, None, body, PUBLISH_TIMEOUT).await?;
            Ok(())
        })
    }

    fn reports(&self, question: ReportQuestion) -> BoxFuture<'_, Result<Reports, StoreError>> {
        Box::pin(async move {
            let ReportQuestion { filter, from, until, reports_max, bytes_max } = question;
            let (mut reports, mut bytes) = (Reports::default(), 0);
            let mut next = match from {
                ReportsFrom::Sequence(sequence) => self.api.next(TELEMETRY, &filter, sequence.max(1)).await?,
                // The server counts nanoseconds since 1970 in 64 bits, and has nothing that is older or of the next century.
                ReportsFrom::Time(time) => {
                    self.api.next_since(TELEMETRY, &filter, time.clamp(Timestamp::UNIX_EPOCH, LATEST)).await?
                }
            };
            while let Some(report) = next.map(report).transpose()?.filter(|report| report.time <= until) {
                if reports.found.len() >= reports_max || bytes >= bytes_max {
                    reports.is_cut = true;
                    break;
                }
                bytes += report.body.len();
                let sequence = report.sequence + 1;
                reports.found.push(report);
                next = self.api.next(TELEMETRY, &filter, sequence).await?;
            }
            Ok(reports)
        })
    }

    fn newest_report(&self, subject: &str) -> BoxFuture<'_, Result<Option<Report>, StoreError>> {
        let subject = subject.to_owned();
        Box::pin(async move { self.api.last(TELEMETRY, &subject).await?.map(report).transpose() })
    }
}

fn report(message: RawMessage) -> Result<Report, StoreError> {
    let RawMessage { sequence, time, subject, payload, .. } = message;
    let time = time.parse().map_err(|error| StoreError::Corrupt(format!("time of message {sequence}: {error}")))?;
    Ok(Report { sequence, time, subject, body: payload })
}
