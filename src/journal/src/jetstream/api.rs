//! Requests to the server and their answers. An answer is either what was asked for, a refusal with the server's code, or
//! silence; nothing is recognised by the text of an error.

use crate::contract::StoreError;
use async_nats::header::HeaderMap;
use async_nats::{Client, Request, StatusCode};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a call of the JetStream API may take.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// The server's error codes that mean something to us.
const STREAM_NOT_FOUND: u32 = 10059;
const NO_MESSAGE_FOUND: u32 = 10037;
const CONSUMER_NOT_FOUND: u32 = 10014;
/// A consumer of that name exists, and is another one.
const CONSUMER_EXISTS: [u32; 3] = [10013, 10105, 10148];
const MESSAGE_TOO_LARGE: u32 = 10054;
const STORE_FULL: [u32; 3] = [10023, 10047, 10077];
const WRONG_LAST_SEQUENCE: u32 = 10071;
/// On replicated streams: another write under the same expectation is in flight.
const WRONG_LAST_SEQUENCE_IN_FLIGHT: u32 = 10164;
const BATCH_DUPLICATE: u32 = 10201;

#[derive(Clone)]
pub(crate) struct Api {
    client: Client,
}

/// Why a request brought nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    Refused(Refusal),
    /// No answer, or none that can be understood: the request may have been carried out.
    Silent(String),
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Refusal {
    /// As in HTTP.
    pub code: u16,
    #[serde(default)]
    pub err_code: u32,
    #[serde(default)]
    pub description: String,
}

/// The acknowledgement of a stored message.
#[derive(Debug, Deserialize)]
pub(crate) struct Ack {
    error: Option<Refusal>,
    #[serde(default)]
    pub seq: u64,
    #[serde(default)]
    pub duplicate: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct StreamInfo {
    pub config: StreamConfig,
    pub state: StreamState,
}

#[derive(Debug, Deserialize)]
pub(crate) struct StreamConfig {
    pub num_replicas: usize,
}

#[derive(Debug, Deserialize)]
pub(crate) struct StreamState {
    pub last_seq: u64,
}

/// A stored message as the leader returns it.
#[derive(Debug)]
pub(crate) struct RawMessage {
    pub sequence: u64,
    /// RFC 3339, the server's time of storing.
    pub time: String,
    pub subject: String,
    pub payload: Bytes,
    headers: String,
}

#[derive(Deserialize)]
struct Refused {
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct GotMessage {
    message: EncodedMessage,
}

#[derive(Deserialize)]
struct EncodedMessage {
    seq: u64,
    #[serde(default)]
    time: String,
    #[serde(default)]
    subject: String,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

impl Api {
    pub fn new(client: Client) -> Api {
        Api { client }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// How often the connection was made; a change means that it broke meanwhile.
    pub fn connects(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// A call of the JetStream API; `what` is the part after `$JS.API.`.
    pub async fn call<T: DeserializeOwned>(&self, what: &str, body: Vec<u8>) -> Result<T, Failure> {
        let request = Request::new().payload(body.into()).timeout(Some(CALL_TIMEOUT));
        let answer = self.client.send_request(format!("$JS.API.{what}"), request).await.map_err(silent)?;
        if let Ok(Refused { error: Some(refusal) }) = serde_json::from_slice(&answer.payload) {
            return Err(Failure::Refused(refusal));
        }
        serde_json::from_slice(&answer.payload).map_err(silent)
    }

    /// Publishes and waits for the stream's acknowledgement.
    pub async fn publish(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
        patience: Duration,
    ) -> Result<Ack, Failure> {
        let mut request = Request::new().payload(payload).timeout(Some(patience));
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        let answer = self.client.send_request(subject, request).await.map_err(silent)?;
        let ack: Ack = serde_json::from_slice(&answer.payload).map_err(silent)?;
        match ack.error {
            Some(refusal) => Err(Failure::Refused(refusal)),
            None if ack.seq == 0 => Err(Failure::Silent("the answer is not an acknowledgement".to_owned())),
            None => Ok(ack),
        }
    }

    pub async fn info(&self, stream: &str) -> Result<StreamInfo, Failure> {
        self.call(&format!("STREAM.INFO.{stream}"), Vec::new()).await
    }

    /// The newest message of a subject, from the leader.
    pub async fn last(&self, stream: &str, subject: &str) -> Result<Option<RawMessage>, Failure> {
        self.message(stream, json!({ "last_by_subj": subject })).await
    }

    /// The first message that matches `filter` at or after `sequence`, from the leader.
    pub async fn next(&self, stream: &str, filter: &str, sequence: u64) -> Result<Option<RawMessage>, Failure> {
        self.message(stream, json!({ "seq": sequence, "next_by_subj": filter })).await
    }

    /// The first message that matches `filter` and was stored at `time` or later, from the leader.
    pub async fn next_since(
        &self,
        stream: &str,
        filter: &str,
        time: jiff::Timestamp,
    ) -> Result<Option<RawMessage>, Failure> {
        self.message(stream, json!({ "start_time": time, "next_by_subj": filter })).await
    }

    /// The message at `sequence`, from the leader.
    pub async fn at(&self, stream: &str, sequence: u64) -> Result<Option<RawMessage>, Failure> {
        self.message(stream, json!({ "seq": sequence })).await
    }

    /// The body of the newest message of a subject, from any replica: only for what is written once.
    pub async fn direct_last(&self, stream: &str, subject: &str) -> Result<Option<Bytes>, Failure> {
        self.direct(format!("$JS.API.DIRECT.GET.{stream}.{subject}"), Vec::new()).await
    }

    /// The body of the message at `sequence`, from any replica.
    pub async fn direct_at(&self, stream: &str, sequence: u64) -> Result<Option<Bytes>, Failure> {
        let body = json!({ "seq": sequence }).to_string().into_bytes();
        self.direct(format!("$JS.API.DIRECT.GET.{stream}"), body).await
    }

    async fn direct(&self, subject: String, body: Vec<u8>) -> Result<Option<Bytes>, Failure> {
        let request = Request::new().payload(body.into()).timeout(Some(CALL_TIMEOUT));
        let answer = self.client.send_request(subject, request).await.map_err(silent)?;
        match answer.status {
            None => Ok(Some(answer.payload)),
            Some(StatusCode::NOT_FOUND) => Ok(None),
            Some(status) => Err(Failure::Silent(format!("direct get was answered with status {status}"))),
        }
    }

    async fn message(&self, stream: &str, query: serde_json::Value) -> Result<Option<RawMessage>, Failure> {
        let what = format!("STREAM.MSG.GET.{stream}");
        let got: GotMessage = match self.call(&what, query.to_string().into_bytes()).await {
            Ok(got) => got,
            Err(Failure::Refused(refusal)) if refusal.err_code == NO_MESSAGE_FOUND => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let decode = |text: &str| data_encoding::BASE64.decode(text.as_bytes()).map_err(silent);
        let headers = String::from_utf8(decode(&got.message.hdrs)?).map_err(silent)?;
        let payload = decode(&got.message.data)?.into();
        let EncodedMessage { seq: sequence, time, subject, .. } = got.message;
        Ok(Some(RawMessage { sequence, time, subject, payload, headers }))
    }
}

impl RawMessage {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
    }
}

impl Failure {
    /// Somebody else wrote first.
    pub fn is_conflict(&self) -> bool {
        self.is_refused_with(&[WRONG_LAST_SEQUENCE, WRONG_LAST_SEQUENCE_IN_FLIGHT])
    }

    /// The conflict may be gone in a moment, because the other write is still open.
    pub fn is_in_flight(&self) -> bool {
        self.is_refused_with(&[WRONG_LAST_SEQUENCE_IN_FLIGHT])
    }

    /// A message id of the batch is known already.
    pub fn is_batch_duplicate(&self) -> bool {
        self.is_refused_with(&[BATCH_DUPLICATE])
    }

    pub fn is_missing_stream(&self) -> bool {
        self.is_refused_with(&[STREAM_NOT_FOUND])
    }

    pub fn is_missing_consumer(&self) -> bool {
        self.is_refused_with(&[CONSUMER_NOT_FOUND])
    }

    pub fn is_other_consumer(&self) -> bool {
        self.is_refused_with(&CONSUMER_EXISTS)
    }

    /// Trying again may help: no answer, or a server that is not ready.
    pub fn is_passing(&self) -> bool {
        match self {
            Failure::Silent(_) => true,
            Failure::Refused(refusal) => refusal.code == 503 && !STORE_FULL.contains(&refusal.err_code),
        }
    }

    fn is_refused_with(&self, codes: &[u32]) -> bool {
        matches!(self, Failure::Refused(refusal) if codes.contains(&refusal.err_code))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Refused(refusal) => write!(f, "{} (server code {})", refusal.description, refusal.err_code),
            Failure::Silent(cause) => f.write_str(cause),
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> StoreError {
        match failure {
            conflict if conflict.is_conflict() => StoreError::Conflict,
            Failure::Refused(refusal)
                if refusal.err_code == MESSAGE_TOO_LARGE || STORE_FULL.contains(&refusal.err_code) =>
            {
                StoreError::TooLarge(refusal.description)
            }
            failure => StoreError::Unavailable(failure.to_string()),
        }
    }
}

fn silent(cause: impl std::fmt::Display) -> Failure {
    Failure::Silent(cause.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_refusal_is_told_by_its_code() {
        let ack: Ack = serde_json::from_str(
            r#"{"error":{"code":400,"err_code":10164,"description":"anything"},"stream":"FLEET","seq":0}"#,
        )
        .unwrap();
        let failure = Failure::Refused(ack.error.unwrap());
        assert!(failure.is_conflict() && failure.is_in_flight() && !failure.is_passing());
        assert!(matches!(StoreError::from(failure), StoreError::Conflict));
        assert!(Failure::Silent("timed out".to_owned()).is_passing());
    }

    #[test]
    fn headers_read_back() {
        let headers = "NATS/1.0\r\nNats-Msg-Id: a.0\r\nKV-Operation:DEL\r\n\r\n".to_owned();
        let (time, subject) = (String::new(), String::new());
        let message = RawMessage { sequence: 1, time, subject, payload: Bytes::new(), headers };
        assert_eq!(message.header("Nats-Msg-Id"), Some("a.0"));
        assert_eq!(message.header("KV-Operation"), Some("DEL"));
        assert_eq!(message.header("Nats"), None);
    }
}
