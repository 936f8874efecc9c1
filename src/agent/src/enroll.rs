//! Enrollment: a host proves its key, waits for an operator's approval, and keeps its NATS credentials fresh.
//!
//! Invariant: the seed never leaves this host; credentials that are there are used and nothing is asked for; what goes on is
//! written down first, so a crash at any point goes on from there. What is next is decided by `machine`, which does no IO.
//! Absent on purpose: any trust in a server that was not named.

mod api;
mod credential;
mod files;
mod host_id;
mod machine;

use crate::call::causes;
use crate::client::TlsError;
use crate::settings::EnrollSettings;
use crate::state::{DataDir, StateError};
use api::EnrollApi;
use credential::Credential;
use domain::HostId;
use domain::enrollment::State;
pub use files::AuthError;
use files::AuthFiles;
pub use host_id::{host_id, host_id_from_name};
use jiff::{SignedDuration, Timestamp};
use machine::{Action, Known, Machine, Next, Refused, Stop};
use runtime::FileError;
use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How often the time of day is looked at: a timer does not count the hours that a host sleeps.
const LOOK: Duration = Duration::from_secs(600);

#[derive(Debug, Error)]
pub enum EnrollError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error("could not read the join token")]
    JoinToken(#[source] FileError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An operator said no, or has to act.
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Failed(String),
    #[error(
        "nobody approved this host within {} s: an operator approves it with `pilothouse enroll approve`, and the next start \
         goes on from here", limit.as_secs()
    )]
    Undecided { limit: Duration },
}

/// Where the credentials are, and whether they were there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    pub credentials: PathBuf,
    pub host: HostId,
    pub public_key: String,
    pub new: bool,
}

/// `pilothouse-agent enroll`. None: `stop` ended first.
pub async fn enroll(settings: EnrollSettings, stop: impl Future<Output = ()>) -> Result<Option<Enrolled>, EnrollError> {
    let data = Arc::new(DataDir::open(&settings.data_dir)?);
    let mut enroller = Enroller::open(settings, data)?;
    let mut stop = pin!(stop);
    tokio::select! {
        () = &mut stop => Ok(None),
        enrolled = enroller.obtain() => enrolled.map(Some),
    }
}

pub struct Enroller {
    settings: EnrollSettings,
    data: Arc<DataDir>,
    files: Arc<AuthFiles>,
    /// Where in the last third of a lifetime this host renews, so that a fleet does not renew at once.
    spread: u16,
    /// How fast the machine's clock runs: 1, but in tests.
    clock_rate: u32,
}

impl Enroller {
    pub fn open(settings: EnrollSettings, data: Arc<DataDir>) -> Result<Enroller, EnrollError> {
        let files = Arc::new(AuthFiles::open(&data, &settings)?);
        let spread = u16::from_le_bytes(trust::random_bytes()) % 1001;
        Ok(Enroller { settings, data, files, spread, clock_rate: 1 })
    }

    /// Credentials that have not ended: those that are there, or new ones as soon as an operator approves.
    pub async fn obtain(&mut self) -> Result<Enrolled, EnrollError> {
        if self.settings.again {
            self.look_for_revocation().await?;
        }
        if let Some(credential) = self.usable()? {
            return Ok(self.enrolled(credential.public_key, false));
        }
        let again = std::mem::take(&mut self.settings.again);
        let driven = self.drive(again);
        match self.settings.timeout {
            None => driven.await?,
            Some(limit) => timeout(limit, driven).await.unwrap_or(Err(EnrollError::Undecided { limit }))?,
        }
        Ok(self.enrolled(self.files.key()?.public_key(), true))
    }

    /// Renews the credentials in the last third of their lifetime, again and again. A refusal ends that and nothing else.
    pub async fn keep(&self) -> Infallible {
        loop {
            let credential = match self.renewable() {
                Ok(Some(credential)) => credential,
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(error = causes(&error), "the NATS credentials cannot be renewed");
                    break;
                }
            };
            let Some(due) = credential.renew_at(self.spread) else { break };
            wait_until(due).await;
            match self.drive(false).await {
                Ok(()) => tracing::info!(host = %self.files.host, "NATS credentials renewed"),
                Err(error @ EnrollError::Refused(_)) => {
                    tracing::error!(%error, "the NATS credentials are not renewed");
                    break;
                }
                Err(error) => {
                    tracing::error!(error = causes(&error), "the NATS credentials are not renewed yet");
                    wait_until(Timestamp::now() + credential.retry_after()).await;
                }
            }
        }
        std::future::pending().await
    }

    /// Credentials do not show that they were revoked; the control plane does. Asked only before another attempt that the
    /// operator wants.
    async fn look_for_revocation(&self) -> Result<(), EnrollError> {
        let (Some(_), Some(enrollment)) = (self.files.credential()?, self.files.issued()?) else { return Ok(()) };
        let api = EnrollApi::new(&self.settings, self.files.clone(), self.data.clone())?;
        for url in 0..self.settings.urls.len() {
            match api.ask(url, &enrollment).await {
                Ok(State::Revoked) => {
                    return Ok(self.files.save_known(&Known { enrollment: None, refused: Some(Refused::Revoked) })?);
                }
                Ok(_) => return Ok(()),
                Err(error) => tracing::warn!(%error, "could not ask whether this host was revoked"),
            }
        }
        Ok(())
    }

    /// The credentials that are there, unless they have ended or the operator wants others.
    fn usable(&self) -> Result<Option<Credential>, EnrollError> {
        let (known, now) = (self.files.known()?, Timestamp::now());
        let Some(credential) = self.files.credential()? else { return Ok(None) };
        if known.refused.is_some() && self.settings.again {
            return Ok(None);
        }
        if let Some(ended) = credential.ended(now) {
            tracing::warn!(%ended, "the NATS credentials have ended; enrolling again");
            return Ok(None);
        }
        // A renewal that a crash interrupted goes on; what is left of anything else is over.
        let renews = credential.renew_at(0).is_some_and(|due| due <= now);
        if known.enrollment.is_some() && !renews {
            self.files.save_known(&Known::default())?;
        }
        Ok(Some(credential))
    }

    /// None: there are none, or they are of a key that is not here.
    fn renewable(&self) -> Result<Option<Credential>, EnrollError> {
        let (credential, key) = (self.files.credential()?, self.files.known_key()?);
        Ok(credential.filter(|credential| key.is_some_and(|key| key.public_key() == credential.public_key)))
    }

    async fn drive(&self, again: bool) -> Result<(), EnrollError> {
        let mut api = EnrollApi::new(&self.settings, self.files.clone(), self.data.clone())?;
        let mut known = self.files.known()?;
        let seed = u64::from_le_bytes(trust::random_bytes());
        let mut machine = Machine::new(self.settings.urls.len(), known.clone(), again, seed);
        let (started, mut announced) = (Instant::now(), None);
        let elapsed = || started.elapsed() * self.clock_rate;
        loop {
            if *machine.known() != known {
                known = machine.known().clone();
                self.files.save_known(&known)?;
            }
            match machine.next(elapsed()) {
                Next::Do(action) => {
                    if let Action::Follow { enrollment, .. } | Action::Ask { enrollment, .. } = &action
                        && announced.as_ref() != Some(enrollment)
                    {
                        let (host, key) = (&self.files.host, api.fingerprint());
                        tracing::info!(%host, enrollment, fingerprint = key, "waiting for an operator to approve this host and its key");
                        announced = Some(enrollment.clone());
                    }
                    let input = api.perform(action).await;
                    machine.handle(input, elapsed());
                }
                Next::Wait(until) => sleep_until(started + until / self.clock_rate).await,
                Next::Done => return Ok(()),
                Next::Stop(Stop::Refused(why)) => return Err(EnrollError::Refused(why)),
                Next::Stop(Stop::Failed(why)) => return Err(EnrollError::Failed(why)),
            }
        }
    }

    fn enrolled(&self, public_key: String, new: bool) -> Enrolled {
        Enrolled { credentials: self.files.credentials_path(), host: self.files.host.clone(), public_key, new }
    }
}

/// By the time of day.
async fn wait_until(due: Timestamp) {
    loop {
        let left = due.duration_since(Timestamp::now());
        if left <= SignedDuration::ZERO {
            return;
        }
        sleep(left.unsigned_abs().min(LOOK)).await;
    }
}

#[cfg(test)]
mod tests;
