//! One request on its way to a handler: what the handlers ask of it, each read once and checked.

use crate::auth::{malformed, node_credential, single};
use crate::base_url::{Peer, base_url};
use crate::body;
use crate::exchange::Endpoint;
use crate::limits::{Key, Verdict};
use crate::reply::{POSITION, Refusal};
use axum::RequestPartsExt;
use axum::body::{Body, Bytes};
use axum::extract::{Query, RawPathParams};
use axum::http::{HeaderMap, Method, header, request::Parts};
use contract::{ApiError, ErrorCode, Limiter, Route};
use control::{Control, NodeIdentity};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedSemaphorePermit;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;
const QUERY_PARAMETERS_MAX: usize = 64;

pub(crate) struct Call {
    endpoint: Arc<Endpoint>,
    parts: Parts,
    params: Option<RawPathParams>,
    /// Only ever reached through `&mut`: the mutex is there to let handlers share the rest across their waits.
    body: Mutex<Body>,
    peer: Peer,
    /// Held while a large body is handled.
    place: Option<OwnedSemaphorePermit>,
}

impl Call {
    pub async fn new(endpoint: Arc<Endpoint>, mut parts: Parts, body: Body) -> Result<Call, ApiError> {
        let params = match endpoint.route.path.contains('{') {
            true => {
                let params = parts.extract::<RawPathParams>().await;
                Some(params.map_err(|_| malformed("the path is not valid UTF-8"))?)
            }
            false => None,
        };
        let peer = parts.extensions.get().copied().unwrap_or(Peer::IN_PROCESS);
        Ok(Call { endpoint, parts, params, body: Mutex::new(body), peer, place: None })
    }

    pub fn control(&self) -> &Control {
        &self.endpoint.shared.control
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub fn route(&self) -> &'static Route {
        self.endpoint.route
    }

    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    pub fn is_head(&self) -> bool {
        self.parts.method == Method::HEAD
    }

    /// A parameter of the path; none when the route has no such parameter.
    pub fn param(&self, name: &str) -> Option<&str> {
        let params = self.params.as_ref()?;
        params.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// In the order of the query, repeats included.
    pub fn query_pairs(&self) -> Result<Vec<(String, String)>, ApiError> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&self.parts.uri)
            .map_err(|_| malformed("the query cannot be read"))?;
        if pairs.len() > QUERY_PARAMETERS_MAX {
            return Err(malformed(format!("the query has more than {QUERY_PARAMETERS_MAX} parameters")));
        }
        Ok(pairs)
    }

    pub fn query(&self) -> Result<BTreeMap<String, String>, ApiError> {
        let pairs = self.query_pairs()?;
        let mut query = BTreeMap::new();
        for (name, value) in pairs {
            if query.contains_key(&name) {
                let shown: String = name.chars().take(100).collect();
                return Err(malformed(format!("the parameter {shown} is given more than once")));
            }
            query.insert(name, value);
        }
        Ok(query)
    }

    pub fn idempotency_key(&self) -> Result<Option<&str>, ApiError> {
        let key = single(self.headers(), IDEMPOTENCY_KEY)?;
        match key {
            Some(key) if key.is_empty() || key.len() > IDEMPOTENCY_KEY_CHARS_MAX => Err(malformed(format!(
                "the header {IDEMPOTENCY_KEY} must have 1 to {IDEMPOTENCY_KEY_CHARS_MAX} characters"
            ))),
            key => Ok(key),
        }
    }

    /// The position that the answer must know of: the parameter `min_position`, or the header that answers carry.
    pub fn min_position(&self, query: &BTreeMap<String, String>) -> Result<Option<u64>, ApiError> {
        let text = match query.get("min_position") {
            Some(text) => Some(text.as_str()),
            None => single(self.headers(), POSITION)?,
        };
        let parsed = text.map(|text| text.parse().map_err(|_| malformed("min_position must be a whole number")));
        parsed.transpose()
    }

    /// Scheme and authority as the client reached us.
    pub fn base_url(&self) -> Result<String, ApiError> {
        let host = single(self.headers(), header::HOST.as_str())?;
        Ok(base_url(&self.endpoint.shared.config.public_url, &self.peer, &self.parts.uri, host))
    }

    /// The body as it is, whatever it is named.
    pub async fn read_bytes(&mut self) -> Result<Bytes, ApiError> {
        let body = std::mem::take(self.body.get_mut().unwrap_or_else(PoisonError::into_inner));
        body::read_any(body, self.endpoint.bytes_max, self.endpoint.shared.config.request_timeout).await
    }

    pub async fn read_body(&mut self) -> Result<Value, ApiError> {
        let body = std::mem::take(self.body.get_mut().unwrap_or_else(PoisonError::into_inner));
        let timeout = self.endpoint.shared.config.request_timeout;
        let bytes = body::read(&self.parts.headers, body, self.endpoint.bytes_max, timeout).await?;
        let parsed = self.endpoint.shared.large_bodies.parse(bytes).await?;
        self.place = parsed.place;
        Ok(parsed.value)
    }

    /// The node that has proven itself, with a token of its bucket taken.
    pub async fn node(&self) -> Result<NodeIdentity, Refusal> {
        let credential = match node_credential(self.headers(), self.route().access) {
            Ok(credential) => credential,
            Err(e) => return Err(self.denied(e)),
        };
        let path_id = self.param("id").unwrap_or_default();
        match self.control().authenticate_node(path_id, credential).await {
            Ok(node) => {
                self.take(Key::Id(*node.id.as_uuid().as_bytes()))?;
                Ok(node)
            }
            Err(e) => Err(self.denied(e)),
        }
    }

    /// Takes a token of the route's class; none when the class is not limited.
    pub fn take(&self, key: Key) -> Result<Option<Verdict>, Refusal> {
        self.take_of(self.route().limiter, key)
    }

    pub fn take_by_address(&self) -> Result<Option<Verdict>, Refusal> {
        self.take(Key::address(self.peer.address.ip()))
    }

    /// A client that did not prove who it is: counted against its address.
    pub fn denied(&self, error: ApiError) -> Refusal {
        if matches!(error.code, ErrorCode::Unavailable | ErrorCode::Internal) {
            return Refusal::Error(error);
        }
        match self.take_of(Limiter::Api, Key::address(self.peer.address.ip())) {
            Ok(_) => Refusal::Error(error),
            Err(limited) => limited,
        }
    }

    fn take_of(&self, class: Limiter, key: Key) -> Result<Option<Verdict>, Refusal> {
        let shared = &self.endpoint.shared;
        match shared.limits.take(class, key) {
            Some(verdict) if !verdict.allowed => {
                shared.metrics.limited(class);
                Err(Refusal::Limited(verdict))
            }
            verdict => Ok(verdict),
        }
    }
}
