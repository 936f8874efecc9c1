//! The calls of an enrollment, with the host's secret. Thin: what follows from an answer is the machine's to decide; no Debug.
//!
//! Invariant: only ids of the documents' form are signed or put into a path, so no server can have the host's key sign what
//! means something elsewhere, such as the nonce of a NATS login.

use super::EnrollError;
use super::credential;
use super::files::{AuthError, AuthFiles};
use super::machine::{Action, Challenge, FetchError, Followed, Input};
use crate::call::{CallError, causes};
use crate::client::{Auth, Call, Client, EventsError};
use crate::settings::EnrollSettings;
use crate::state::{Credentials, DataDir, StateError};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use contract::{CredsAnswer, EnrollStatus, NonceAnswer, Registered};
use domain::HostId;
use domain::enrollment::State;
use hyper::{Method, Uri};
use jiff::Timestamp;
use runtime::files::read_secret;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use trust::nats::{HostKey, NatsKey, curve_public_key};

const BASE: &str = "/api/v1/enroll";
const CHALLENGE_BYTES: usize = 32;
const ID_CHARS_MAX: usize = 64;
const HOSTNAME_BYTES_MAX: usize = 255;
/// A stream that says nothing for so long at its beginning is held back by something on the way.
const FIRST_EVENT: Duration = Duration::from_secs(30);

#[derive(Serialize)]
struct Submission<'a> {
    peel_id: &'a str,
    public_key: String,
    curve_public_key: String,
    challenge_id: &'a str,
    signature: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<&'a str>,
    metadata: BTreeMap<&'static str, String>,
}

pub struct EnrollApi {
    /// One for each URL.
    clients: Vec<Client>,
    urls: Vec<Uri>,
    files: Arc<AuthFiles>,
    data: Arc<DataDir>,
    key: NatsKey,
    hostname: Option<String>,
    join_token: Option<String>,
}

impl EnrollApi {
    /// Makes the host's key where there is none, and reads files of the operator's anew: they may have been replaced.
    pub fn new(settings: &EnrollSettings, files: Arc<AuthFiles>, data: Arc<DataDir>) -> Result<EnrollApi, EnrollError> {
        let clients = settings.urls.iter().map(|url| Client::new(url.clone(), Some(&settings.trust)));
        let clients = clients.collect::<Result<_, _>>()?;
        let token = settings.join_token_file.as_deref().map(read_secret).transpose().map_err(EnrollError::JoinToken)?;
        let plain = |name: &String| name.len() <= HOSTNAME_BYTES_MAX && !name.chars().any(char::is_control);
        Ok(EnrollApi {
            clients,
            urls: settings.urls.clone(),
            key: files.key()?,
            files,
            data,
            hostname: settings.hostname.clone().filter(plain),
            join_token: token.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()),
        })
    }

    /// What an operator compares before approving.
    pub fn fingerprint(&self) -> String {
        let key = HostKey::parse(&self.key.public_key());
        key.expect("the public half of a user's key is the key of a host").fingerprint()
    }

    pub async fn perform(&mut self, action: Action) -> Input {
        match action {
            Action::NewKey => Input::NewKey(self.new_key().map_err(|e| causes(&e))),
            Action::Challenge { url } => Input::Challenge(self.challenge(url).await),
            Action::Enroll { url, challenge } => Input::Enroll(self.enroll(url, &challenge).await),
            Action::Follow { url, enrollment } => Input::Follow(self.follow(url, &enrollment).await),
            Action::Ask { url, enrollment } => Input::Ask(self.ask(url, &enrollment).await),
            Action::Fetch { url, enrollment } => Input::Fetch(self.fetch(url, &enrollment).await),
        }
    }

    fn new_key(&mut self) -> Result<(), AuthError> {
        self.files.put_aside()?;
        self.key = self.files.key()?;
        Ok(())
    }

    async fn challenge(&self, url: usize) -> Result<Challenge, CallError> {
        // Both are of letters and signs that need no encoding.
        let path = format!("{BASE}/nonce?peel_id={}&public_key={}", self.files.host, self.key.public_key());
        let answer: NonceAnswer = self.client(url).call(self.get(&path)).await?;
        let bytes = BASE64_STANDARD.decode(&answer.challenge).unwrap_or_default();
        if bytes.len() != CHALLENGE_BYTES || !is_id("chl-", &answer.challenge_id) {
            return Err(CallError::Malformed("it is no challenge".to_owned()));
        }
        Ok(Challenge { id: answer.challenge_id, bytes })
    }

    async fn enroll(&self, url: usize, challenge: &Challenge) -> Result<(String, State), CallError> {
        let curve_public_key = curve_public_key(&self.key);
        let signed = [challenge.bytes.as_slice(), curve_public_key.as_bytes()].concat();
        let agent = format!("pilothouse-agent/{}", env!("CARGO_PKG_VERSION"));
        let (os, arch) = (std::env::consts::OS.to_owned(), std::env::consts::ARCH.to_owned());
        let submission = Submission {
            peel_id: self.files.host.as_str(),
            public_key: self.key.public_key(),
            curve_public_key,
            challenge_id: &challenge.id,
            signature: BASE64_STANDARD.encode(self.key.sign(&signed)),
            hostname: self.hostname.as_deref(),
            metadata: BTreeMap::from([("agent", agent), ("arch", arch), ("os", os)]),
        };
        let body = serde_json::to_vec(&submission).map_err(|e| CallError::Malformed(e.to_string()))?;
        let call = Call { method: Method::POST, body: Some(body), ..self.get(BASE) };
        let answer: EnrollStatus = self.client(url).call(call).await?;
        let id = answer.id.clone();
        checked(answer, &self.files.host, &id).map(|state| (id, state))
    }

    pub async fn ask(&self, url: usize, enrollment: &str) -> Result<State, CallError> {
        let path = format!("{BASE}/{enrollment}/status");
        let answer = self.client(url).call(self.get(&path)).await?;
        checked(answer, &self.files.host, enrollment)
    }

    async fn follow(&self, url: usize, enrollment: &str) -> Followed {
        let path = format!("{BASE}/{enrollment}/stream");
        let mut events = match self.client(url).events(self.get(&path)).await {
            Ok(events) => events,
            Err(EventsError::NoStream) => return Followed::NoStream,
            Err(EventsError::Call(error)) => return Followed::Failed(error),
        };
        let mut first = Some(Instant::now() + FIRST_EVENT);
        loop {
            let event = match first {
                Some(until) => timeout_at(until, events.next()).await,
                None => Ok(events.next().await),
            };
            let event = match event {
                Err(_) => return Followed::NoStream,
                Ok(Err(error)) => return Followed::Failed(error),
                Ok(Ok(None)) => return Followed::Ended,
                Ok(Ok(Some(event))) => event,
            };
            match event.kind.as_str() {
                "state" => match self.state_in(&event.data, enrollment) {
                    Ok(State::Pending) => first = None,
                    Ok(state) => return Followed::State(state),
                    Err(error) => return Followed::Failed(error),
                },
                "timeout" => return Followed::Ended,
                // A kind that is not known yet.
                _ => {}
            }
        }
    }

    fn state_in(&self, data: &str, enrollment: &str) -> Result<State, CallError> {
        let answer = serde_json::from_str(data);
        let answer = answer.map_err(|_| CallError::Malformed("an event of the stream is no state".to_owned()))?;
        checked(answer, &self.files.host, enrollment)
    }

    async fn fetch(&self, url: usize, enrollment: &str) -> Result<(), FetchError> {
        let local = |e: AuthError| FetchError::Local(causes(&e));
        let idempotency_key = self.files.idempotency_key(enrollment).map_err(local)?;
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.key.sign(enrollment.as_bytes()));
        let header = format!("Nkey {}:{signature}", self.key.public_key());
        let path = format!("{BASE}/{enrollment}/creds");
        let call = Call {
            auth: Auth::Host(&header, self.join_token.as_deref()),
            idempotency_key: Some(&idempotency_key),
            ..self.get(&path)
        };
        let answer: CredsAnswer = self.client(url).call(call).await.map_err(FetchError::Call)?;
        let unusable = |why: &str| FetchError::Unusable(format!("the credentials that the control plane sent {why}"));
        if answer.peel_id != self.files.host.as_str() {
            return Err(unusable("are for another host"));
        }
        let text = credential::open(&answer.creds_data, &self.key, Timestamp::now());
        let text = text.map_err(|e| unusable(&e.to_string()))?;
        if let Some(node) = answer.node {
            self.keep_node(node, url).map_err(|e| FetchError::Local(causes(&e)))?;
        }
        self.files.save_credentials(&text, enrollment).map_err(local)
    }

    /// The approval made this host a node: that is its registration, unless it has another one.
    fn keep_node(&self, node: Registered, url: usize) -> Result<(), StateError> {
        let known = self.data.credentials()?;
        let server = self.urls[url % self.urls.len()].to_string();
        let credentials = Credentials::new(node, self.files.host.as_str(), &server, &self.key)?;
        match known {
            Some(known) if known.node_id != credentials.node_id => {
                let (known, offered) = (known.node_id, credentials.node_id);
                tracing::warn!(known, offered, "approved as a node although registered as another one, which stays");
                return Ok(());
            }
            Some(known) if known.node_key() == credentials.node_key() => return Ok(()),
            Some(_) => {}
            None => {
                // As at every registration: what an earlier node accepted says nothing about this one.
                let mut progress = self.data.progress()?.unwrap_or_default();
                (progress.accepted, progress.failed) = (None, None);
                progress.untold.clear();
                self.data.save_progress(&progress)?;
            }
        }
        tracing::info!(node = credentials.node_id, project = credentials.project, "registered by the approval");
        // The control plane knows the node by the key that enrolled.
        self.data.save_signing_key(&self.key)?;
        self.data.save_credentials(&credentials)
    }

    fn get<'a>(&'a self, path: &'a str) -> Call<'a> {
        let auth = Auth::Join(self.join_token.as_deref());
        Call { method: Method::GET, path, auth, idempotency_key: None, body: None }
    }

    fn client(&self, url: usize) -> &Client {
        &self.clients[url % self.clients.len()]
    }
}

/// The state that an answer tells, if it is about this host and this enrollment.
fn checked(answer: EnrollStatus, host: &HostId, enrollment: &str) -> Result<State, CallError> {
    if answer.peel_id != host.as_str() || answer.id != enrollment || !is_id("enr-", enrollment) {
        return Err(CallError::Malformed("it is about another host or enrollment".to_owned()));
    }
    State::parse(&answer.state).ok_or_else(|| CallError::Malformed("it tells a state that is not known".to_owned()))
}

/// How long they are is not for clients to check; that they are short and of one word is.
fn is_id(prefix: &str, text: &str) -> bool {
    let rest = text.strip_prefix(prefix).unwrap_or_default();
    (1..=ID_CHARS_MAX).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_of_the_documents_form_are_used() {
        assert!(is_id("enr-", "enr-2JFKABCD1234567890abcdefghi") && is_id("enr-", "enr-2JFKABCD1234567890abcdef"));
        let long = format!("enr-{}", "a".repeat(ID_CHARS_MAX + 1));
        for wrong in ["", "enr-", "chl-2JFK", "Wu4z6fIoKFU0ktg", "enr-a/../b", "enr-a?b", "enr-a%2f", "enr-ä", &long] {
            assert!(!is_id("enr-", wrong), "{wrong}");
        }
    }
}
