//! The switch to a bundle, and back when its command fails.
//!
//! Invariant: the assignment is on disk before `current` changes, and the outcome before anything is reported. Whatever
//! happens in between, `switching` on disk says so, and [`Activation::recover`] leads back to the active bundle.

use crate::call::{causes, printable};
use crate::command;
use crate::machine::Activated;
use crate::progress::{Bundle, Progress, Target};
use crate::settings::{CommandLine, Settings};
use crate::state::DataDir;
use crate::store::{Store, StoreError};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// What a heartbeat carries at most.
const ERROR_CHARS_MAX: usize = 1000;

/// The operator's programs.
#[derive(Clone, Debug)]
pub struct Commands {
    pub activate: Option<CommandLine>,
    pub check: Option<CommandLine>,
    pub limit: Duration,
}

impl Commands {
    pub fn of(settings: &Settings) -> Commands {
        Commands {
            activate: settings.command.clone(),
            check: settings.check_command.clone(),
            limit: settings.command_timeout,
        }
    }

    pub async fn check(&self, store: &Store, bundle: &Bundle) -> Result<(), String> {
        self.run(self.check.as_ref(), store, bundle).await.map_err(|e| format!("check command: {e}"))
    }

    async fn activate(&self, store: &Store, bundle: &Bundle) -> Result<(), String> {
        self.run(self.activate.as_ref(), store, bundle).await
    }

    async fn run(&self, line: Option<&CommandLine>, store: &Store, bundle: &Bundle) -> Result<(), String> {
        let Some(line) = line else { return Ok(()) };
        command::run(line, bundle, &store.bundle(&bundle.digest), self.limit).await
    }
}

#[derive(Clone)]
pub struct Activation {
    pub data: Arc<DataDir>,
    pub store: Store,
    pub commands: Commands,
    pub keep_bundles: usize,
}

impl Activation {
    pub async fn activate(&self, target: &Target, before: Progress) -> Activated {
        let mut progress = before.clone();
        progress.begin(target);
        if let Err(error) = self.data.save_progress(&progress) {
            return Activated {
                progress: before,
                postponed: Some(format!("could not keep the assignment: {}", causes(&error))),
            };
        }
        match self.switch(&target.bundle).await {
            Ok(()) => {
                tracing::info!(bundle = %target.bundle.id, version = %target.bundle.version, "bundle active");
                progress.succeed(target);
                progress.tell(target, Timestamp::now());
            }
            Err(error) => {
                tracing::error!(bundle = %target.bundle.id, error, "activation failed, going back");
                progress.fail(target, error);
                self.save(&progress);
                self.recover(&mut progress).await;
            }
        }
        self.save(&progress);
        self.prune(&progress);
        Activated { progress, postponed: None }
    }

    /// Leads back to the active bundle when an activation failed or was interrupted, and runs its command again.
    pub async fn recover(&self, progress: &mut Progress) {
        let back = match progress.active.clone() {
            Some(active) => self.switch(&active).await,
            None => self.store.unpoint().map_err(|e| causes(&e)),
        };
        match back {
            Ok(()) => progress.recover(),
            Err(error) => {
                tracing::error!(error, "could not go back to the bundle that was active");
                // Without the link to it the next start tries again; with it only the command failed, which repeats nothing.
                if self.store.current().as_deref() == progress.active.as_ref().map(|active| active.digest.as_str()) {
                    progress.recover();
                }
                if let Some(failed) = &mut progress.failed {
                    failed.error =
                        printable(&format!("{}; going back failed too: {error}", failed.error), ERROR_CHARS_MAX);
                }
            }
        }
        self.save(progress);
    }

    /// Called when the agent stops: `current` leads to the active bundle again; the command follows at the next start.
    pub fn abandon(&self, progress: &Progress) -> Result<(), StoreError> {
        match &progress.active {
            Some(active) => self.store.point(&active.digest),
            None => self.store.unpoint(),
        }
    }

    async fn switch(&self, bundle: &Bundle) -> Result<(), String> {
        self.store.point(&bundle.digest).map_err(|e| causes(&e))?;
        self.commands.activate(&self.store, bundle).await
    }

    fn save(&self, progress: &Progress) {
        if let Err(error) = self.data.save_progress(progress) {
            tracing::error!(
                error = causes(&error),
                "could not keep the state; an interrupted activation is what the next start will see"
            );
        }
    }

    fn prune(&self, progress: &Progress) {
        if let Err(error) = self.store.prune(self.keep_bundles, &progress.in_use()) {
            tracing::warn!(%error, "could not remove old bundles");
        }
    }
}

#[cfg(test)]
#[path = "activation/tests.rs"]
mod tests;
