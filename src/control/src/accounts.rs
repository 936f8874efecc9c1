//! Revocations on their way to the servers: the account's JWT lists the keys whose credentials count no more. The facts say
//! which; a record, moved by compare-and-set, holds the newest JWT, so that issue times only grow on any number of replicas;
//! each change is pushed to all servers, and pushed again now and then for those that join.
//!
//! Every replica that holds the operator's signing key does this. Two that do it at once agree.

use crate::control::Control;
use crate::execute::now;
use async_nats::Client;
use domain::enrollment::Event as HostEvent;
use domain::{Aggregate, Event, Recorded};
use futures_util::StreamExt;
use journal::{Bucket, Record, StoreError};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::Instant;
use trust::nats::{AccountSigner, NatsError};

const SUBJECT: &str = "$SYS.REQ.CLAIMS.UPDATE";
const KEY: &str = "clients";
const CAUGHT_UP_PAUSE: Duration = Duration::from_millis(20);
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// A server that joins knows the account as it was made until then.
const PUSH_EVERY: Duration = Duration::from_secs(15);
/// How long the first server may take to answer, and the others after it.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(5);
const OTHER_ANSWERS_MAX: Duration = Duration::from_millis(500);
/// How often a record that others write too is written before giving up.
const ATTEMPTS_MAX: u32 = 8;

#[derive(Debug, Error)]
pub enum PushError {
    #[error("the account's record cannot be read or written")]
    Store(#[from] StoreError),
    #[error("the account's JWT {0}")]
    Jwt(#[from] NatsError),
    #[error("NATS does not take the account's JWT: {0}")]
    Nats(String),
    #[error("no server answered")]
    NoAnswer,
    #[error("{refused} of {all} servers refused: {reason}")]
    Refused { refused: usize, all: usize, reason: String },
    #[error("other replicas write the account's record all the time")]
    Contended,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    jwt: String,
    /// The keys among its revocations that the facts answer for.
    managed: Vec<String>,
}

/// One server's answer.
#[derive(Deserialize)]
struct Reply {
    data: Option<ReplyData>,
    error: Option<ReplyError>,
}

#[derive(Deserialize)]
struct ReplyData {
    code: u16,
}

#[derive(Deserialize)]
struct ReplyError {
    #[serde(default)]
    description: String,
}

/// Keeps the servers' list up to date for as long as the replica runs. `client` is a user of the system account.
pub async fn run(control: Control, client: Client, signer: AccountSigner) {
    let mut facts = control.views().listen();
    while !control.is_caught_up() {
        tokio::time::sleep(CAUGHT_UP_PAUSE).await;
    }
    loop {
        let pause = match settle(&control, &client, &signer).await {
            Ok(servers) => {
                tracing::debug!(servers, "the account's JWT is with the servers");
                control.set_revocations_behind(None);
                PUSH_EVERY
            }
            Err(e) => {
                tracing::error!(error = &e as &dyn std::error::Error, "revocations are not with all servers yet");
                control.set_revocations_behind(Some(format!("revocations are not with all NATS servers yet: {e}")));
                RETRY_PAUSE
            }
        };
        wait(&mut facts, pause).await;
    }
}

/// On a replica that does not hold the key: tells when nobody else makes revocations known.
pub async fn look_on(control: Control) {
    let mut missing_since: Option<Instant> = None;
    loop {
        tokio::time::sleep(PUSH_EVERY).await;
        let kept = match control.records().get(Bucket::Accounts, KEY).await {
            Ok(record) => record.and_then(|record| rmp_serde::from_slice::<Kept>(&record.value).ok()),
            Err(_) => continue,
        };
        let managed = kept.map(|kept| kept.managed).unwrap_or_default();
        let wanted = control.views().read().enrollments.revocations(now());
        missing_since = match wanted.keys().all(|key| managed.contains(key)) {
            true => None,
            false => missing_since.or_else(|| Some(Instant::now())),
        };
        let is_late = missing_since.is_some_and(|since| since.elapsed() >= PUSH_EVERY);
        let warning = "hosts are revoked and NATS does not know: no replica has keys.operator_signing_key";
        control.set_revocations_behind(is_late.then(|| warning.to_owned()));
    }
}

/// Until a fact revokes something, or the pause is over.
async fn wait(facts: &mut Receiver<Arc<Recorded>>, pause: Duration) {
    let asleep = tokio::time::sleep(pause);
    tokio::pin!(asleep);
    let mut woken = false;
    while !woken {
        woken = tokio::select! {
            fact = facts.recv() => match fact {
                Ok(fact) => revokes(&fact),
                Err(RecvError::Lagged(_)) => true,
                Err(RecvError::Closed) => std::future::pending().await,
            },
            () = &mut asleep => true,
        };
    }
    while !matches!(facts.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
}

fn revokes(fact: &Recorded) -> bool {
    let (Aggregate::Enrollment { .. }, Event::Enrollment(event)) = (&fact.aggregate, &fact.envelope.event) else {
        return false;
    };
    match event {
        HostEvent::Revoked(_) => true,
        HostEvent::Submitted(fact) => fact.supersedes.is_some(),
        _ => false,
    }
}

/// Brings record and servers to what the facts say; returns how many servers have it.
async fn settle(control: &Control, client: &Client, signer: &AccountSigner) -> Result<usize, PushError> {
    for _ in 0..ATTEMPTS_MAX {
        let found = control.records().get(Bucket::Accounts, KEY).await?;
        let told = lookup(client, signer.account_id()).await;
        match advance(control, signer, found, &told).await {
            Ok(jwt) => return push(client, &jwt).await,
            Err(PushError::Store(StoreError::Conflict)) => {}
            Err(e) => return Err(e),
        }
    }
    Err(PushError::Contended)
}

/// The JWT that says what the facts say, kept. It follows the newest one that is known, so that what somebody changed by hand
/// (an operator's revocation) stays.
async fn advance(
    control: &Control,
    signer: &AccountSigner,
    found: Option<Record>,
    told: &str,
) -> Result<String, PushError> {
    let now = now();
    let wanted = control.views().read().enrollments.revocations(now);
    let kept = found.as_ref().map(|record| rmp_serde::from_slice::<Kept>(&record.value));
    let kept = kept.transpose().map_err(|e| StoreError::Corrupt(e.to_string()))?;
    let first = || Kept { jwt: signer.first().to_owned(), managed: Vec::new() };
    let kept = kept.unwrap_or_else(first);
    let newest = signer.newest(&[&kept.jwt, signer.first(), told]).unwrap_or(signer.first());
    let Some(jwt) = signer.revoke(newest, &kept.managed, &wanted, now)? else { return Ok(newest.to_owned()) };
    let managed = wanted.into_keys().collect();
    let value = rmp_serde::to_vec_named(&Kept { jwt: jwt.clone(), managed });
    let value = value.map_err(|e| StoreError::Corrupt(e.to_string()))?.into();
    match found {
        Some(record) => control.records().update(Bucket::Accounts, KEY, value, record.revision).await?,
        None => control.records().create(Bucket::Accounts, KEY, value).await?,
    };
    Ok(jwt)
}

/// What a server believes now; nothing when none says so.
async fn lookup(client: &Client, account_id: &str) -> String {
    let asked = client.request(format!("$SYS.REQ.ACCOUNT.{account_id}.CLAIMS.LOOKUP"), "".into());
    let answer = tokio::time::timeout(FIRST_ANSWER_MAX, asked).await;
    let payload = answer.ok().and_then(Result::ok).map(|message| message.payload);
    payload.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok()).unwrap_or_default()
}

async fn push(client: &Client, jwt: &str) -> Result<usize, PushError> {
    let failed = |e: &dyn std::error::Error| PushError::Nats(e.to_string());
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.map_err(|e| failed(&e))?;
    client.publish_with_reply(SUBJECT, inbox, jwt.to_owned().into()).await.map_err(|e| failed(&e))?;
    client.flush().await.map_err(|e| failed(&e))?;
    let (mut all, mut refusals) = (0, Vec::new());
    let mut deadline = Instant::now() + FIRST_ANSWER_MAX;
    while let Ok(Some(answer)) = tokio::time::timeout_at(deadline, answers.next()).await {
        all += 1;
        deadline = deadline.min(Instant::now() + OTHER_ANSWERS_MAX);
        refusals.extend(refusal(&answer.payload));
    }
    match (all, refusals.first()) {
        (0, _) => Err(PushError::NoAnswer),
        (all, None) => Ok(all),
        (all, Some(reason)) => Err(PushError::Refused { refused: refusals.len(), all, reason: reason.clone() }),
    }
}

/// None: the server has the JWT. One that has not needed the account so far says so too; it takes it when it does.
fn refusal(payload: &[u8]) -> Option<String> {
    match serde_json::from_slice::<Reply>(payload) {
        Ok(Reply { error: None, data: Some(data) }) if data.code == 200 => None,
        Ok(Reply { error: Some(error), .. }) => Some(error.description),
        Ok(Reply { .. }) | Err(_) => Some("an answer that says nothing".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_yes_is_one() {
        let yes = br#"{"server":{"name":"n"},"data":{"account":"A","code":200,"message":"jwt updated"}}"#;
        assert_eq!(refusal(yes), None);
        let no = br#"{"server":{},"error":{"account":"A","code":500,"description":"jwt update resulted in error"}}"#;
        assert_eq!(refusal(no).as_deref(), Some("jwt update resulted in error"));
        for odd in [&b""[..], b"{}", b"garbage", br#"{"data":{"code":404}}"#] {
            assert!(refusal(odd).is_some());
        }
    }
}
