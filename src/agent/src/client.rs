//! HTTP to one control plane: TLS 1.3 with what the operator trusts and nothing else, or plain where that was permitted.
//!
//! Invariant: every call has a deadline and every answer a size limit; redirects are errors, so a credential never reaches
//! another host; no credential is in an error. Absent: repeating calls, which is the machine's to decide.

mod download;
mod events;
mod pinned;
mod tls;

use crate::call::{CallError, causes};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::de::DeserializeOwned;
use std::time::Duration;

pub use download::DownloadError;
pub use events::EventsError;
#[cfg(test)]
pub use pinned::Fingerprint;
pub use pinned::FingerprintError;
pub use tls::{TlsError, Trust};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// How a call proves who calls.
pub enum Auth<'a> {
    /// Registration and enrollment: nothing, or the join token.
    Join(Option<&'a str>),
    Key(&'a str),
    Token(&'a str),
    /// An enrolling host: the value of an `Authorization` header, and the join token.
    Host(&'a str, Option<&'a str>),
}

pub struct Call<'a> {
    pub method: Method,
    /// From the root, percent-encoded where needed.
    pub path: &'a str,
    pub auth: Auth<'a>,
    pub idempotency_key: Option<&'a str>,
    /// JSON.
    pub body: Option<Vec<u8>>,
}

pub struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Scheme, host and port.
    server: Uri,
}

impl Client {
    pub fn new(server: Uri, trust: Option<&Trust>) -> Result<Client, TlsError> {
        let config = tls::client_config(trust)?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let builder = HttpsConnectorBuilder::new().with_tls_config(config);
        let schemes = if server.scheme_str() == Some("https") { builder.https_only() } else { builder.https_or_http() };
        let connector = schemes.enable_http1().wrap_connector(tcp);
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        Ok(Client { http, server })
    }

    pub async fn call<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, CallError> {
        self.call_that_waits(call, Duration::ZERO).await
    }

    /// A call that the server is asked to answer only after `wait`, if nothing happens before.
    pub async fn call_that_waits<T: DeserializeOwned>(&self, call: Call<'_>, wait: Duration) -> Result<T, CallError> {
        let timeout = CALL_TIMEOUT + wait;
        let answered = tokio::time::timeout(timeout, self.exchange(call)).await;
        let body = answered
            .unwrap_or_else(|_| Err(CallError::Unreachable(format!("no answer within {} s", timeout.as_secs()))))?;
        // What serde would say may quote the answer, and with it a token.
        let place = |e: serde_json::Error| format!("unexpected JSON in line {}, column {}", e.line(), e.column());
        serde_json::from_slice(&body).map_err(|e| CallError::Malformed(place(e)))
    }

    async fn exchange(&self, call: Call<'_>) -> Result<Bytes, CallError> {
        let response = self.http.request(self.request(call)?).await.map_err(unreachable)?;
        let (head, body) = response.into_parts();
        if !head.status.is_success() {
            return Err(refused(head.status, &head.headers, body).await);
        }
        match Limited::new(body, ANSWER_BYTES_MAX).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(e) if e.is::<http_body_util::LengthLimitError>() => {
                Err(CallError::Malformed(format!("it is longer than {ANSWER_BYTES_MAX} bytes")))
            }
            Err(e) => Err(CallError::Unreachable(causes(e.as_ref()))),
        }
    }

    fn request(&self, call: Call<'_>) -> Result<Request<Full<Bytes>>, CallError> {
        let mut uri = self.server.clone().into_parts();
        uri.path_and_query = Some(call.path.parse().map_err(|_| local("the path"))?);
        let mut request =
            Request::builder().method(call.method).uri(Uri::from_parts(uri).map_err(|_| local("the URL"))?);
        request = match call.auth {
            Auth::Join(_) => request,
            Auth::Key(key) => request.header("x-zentinel-node-key", secret(key)?),
            Auth::Token(token) => request.header(AUTHORIZATION, secret(&format!("Bearer {token}"))?),
            Auth::Host(proof, _) => request.header(AUTHORIZATION, secret(proof)?),
        };
        if let Auth::Join(Some(token)) | Auth::Host(_, Some(token)) = call.auth {
            request = request.header("x-pilothouse-join-token", secret(token)?);
        }
        if let Some(key) = call.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        if call.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request.body(Full::new(call.body.unwrap_or_default().into())).map_err(|_| local("a header"))
    }
}

/// Marked, so that no layer below prints it.
fn secret(text: &str) -> Result<hyper::header::HeaderValue, CallError> {
    let mut value = hyper::header::HeaderValue::from_str(text).map_err(|_| local("the credential"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn local(what: &str) -> CallError {
    CallError::Malformed(format!("{what} cannot be sent over HTTP"))
}

async fn refused(status: StatusCode, headers: &HeaderMap, body: Incoming) -> CallError {
    let body = Limited::new(body, ERROR_BYTES_MAX).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    // The form that is a date is not used by the control plane; a clock would be needed to read it.
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let error = CallError::refused(status.as_u16(), &body, seconds.map(Duration::from_secs));
    // Where the body has no room for the code, it is here.
    let code = headers.get("x-error-code").and_then(|value| serde_json::from_value(value.to_str().ok()?.into()).ok());
    error.or_code(code)
}

fn unreachable(error: legacy::Error) -> CallError {
    CallError::Unreachable(causes(&error))
}

#[cfg(test)]
#[path = "client/tests.rs"]
mod tests;
