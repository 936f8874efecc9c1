//! The calls that a node makes, with its secrets. The one place that holds them while the agent runs; no Debug.

use crate::call::CallError;
use crate::client::{Auth, Call, Client};
use crate::machine::{Beat, Credential, RegisterError};
use crate::offer::Identity;
use crate::progress::{Switched, Target};
use crate::settings::Settings;
use crate::state::{Credentials, DataDir, Registration, StateError};
use contract::{ErrorCode, HeartbeatAnswer, LatestBundle, Registered, TokenAnswer};
use hyper::Method;
use runtime::files::read_secret;
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use trust::nats::NatsKey;
use trust::{Receipt, SignedReceipt};

pub struct NodeApi {
    pub client: Client,
    settings: Settings,
    data: Arc<DataDir>,
    credentials: OnceLock<Credentials>,
    signing_key: NatsKey,
    token: Mutex<Option<String>>,
}

impl NodeApi {
    pub fn new(
        client: Client,
        settings: Settings,
        data: Arc<DataDir>,
        credentials: Option<Credentials>,
        signing_key: NatsKey,
    ) -> NodeApi {
        let known = credentials.map(OnceLock::from).unwrap_or_default();
        NodeApi { client, settings, data, credentials: known, signing_key, token: Mutex::default() }
    }

    /// Joins the project. Its name is written down before the call and the credentials before the answer counts, so that
    /// after a crash the same registration is repeated or the credentials are there.
    pub async fn register(&self) -> Result<Identity, RegisterError> {
        let registration = self.registration()?;
        let join_token = self.join_token()?;
        let mut body = self.settings.registration();
        body.node.public_key = self.signing_key.public_key().parse().ok();
        let body = serde_json::to_vec(&body).map_err(|e| RegisterError::Local(e.to_string()))?;
        let call = Call {
            method: Method::POST,
            path: &format!("/api/v1/projects/{}/nodes/register", self.settings.project),
            auth: Auth::Join(join_token.as_deref()),
            idempotency_key: Some(&registration.idempotency_key),
            body: Some(body),
        };
        match self.client.call::<Registered>(call).await {
            Ok(answer) if answer.node_key.is_none() => Err(self.key_lost(&format!("as {}", answer.node_id))),
            Ok(answer) => Ok(self.keep(answer)?),
            Err(error) if error.is_code(ErrorCode::IdempotencyKeyReused) => Err(self.key_lost("with other settings")),
            Err(error) => Err(RegisterError::Call(error)),
        }
    }

    /// Exchanges the node key for a token and keeps it; answers its lifetime in seconds.
    pub async fn fetch_token(&self) -> Result<u32, CallError> {
        let answer: TokenAnswer = self.node(Method::POST, "token", Credential::Key, None).await?;
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer.token);
        Ok(answer.expires_in)
    }

    pub async fn beat(&self, credential: Credential, beat: &Beat) -> Result<HeartbeatAnswer, CallError> {
        let receipt = beat.switched.as_ref().and_then(|switched| self.receipt(switched));
        let body = heartbeat(beat, receipt.as_ref(), &self.settings);
        self.node(Method::POST, "heartbeat", credential, Some(body.to_string().into_bytes())).await
    }

    pub async fn poll(&self, credential: Credential) -> Result<LatestBundle, CallError> {
        let Some(wait) = self.settings.wait else {
            return self.node(Method::GET, "bundles/latest", credential, None).await;
        };
        let route = format!("bundles/latest?wait={}", wait.as_secs());
        self.node_that_waits((Method::GET, &route), credential, None, wait).await
    }

    async fn node<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        route: &str,
        credential: Credential,
        body: Option<Vec<u8>>,
    ) -> Result<T, CallError> {
        self.node_that_waits((method, route), credential, body, Duration::ZERO).await
    }

    async fn node_that_waits<T: serde::de::DeserializeOwned>(
        &self,
        (method, route): (Method, &str),
        credential: Credential,
        body: Option<Vec<u8>>,
        wait: Duration,
    ) -> Result<T, CallError> {
        let Some(credentials) = self.credentials.get() else {
            return Err(CallError::Malformed("this node is not registered".to_owned()));
        };
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let auth = match (credential, &token) {
            (Credential::Token, Some(token)) => Auth::Token(token),
            _ => Auth::Key(credentials.node_key()),
        };
        let path = format!("/api/v1/nodes/{}/{route}", credentials.node_id);
        let call = Call { method, path: &path, auth, idempotency_key: None, body };
        self.client.call_that_waits(call, wait).await
    }

    /// None where the control plane knows another key of this node, or none: it would not keep the receipt.
    fn receipt(&self, switched: &Switched) -> Option<SignedReceipt> {
        let credentials = self.credentials.get()?;
        if credentials.public_key != Some(self.signing_key.public_key()) {
            tracing::warn!("no receipt: this node did not register with the key in node.nk");
            return None;
        }
        let Target { bundle, counter } = &switched.target;
        let receipt = Receipt {
            org: credentials.org.clone(),
            project: credentials.project.clone(),
            node_id: credentials.node_id.clone(),
            bundle_id: bundle.id.to_string(),
            digest: bundle.digest.clone(),
            counter: *counter,
            activated_at: switched.at,
        };
        Some(trust::sign_receipt(&self.signing_key, &receipt))
    }

    fn registration(&self) -> Result<Registration, StateError> {
        let (project, name) = (self.settings.project.to_string(), self.settings.name.to_string());
        // Another name is another registration, which must not be taken for a repetition.
        let begun = self.data.registration()?.filter(|begun| begun.project == project && begun.name == name);
        if let Some(begun) = begun {
            return Ok(begun);
        }
        let registration = Registration { idempotency_key: trust::new_secret(), project, name };
        self.data.save_registration(&registration)?;
        Ok(registration)
    }

    fn join_token(&self) -> Result<Option<String>, StateError> {
        let Some(path) = &self.settings.join_token_file else { return Ok(None) };
        let bytes = read_secret(path)?;
        let text = String::from_utf8(bytes).map_err(|_| StateError::Damaged { path: path.clone() })?;
        Ok(Some(text.trim().to_owned()))
    }

    fn keep(&self, answer: Registered) -> Result<Identity, StateError> {
        let server = self.settings.server_url.to_string();
        let credentials = Credentials::new(answer, self.settings.name.as_str(), &server, &self.signing_key)?;
        self.data.save_credentials(&credentials)?;
        self.data.end_registration()?;
        let identity = credentials.identity()?;
        tracing::info!(node = credentials.node_id, project = credentials.project, "registered");
        // Set before only if two registrations were under way, which the machine rules out.
        let _ = self.credentials.set(credentials);
        Ok(identity)
    }

    /// The key was in an answer that never arrived, and the server shows it once.
    fn key_lost(&self, how: &str) -> RegisterError {
        if let Err(error) = self.data.end_registration() {
            return RegisterError::Local(error.to_string());
        }
        RegisterError::Local(format!(
            "this host was registered before {how}, but the answer with its key was lost, and the key is shown only once: \
             delete the node {} in the project {} and start the agent again",
            self.settings.name, self.settings.project
        ))
    }
}

/// The body of a heartbeat. What is not known is left out, which changes nothing at the server.
fn heartbeat(beat: &Beat, receipt: Option<&SignedReceipt>, settings: &Settings) -> Value {
    let mut body = Map::new();
    body.insert("health".to_owned(), json!({"status": "healthy"}));
    let texts = [
        ("active_bundle_id", beat.active.map(|id| id.to_string())),
        ("staged_bundle_id", beat.staged.map(|id| id.to_string())),
        ("version", settings.proxy_version.clone()),
        ("hostname", settings.hostname.clone()),
    ];
    body.extend(texts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text?.into()))));
    if let Some(failure) = &beat.failure {
        let activation = json!({"bundle_id": failure.bundle.to_string(), "status": "failed", "error": failure.error});
        body.insert("activation".to_owned(), activation);
    }
    if let Some(receipt) = receipt {
        body.insert("receipt".to_owned(), json!(receipt));
    }
    Value::Object(body)
}

#[cfg(test)]
#[path = "node_api/tests.rs"]
mod tests;
