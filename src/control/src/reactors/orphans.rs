//! Sweeps credential records whose fact never came, or whose owner was deleted while the store was away. They open nothing,
//! because the fact decides; they only take up room. The same for consumers of subscribers.

use crate::control::Control;
use crate::execute::now;
use domain::subscriber::{self, Subscriber};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

const SWEEP_EVERY: Duration = Duration::from_secs(600);
/// A command ends long before this; an older record without a fact will never get one.
const AGE_MIN: SignedDuration = SignedDuration::from_mins(30);

pub(crate) async fn run(control: Control) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        if control.credentials().is_caught_up() && control.catch_up().await.is_ok() {
            let before = now().saturating_sub(AGE_MIN).unwrap_or(Timestamp::MIN);
            sweep(&control, before).await;
            sweep_durables(&control, before).await;
        }
    }
}

pub(crate) async fn sweep(control: &Control, before: Timestamp) {
    let orphans = {
        let state = control.views().read();
        let live = |id| state.orgs.api_key(id).is_some_and(|key| key.revoked_at.is_none());
        let valid = |id| state.join_tokens.get(id).is_some_and(|token| token.revoked_at.is_none());
        control.credentials().orphans(before, |id| state.nodes.get(id).is_some(), live, valid)
    };
    for key in orphans {
        tracing::info!(key = key.split('.').next(), "credential without an owner removed");
        control.drop_credential(key).await;
    }
}

/// A consumer that is no subscriber's by its name is left alone.
pub(crate) async fn sweep_durables(control: &Control, before: Timestamp) {
    let durables = match control.durables().durables().await {
        Ok(durables) => durables,
        Err(e) => {
            tracing::warn!(error = &e as &dyn std::error::Error, "consumers not looked through");
            return;
        }
    };
    for durable in durables.into_iter().filter(|durable| durable.created_at < before) {
        let Some(owner) = subscriber::owner_of_durable(&durable.name) else { continue };
        if control.views().read().subscribers.get(&owner).is_some_and(Subscriber::is_live) {
            continue;
        }
        match control.durables().remove_durable(&durable.name).await {
            Ok(()) => tracing::info!(%owner, "consumer without a subscriber removed"),
            Err(e) => tracing::warn!(%owner, error = &e as &dyn std::error::Error, "consumer not removed yet"),
        }
    }
}
