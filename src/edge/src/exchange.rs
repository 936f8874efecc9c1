//! What every exchange has in common, around every handler: a request id, the checks that need no handler, a time limit, a
//! net under panics, the headers of every answer, one line in the log, one count in the metrics.
//!
//! Nothing that a client chose is written to the log: routes by their template, methods by the names that are known.

use crate::accept::takes_json;
use crate::auth::malformed;
use crate::base_url::Peer;
use crate::base_url::check_host;
use crate::body::{LargeBodies, bytes_max};
use crate::call::Call;
use crate::config::EdgeConfig;
use crate::enrollment_wire::{self, check_scheme, is_enrollment, is_hosts};
use crate::limits::Limits;
use crate::metrics::{Metrics, RouteMeter};
use crate::reply::{self, POSITION, Refusal};
use crate::request_id::RequestIds;
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use contract::{Access, ApiError, ErrorCode, Limiter, Route, WAIT_S_MAX};
use control::Control;
use futures_util::FutureExt;
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::field::Empty;
use tracing::{Instrument, Span};

/// Routes that answer with something else.
const OTHER_THAN_JSON: [&str; 2] = ["/metrics", "/api/v1/projects/{slug}/stream"];
/// A node that waits for an offer is answered within this after its time is over.
const WAIT_SLACK: Duration = Duration::from_secs(5);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What all endpoints share.
pub(crate) struct Shared {
    pub control: Control,
    pub config: EdgeConfig,
    pub limits: Limits,
    pub metrics: Arc<Metrics>,
    pub request_ids: RequestIds,
    pub large_bodies: LargeBodies,
}

/// One row of the table of routes as it is served.
pub(crate) struct Endpoint {
    pub shared: Arc<Shared>,
    pub route: &'static Route,
    pub bytes_max: usize,
    /// Until there must be an answer.
    time_max: Duration,
    /// False where the answer is not JSON.
    answers_json: bool,
    /// Comes so often that its line is for those who look closely.
    is_frequent: bool,
    meter: Arc<RouteMeter>,
}

impl Endpoint {
    pub fn new(shared: &Arc<Shared>, route: &'static Route) -> Endpoint {
        Endpoint {
            shared: shared.clone(),
            route,
            bytes_max: bytes_max(route, shared.config.request_bytes_max),
            time_max: time_max(route, shared.config.request_timeout),
            answers_json: route.access != Access::SignedUrl
                && !OTHER_THAN_JSON.contains(&route.path)
                && !is_hosts(route.path),
            is_frequent: is_frequent(route),
            meter: shared.metrics.route(route),
        }
    }

    /// What is wrong with a request before anybody looks at its path, credential or body.
    fn check(&self, parts: &Parts) -> Result<(), ApiError> {
        check_host(parts)?;
        let peer = parts.extensions.get().copied().unwrap_or(Peer::IN_PROCESS);
        check_scheme(self.route.path, peer.scheme)?;
        if parts.headers.contains_key(header::TRANSFER_ENCODING) && !is_plainly_chunked(&parts.headers) {
            return Err(malformed("the body may be chunked, and coded in no other way"));
        }
        if self.answers_json && !takes_json(&parts.headers) {
            return Err(ApiError::new(ErrorCode::NotAcceptable, "only application/json is served here"));
        }
        Ok(())
    }
}

/// The body has a time limit of its own, so both together may take twice as long; who asked to wait may wait.
fn time_max(route: &Route, request_timeout: Duration) -> Duration {
    let waits = route.path == "/api/v1/nodes/{id}/bundles/latest";
    let wait = if waits { Duration::from_secs(u64::from(WAIT_S_MAX)) + WAIT_SLACK } else { Duration::ZERO };
    request_timeout * 2 + wait
}

/// Serves one request with `handler`.
pub(crate) async fn run<F, Fut>(endpoint: Arc<Endpoint>, request: Request, handler: F) -> Response<Body>
where
    F: FnOnce(Call) -> Fut,
    Fut: Future<Output = Result<Response<Body>, Refusal>>,
{
    let path = endpoint.route.path;
    let line = Line::new(&endpoint.shared, request.method(), (path, path), endpoint.is_frequent);
    // Heartbeats come by the thousand: a span would cost more than it tells.
    let span = match endpoint.is_frequent {
        true => Span::none(),
        false => tracing::info_span!("request", request_id = line.id_text(), command_id = Empty),
    };
    let work = {
        let endpoint = endpoint.clone();
        async move {
            let (parts, body) = request.into_parts();
            endpoint.check(&parts)?;
            handler(Call::new(endpoint, parts, body).await?).await
        }
    };
    let work = tokio::time::timeout(endpoint.time_max, work);
    let work = AssertUnwindSafe(work).catch_unwind();
    let outcome = if span.is_none() { work.await } else { work.instrument(span.clone()).await };
    let mut response = match outcome {
        Ok(Ok(Ok(response))) => response,
        Ok(Ok(Err(refusal))) => refusal.into_response(),
        Ok(Err(_)) => reply::error(&ApiError::new(ErrorCode::Unavailable, "the answer took too long; try again")),
        Err(panic) => {
            let (request_id, route) = (line.id_text(), endpoint.route.path);
            tracing::error!(request_id, route, panic = panic_text(&*panic), "handler panicked");
            reply::error(&ApiError::new(ErrorCode::Internal, "internal error; the request id finds it in the log"))
        }
    };
    span.in_scope(|| line.finish(&mut response, &endpoint.meter));
    response
}

/// Answers a request that no handler serves.
pub(crate) fn refuse(
    shared: &Shared,
    meter: &RouteMeter,
    (method, path): (&Method, &str),
    error: &ApiError,
    allow: Option<HeaderValue>,
) -> Response<Body> {
    let line = Line::new(shared, method, ("unmatched", path), false);
    let mut response = reply::error(error);
    if let Some(allow) = allow {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    line.finish(&mut response, meter);
    response
}

/// The one line that a request leaves in the log.
struct Line {
    started: Instant,
    id: HeaderValue,
    method: &'static str,
    route: &'static str,
    /// In the enrollment document's shape: the path is one of its.
    is_enrollment: bool,
    is_hosts: bool,
    is_frequent: bool,
}

impl Line {
    /// `path`: the route's template, or what was asked for where there is none.
    fn new(shared: &Shared, method: &Method, (route, path): (&'static str, &str), is_frequent: bool) -> Line {
        let (started, id) = (Instant::now(), shared.request_ids.next());
        let (is_enrollment, is_hosts) = (is_enrollment(path), is_hosts(path));
        Line { started, id, method: method_name(method), route, is_enrollment, is_hosts, is_frequent }
    }

    fn id_text(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }

    /// Writes the line, counts the request and completes the answer's headers.
    fn finish(self, response: &mut Response<Body>, meter: &RouteMeter) {
        let (status, took) = (response.status(), self.started.elapsed());
        meter.observe(status.as_u16(), took);
        let request_id = self.id_text();
        let (method, route, status_code) = (self.method, self.route, status.as_u16());
        let duration_ms = took.as_micros() as f64 / 1000.0;
        let position = response.headers().get(POSITION).and_then(|value| value.to_str().ok());
        // A level is part of a callsite, hence one line each.
        if status.is_server_error() {
            tracing::warn!(request_id, method, route, status = status_code, duration_ms, position, "request failed");
        } else if self.is_frequent {
            tracing::debug!(request_id, method, route, status = status_code, duration_ms, position, "request served");
        } else {
            tracing::info!(request_id, method, route, status = status_code, duration_ms, position, "request served");
        }
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REQUEST_ID, self.id);
        if self.is_enrollment {
            enrollment_wire::shape(self.is_hosts, response);
        }
    }
}

/// Heartbeats, polls and probes.
fn is_frequent(route: &Route) -> bool {
    route.limiter == Limiter::None || route.path.ends_with("/heartbeat") || route.path.ends_with("/bundles/latest")
}

fn method_name(method: &Method) -> &'static str {
    let known = [Method::GET, Method::POST, Method::DELETE, Method::HEAD, Method::PUT, Method::PATCH, Method::OPTIONS];
    let names = ["GET", "POST", "DELETE", "HEAD", "PUT", "PATCH", "OPTIONS"];
    known.iter().position(|other| other == method).map_or("other", |i| names[i])
}

/// Other codings, or one given twice, are where servers in a row come to read different requests.
fn is_plainly_chunked(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::TRANSFER_ENCODING).iter();
    values.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked")) && values.next().is_none()
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
