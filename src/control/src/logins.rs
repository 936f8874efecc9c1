//! The first login of a host with its credentials: nats-server tells of every login in an account, and the key that logged in
//! is one that the server has checked.

use crate::control::Control;
use crate::execute::{Decision, Fact, Meta};
use crate::operations::enroll::aggregate;
use async_nats::Client;
use contract::ApiError;
use domain::Event;
use domain::enrollment::{self, State as Stage};
use futures_util::StreamExt;
use serde::Deserialize;
use std::time::Duration;
use views::State;

const RETRY_PAUSE: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Login {
    client: LoggedIn,
}

#[derive(Deserialize)]
struct LoggedIn {
    /// Public key of the user.
    #[serde(default)]
    user: String,
}

/// Listens for as long as the replica runs. `client` is a user of the system account, `account_id` the hosts' account.
pub async fn run(control: Control, client: Client, account_id: String) {
    loop {
        match client.subscribe(format!("$SYS.ACCOUNT.{account_id}.CONNECT")).await {
            Ok(mut logins) => {
                while let Some(message) = logins.next().await {
                    if let Ok(login) = serde_json::from_slice::<Login>(&message.payload)
                        && let Err(e) = seen(&control, &login.client.user).await
                    {
                        tracing::warn!(error = &e as &dyn std::error::Error, "a host's first login is not on record");
                    }
                }
            }
            Err(e) => tracing::warn!(error = &e as &dyn std::error::Error, "logins are not heard"),
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// The key's host was seen with its credentials.
pub(crate) async fn seen(control: &Control, public_key: &str) -> Result<(), ApiError> {
    let Some(id) = issued(&control.views().read(), public_key) else { return Ok(()) };
    let meta = Meta::system(&["enrollment activated", id.as_str()]);
    let decide = |state: &State| {
        let Some((host, enrollment)) = state.enrollments.get(&id) else { return Ok(Decision::Nothing(())) };
        Ok(match enrollment::activate(enrollment) {
            Some(event) => {
                let fact = Fact::next(aggregate(host), host.position, Event::Enrollment(event));
                Decision::Append(Box::new(fact), ())
            }
            None => Decision::Nothing(()),
        })
    };
    control.commit(&meta, decide).await.map(drop)
}

fn issued(state: &State, public_key: &str) -> Option<domain::EnrollmentId> {
    let current = state.enrollments.host_of_key(public_key)?.current();
    (current.state == Stage::Issued).then(|| current.id.clone())
}
