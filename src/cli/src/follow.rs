//! Watching something until it ends: read, show, wait for a fact, read again. What is shown is always read from the control
//! plane, never derived from the facts, and a read that fails in passing is repeated.

use crate::error::CliError;
use crate::exit::Exit;
use crate::session::Session;
use crate::waker::Waker;
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// Reads that may fail one after the other before watching without a limit ends: the control plane may be restarting.
const FAILURES_MAX: u32 = 30;

pub(crate) trait Watched {
    async fn read(&mut self, session: &mut Session<'_>) -> Result<Value, CliError>;

    /// Tells what is new; some exit where there is nothing more to watch.
    fn show(&mut self, session: &mut Session<'_>, body: &Value) -> Result<Option<Exit>, CliError>;

    /// A read failed and is repeated.
    fn trouble(&mut self, _session: &mut Session<'_>, _error: &CliError) -> Result<(), CliError> {
        Ok(())
    }

    /// Whether a failed read may be repeated before any has succeeded.
    fn is_certain(&self) -> bool {
        false
    }

    /// Before an error is told: frees what is redrawn.
    fn abandon(&mut self, _session: &mut Session<'_>) -> Result<(), CliError> {
        Ok(())
    }
}

/// None: the limit is reached.
pub(crate) async fn follow(
    session: &mut Session<'_>,
    mut waker: Waker,
    watched: &mut impl Watched,
    limit: Option<Duration>,
) -> Result<Option<Exit>, CliError> {
    let deadline = limit.map(|limit| Instant::now() + limit);
    let (mut began, mut failures) = (watched.is_certain(), 0);
    loop {
        match in_time(deadline, watched.read(session)).await {
            None => return Ok(None),
            Some(Ok(body)) => {
                (began, failures) = (true, 0);
                if let Some(exit) = watched.show(session, &body)? {
                    return Ok(Some(exit));
                }
            }
            Some(Err(error)) if error.is_passing() && began && (deadline.is_some() || failures < FAILURES_MAX) => {
                failures += 1;
                watched.trouble(session, &error)?;
            }
            Some(Err(error)) => {
                watched.abandon(session)?;
                return Err(error);
            }
        }
        match in_time(deadline, waker.wait(session)).await {
            None => return Ok(None),
            Some(woken) => woken?,
        }
    }
}

/// The filter over every fact of the session's project.
pub(crate) fn project_facts(session: &Session) -> Result<String, CliError> {
    Ok(format!("fleet.*.{}.>", session.target.project()?))
}

async fn in_time<T>(deadline: Option<Instant>, step: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, step).await.ok(),
        None => Some(step.await),
    }
}
