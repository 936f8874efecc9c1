//! Connections to NATS. A connection mends itself for as long as it lives; what the server refuses is logged, because a denied
//! publish has no other answer than silence.

use crate::permissions::Role;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use std::time::Duration;
use thiserror::Error;
use tokio::time::Instant;

/// How long one attempt may take.
const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(3);
const PAUSE_MIN_MS: u64 = 10;
const PAUSE_MAX_MS: u64 = 1_000;
/// How long a request waits unless it says otherwise.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages that a subscription holds for a reader that is busy. The server stops sending at 32 MiB without an answer from us,
/// so this has to take 32 MiB of the smallest facts; it costs memory only when it fills.
const SUBSCRIPTION_MESSAGES_MAX: usize = 512 * 1024;

#[derive(Debug, Error)]
pub enum ConnectError {
    #[error("{0:?} is not the address of a NATS server, such as nats://127.0.0.1:4222")]
    Address(String),
    /// The text itself stays out of the message: it is a secret.
    #[error("the NATS credentials cannot be read: they must be the text of a .creds file")]
    Credentials,
    #[error("the NATS server at {servers} refused the credentials of the {role} user")]
    Refused {
        servers: String,
        role: &'static str,
        #[source]
        source: async_nats::ConnectError,
    },
    #[error("no NATS server answered at {servers}")]
    Unreachable {
        servers: String,
        #[source]
        source: async_nats::ConnectError,
    },
}

/// Connects with the text of a `.creds` file (`None`: a server without authentication). A server that is not up yet is tried
/// again until `patience` is over; refused credentials are not tried again.
pub async fn connect(
    servers: &[String],
    creds: Option<&str>,
    role: Role,
    patience: Duration,
) -> Result<Client, ConnectError> {
    let options = || match creds {
        Some(text) => ConnectOptions::with_credentials(text).map_err(|_| ConnectError::Credentials),
        None => Ok(ConnectOptions::new()),
    };
    connect_with(servers, options, role, patience).await
}

/// The same with other ways to authenticate: `options` holds nothing but those.
pub async fn connect_with(
    servers: &[String],
    options: impl Fn() -> Result<ConnectOptions, ConnectError>,
    role: Role,
    patience: Duration,
) -> Result<Client, ConnectError> {
    let addresses = servers
        .iter()
        .map(|server| server.parse().map_err(|_| ConnectError::Address(server.clone())))
        .collect::<Result<Vec<ServerAddr>, _>>()?;
    let deadline = Instant::now() + patience;
    let mut attempt = 0;
    loop {
        let source = match common(options()?, role).connect(addresses.clone()).await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        let servers = servers.join(", ");
        if matches!(source.kind(), ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication) {
            return Err(ConnectError::Refused { servers, role: role.name(), source });
        }
        attempt += 1;
        let pause = reconnect_pause(attempt);
        if Instant::now() + pause >= deadline {
            return Err(ConnectError::Unreachable { servers, source });
        }
        tokio::time::sleep(pause).await;
    }
}

fn common(options: ConnectOptions, role: Role) -> ConnectOptions {
    options
        .name(format!("pilothouse {}", role.name()))
        .custom_inbox_prefix(role.inbox_prefix())
        .connection_timeout(ATTEMPT_TIME_MAX)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .subscription_capacity(SUBSCRIPTION_MESSAGES_MAX)
        .reconnect_delay_callback(reconnect_pause)
        .event_callback(move |event| async move { log(role, &event) })
}

/// Doubles from 10 ms to 1 s.
fn reconnect_pause(attempt: usize) -> Duration {
    let doubled = PAUSE_MIN_MS << attempt.saturating_sub(1).min(10);
    Duration::from_millis(doubled.min(PAUSE_MAX_MS))
}

fn log(role: Role, event: &Event) {
    let user = role.name();
    match event {
        Event::ServerError(_) | Event::ClientError(_) => {
            tracing::error!(user, %event, "nats refused something, such as a subject that this user may not use");
        }
        Event::SlowConsumer(_) => tracing::warn!(user, %event, "messages were dropped; the follower mends itself"),
        Event::Disconnected | Event::LameDuckMode => tracing::warn!(user, %event, "nats connection"),
        Event::Connected => tracing::info!(user, %event, "nats connection"),
        // Our own doing.
        Event::Closed | Event::Draining => tracing::debug!(user, %event, "nats connection"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_a_second() {
        let pauses = [0, 1, 2, 3, 8, 1000].map(|attempt| reconnect_pause(attempt).as_millis());
        assert_eq!(pauses, [10, 10, 20, 40, 1000, 1000]);
    }
}
