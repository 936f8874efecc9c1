//! `pilothouse-agent run`: takes the data directory, enrolls the host where that is asked for, mends what a crash left, and
//! drives the machine until told to stop.

use crate::activation::{Activation, Commands};
use crate::client::{Client, TlsError};
use crate::driver::Driver;
use crate::enroll::{EnrollError, Enroller};
use crate::machine::{Machine, Pace};
use crate::node_api::NodeApi;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::state::{Credentials, DataDir, StateError};
use crate::store::{Store, StoreError};
use bundle::UnpackLimits;
use std::pin::pin;
use std::sync::Arc;
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::Instant;

#[derive(Debug, Error)]
pub enum RunError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(
        "this data directory belongs to a node of the project {registered}, not of {wanted}: choose another data_dir"
    )]
    OtherProject { registered: String, wanted: String },
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    #[error("{0}")]
    Refused(String),
    #[error("a task of the agent failed: {0}")]
    Crashed(String),
}

/// Runs until `stop` ends or until the control plane refuses this node in a way that only an operator can change.
pub async fn run(settings: Settings, stop: impl Future<Output = ()>) -> Result<(), RunError> {
    let mut stop = pin!(stop);
    let client = Client::new(settings.server_url.clone(), settings.trust.as_ref())?;
    let data = Arc::new(DataDir::open(&settings.data_dir)?);
    let mut enroller =
        settings.enrollment.clone().map(|settings| Enroller::open(settings, data.clone())).transpose()?;
    if let Some(enroller) = &mut enroller {
        tokio::select! {
            () = &mut stop => return Ok(()),
            enrolled = enroller.obtain() => {
                let enrolled = enrolled?;
                tracing::info!(host = %enrolled.host, key = enrolled.public_key, new = enrolled.new, "NATS credentials are there");
            }
        }
    }
    let store = Store::open(data.path())?;
    store.clean()?;
    let credentials = data.credentials()?;
    let identity = credentials.as_ref().map(|known| check(known, &settings)).transpose()?;
    let signing_key = data.signing_key()?;
    let mut progress = known_progress(&data, &store, credentials.is_some())?;
    if credentials.is_some() {
        data.end_registration()?;
    }
    let activation = Activation {
        data: data.clone(),
        store,
        commands: Commands::of(&settings),
        keep_bundles: settings.keep_bundles,
    };
    if progress.switching {
        tracing::warn!("an activation was interrupted; going back to the bundle that was active");
        tokio::select! {
            () = &mut stop => return Ok(()),
            () = activation.recover(&mut progress) => {}
        }
    } else if let Some(active) = &progress.active
        && activation.store.current().as_ref() != Some(&active.digest)
    {
        tracing::warn!("`current` does not lead to the active bundle; it does again");
        activation.store.point(&active.digest)?;
    }
    let pace = Pace { poll: settings.poll_interval, wait: settings.wait, heartbeat: settings.heartbeat_interval };
    let seed = u64::from_le_bytes(trust::random_bytes());
    let bytes_max = UnpackLimits::default().archive_bytes_max;
    let driver = Driver {
        machine: Machine::new(pace, bytes_max, identity, progress, seed),
        api: Arc::new(NodeApi::new(client, settings, data, credentials, signing_key)),
        activation,
        started: Instant::now(),
        tasks: JoinSet::new(),
    };
    let renewing = async {
        match &enroller {
            Some(enroller) => enroller.keep().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = driver.run(stop) => ended,
        never = renewing => match never {},
    }
}

fn check(credentials: &Credentials, settings: &Settings) -> Result<crate::offer::Identity, RunError> {
    if credentials.project != settings.project.as_str() {
        let (registered, wanted) = (credentials.project.clone(), settings.project.to_string());
        return Err(RunError::OtherProject { registered, wanted });
    }
    let identity = credentials.identity()?;
    if identity.keys.is_empty() {
        tracing::error!("the registration brought no bundle keys, so every bundle will be refused; register anew");
    }
    Ok(identity)
}

fn known_progress(data: &DataDir, store: &Store, registered: bool) -> Result<Progress, RunError> {
    let mut progress = data.progress()?.unwrap_or_default();
    if !registered {
        // Assignments name their node, so what an earlier one accepted says nothing about this one.
        progress.accepted = None;
        progress.failed = None;
        progress.untold.clear();
    }
    for bundle in [&mut progress.active, &mut progress.previous] {
        let gone = bundle.take_if(|bundle| !store.has(&bundle.digest));
        if let Some(gone) = gone {
            tracing::error!(bundle = %gone.id, "the files of this bundle are gone; it counts as never activated");
        }
    }
    data.save_progress(&progress)?;
    Ok(progress)
}

#[cfg(test)]
#[path = "run/tests.rs"]
mod tests;
