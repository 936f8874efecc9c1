//! Waits until something has probably changed: a fact was committed, or a while has passed. A wake-up is only a hint; whoever
//! is woken reads again.

use crate::client::fact_position;
use crate::error::CliError;
use crate::session::Session;
use async_nats::Subscriber;
use futures_util::{FutureExt, StreamExt};
use std::time::Duration;

/// Facts can be lost with the connection, and a credential may not be allowed to follow them.
const FALLBACK: Duration = Duration::from_secs(2);
/// A busy project commits faster than a person reads.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Waker {
    facts: Option<Subscriber>,
}

impl Waker {
    /// `subject` is a filter over committed facts.
    pub async fn new(session: &mut Session<'_>, subject: &str) -> Result<Waker, CliError> {
        Ok(Waker { facts: Some(session.client().await?.follow(subject).await?) })
    }

    /// The next read shows at least what woke it.
    pub async fn wait(&mut self, session: &mut Session<'_>) -> Result<(), CliError> {
        let first = match &mut self.facts {
            Some(facts) => tokio::time::timeout(FALLBACK, facts.next()).await,
            None => {
                tokio::time::sleep(FALLBACK).await;
                return Ok(());
            }
        };
        let (Ok(Some(first)), Some(facts)) = (&first, &mut self.facts) else {
            if matches!(first, Ok(None)) {
                // The server ended the subscription; from now on only time wakes.
                self.facts = None;
            }
            return Ok(());
        };
        let mut newest = fact_position(first);
        tokio::time::sleep(PAUSE).await;
        while let Some(Some(fact)) = facts.next().now_or_never() {
            newest = newest.max(fact_position(&fact));
        }
        if let Some(position) = newest {
            session.client().await?.saw(position);
        }
        Ok(())
    }
}
