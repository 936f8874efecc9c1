//! What happens to hosts without anybody's doing: rules approve, and what waits too long is rejected. It wakes on facts of
//! hosts and when the oldest request is due.

use crate::control::Control;
use crate::execute::{Decision, Fact, Meta, now, unix_ms};
use crate::operations::enroll::{aggregate, decide_approval};
use contract::{ApiError, ApproveEnrollment};
use domain::enrollment::{self, State as Stage};
use domain::{Aggregate, EnrollmentId, Event, NodeId};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use views::State;

const CAUGHT_UP_PAUSE: Duration = Duration::from_millis(20);
const FAILURE_PAUSE: Duration = Duration::from_secs(1);
/// Longest sleep without anything that is due.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

pub(crate) async fn run(control: Control) {
    let mut facts = control.views().listen();
    while !control.is_caught_up() {
        tokio::time::sleep(CAUGHT_UP_PAUSE).await;
    }
    loop {
        let sleep = match look(&control).await {
            Ok(due) => due.map_or(SLEEP_MAX, |at| Duration::try_from(at.duration_since(now())).unwrap_or_default()),
            Err(e) => {
                tracing::warn!(error = &e as &dyn std::error::Error, "enrollments wait for the store");
                FAILURE_PAUSE
            }
        };
        let asleep = tokio::time::sleep(sleep.min(SLEEP_MAX));
        tokio::pin!(asleep);
        let mut woken = false;
        while !woken {
            woken = tokio::select! {
                fact = facts.recv() => match fact {
                    Ok(fact) => matches!(fact.aggregate, Aggregate::Enrollment { .. }),
                    Err(RecvError::Lagged(_)) => true,
                    // The views of this replica are gone, and this task with them in a moment.
                    Err(RecvError::Closed) => std::future::pending().await,
                },
                () = &mut asleep => true,
            };
        }
        // All that is there by now is one wake-up.
        while !matches!(facts.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
    }
}

/// Returns when the oldest request that waits is due.
async fn look(control: &Control) -> Result<Option<Timestamp>, ApiError> {
    let settings = &control.settings().enrollment;
    let patience = SignedDuration::from_secs(settings.pending_s);
    let before = now().saturating_sub(patience).unwrap_or(Timestamp::MIN);
    let (mut due, mut admitted) = (Vec::new(), Vec::new());
    {
        let state = control.views().read();
        for host in state.enrollments.pending() {
            let enrollment = host.current();
            if enrollment.created_at <= before {
                due.push(enrollment.id.clone());
            } else if let Some(rule) = settings.auto_approve.iter().find(|rule| rule.admits(host)) {
                admitted.push((enrollment.id.clone(), rule));
            }
        }
    }
    for id in due {
        expire(control, &id, before).await?;
    }
    for (id, rule) in admitted {
        let wanted =
            ApproveEnrollment { fingerprint: None, project: rule.project.clone(), labels: rule.labels.clone() };
        match approve(control, &id, &wanted, &rule.text).await {
            Err(e) if e.code.status() < 500 => {
                tracing::warn!(enrollment = %id, rule = rule.text, error = %e, "a rule cannot approve a host");
            }
            done => done?,
        }
    }
    let state = control.views().read();
    let oldest = state.enrollments.pending().next().map(|host| host.current().created_at);
    Ok(oldest.and_then(|at| at.saturating_add(patience).ok()))
}

async fn expire(control: &Control, id: &EnrollmentId, before: Timestamp) -> Result<(), ApiError> {
    let meta = Meta::system(&["enrollment expired", id.as_str()]);
    let decide = |state: &State| {
        let Some((host, enrollment)) = state.enrollments.get(id) else { return Ok(Decision::Nothing(())) };
        Ok(match enrollment::expire(enrollment, before) {
            Some(event) => {
                let fact = Fact::next(aggregate(host), host.position, Event::Enrollment(event));
                Decision::Append(Box::new(fact), ())
            }
            None => Decision::Nothing(()),
        })
    };
    control.commit(&meta, decide).await.map(drop)
}

async fn approve(control: &Control, id: &EnrollmentId, wanted: &ApproveEnrollment, rule: &str) -> Result<(), ApiError> {
    let meta = Meta::system(&["enrollment approved", id.as_str()]);
    let node = NodeId::from_parts(unix_ms(), trust::random_bytes());
    let decide = |state: &State| {
        let known = state.enrollments.get(id);
        let Some((host, enrollment)) = known.filter(|(_, enrollment)| enrollment.state == Stage::Pending) else {
            return Ok(Decision::Nothing(None));
        };
        let decision = decide_approval(state, host, enrollment, wanted, node, Some(rule.to_owned()))?;
        Ok(match decision {
            Decision::Append(fact, aggregate) => Decision::Append(fact, Some(aggregate)),
            Decision::AppendAll(facts, aggregate) => Decision::AppendAll(facts, Some(aggregate)),
            Decision::Nothing(aggregate) => Decision::Nothing(Some(aggregate)),
        })
    };
    let done = control.commit(&meta, decide).await?;
    if done.value.is_some() && !done.duplicate {
        tracing::info!(enrollment = %id, rule, "a rule approved a host");
    }
    Ok(())
}
