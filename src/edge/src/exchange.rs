//! What every exchange has in common, around every handler: a request id, the checks that need no handler, a time limit, a
//! net under panics, the headers of every answer, one line in the log, one count in the metrics.

use crate::accept::takes_json;
use crate::auth::malformed;
use crate::base_url::has_two_hosts;
use crate::body::bytes_max;
use crate::call::Call;
use crate::config::EdgeConfig;
use crate::limits::Limits;
use crate::metrics::{Metrics, RouteMeter};
use crate::reply::{self, Refusal};
use crate::request_id::RequestIds;
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use contract::{Access, ApiError, ErrorCode, Limiter, Route, WAIT_S_MAX};
use control::Control;
use futures_util::FutureExt;
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument;

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
    pub metrics: Metrics,
    pub request_ids: RequestIds,
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
    meter: Arc<RouteMeter>,
}

impl Endpoint {
    pub fn new(shared: &Arc<Shared>, route: &'static Route) -> Endpoint {
        Endpoint {
            shared: shared.clone(),
            route,
            bytes_max: bytes_max(route, shared.config.request_bytes_max),
            time_max: time_max(route, shared.config.request_timeout),
            answers_json: route.access != Access::SignedUrl && !OTHER_THAN_JSON.contains(&route.path),
            meter: shared.metrics.route(route),
        }
    }

    /// What is wrong with a request before anybody looks at its path, credential or body.
    fn check(&self, parts: &Parts) -> Result<(), ApiError> {
        if has_two_hosts(&parts.headers) {
            return Err(malformed("the header host is given more than once"));
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
    let started = Instant::now();
    let id = endpoint.shared.request_ids.next();
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
    let outcome = if endpoint.route.limiter == Limiter::Node {
        // Heartbeats come by the thousand: their one line below carries the id, a span would cost more than it tells.
        work.await
    } else {
        let span = tracing::info_span!("request", id = text(&id), route = endpoint.route.path);
        work.instrument(span).await
    };
    let mut response = match outcome {
        Ok(Ok(Ok(response))) => response,
        Ok(Ok(Err(refusal))) => refusal.into_response(),
        Ok(Err(_)) => reply::error(&ApiError::new(ErrorCode::Unavailable, "the answer took too long; try again")),
        Err(panic) => {
            tracing::error!(
                id = text(&id),
                route = endpoint.route.path,
                panic = panic_text(&*panic),
                "handler panicked"
            );
            reply::error(&ApiError::new(ErrorCode::Internal, "internal error; the request id finds it in the log"))
        }
    };
    finish(&mut response, id, endpoint.route.path, &endpoint.meter, started);
    response
}

/// Answers a request that no handler serves.
pub(crate) fn refuse(
    shared: &Shared,
    meter: &RouteMeter,
    error: &ApiError,
    allow: Option<HeaderValue>,
) -> Response<Body> {
    let started = Instant::now();
    let mut response = reply::error(error);
    if let Some(allow) = allow {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    finish(&mut response, shared.request_ids.next(), "unmatched", meter, started);
    response
}

fn finish(response: &mut Response<Body>, id: HeaderValue, route: &str, meter: &RouteMeter, started: Instant) {
    let (status, took) = (response.status(), started.elapsed());
    meter.observe(status.as_u16(), took);
    let (id_text, status_code, took_us) = (text(&id), status.as_u16(), took.as_micros() as u64);
    if status.is_server_error() {
        tracing::warn!(id = id_text, route, status = status_code, took_us, "request failed");
    } else {
        tracing::debug!(id = id_text, route, status = status_code, took_us, "request served");
    }
    let headers = response.headers_mut();
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REQUEST_ID, id);
}

fn text(id: &HeaderValue) -> &str {
    id.to_str().unwrap_or_default()
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
