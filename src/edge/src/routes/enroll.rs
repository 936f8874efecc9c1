//! What hosts ask for while they enroll. Everything that a stranger sends is read here; what it means is `control`'s to say.

use crate::auth::{join_token, malformed, single};
use crate::call::Call;
use crate::limits::Key;
use crate::reply::{self, Refusal};
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header};
use contract::{ApiError, EnrollRequest, EnrollStatus, ErrorCode};
use control::{EnrollmentNews, EnrollmentWatch};
use futures_util::stream;
use std::convert::Infallible;

const MEDIA: HeaderValue = HeaderValue::from_static("text/event-stream");
/// Proxies that collect answers are asked not to.
const UNBUFFERED: (&str, HeaderValue) = ("x-accel-buffering", HeaderValue::from_static("no"));
const HEARTBEAT: Bytes = Bytes::from_static(b": heartbeat\n\n");
const TIMEOUT: Bytes = Bytes::from_static(b"event: timeout\ndata: {\"message\":\"stream duration exceeded\"}\n\n");

/// Of two values of one name the first counts.
pub(crate) async fn nonce(call: Call) -> Result<Response<Body>, Refusal> {
    limit(&call)?;
    let pairs = call.query_pairs()?;
    let value = |name: &str| pairs.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str());
    Ok(reply::json(200, &call.control().challenge(value("peel_id"), value("public_key")).await?))
}

pub(crate) async fn enroll(mut call: Call) -> Result<Response<Body>, Refusal> {
    limit(&call)?;
    let token = join_token(call.headers())?.map(str::to_owned);
    let unreadable = || malformed("invalid request body");
    let bytes =
        call.read_bytes().await.map_err(|e| if e.code == ErrorCode::RequestTimeout { e } else { unreadable() })?;
    let request = EnrollRequest::parse(&bytes).ok_or_else(unreadable)?;
    let ip = call.peer().address.ip();
    let (is_new, answer, position) = call.control().enroll(request, ip, token.as_deref()).await?;
    let mut response = reply::json(if is_new { 201 } else { 200 }, &answer);
    reply::set_position(&mut response, position);
    Ok(response)
}

pub(crate) async fn status(call: Call) -> Result<Response<Body>, Refusal> {
    limit(&call)?;
    let id = call.param("id").unwrap_or_default();
    Ok(reply::json(200, &call.control().enrollment_status(id).await?))
}

pub(crate) async fn stream(call: Call) -> Result<Response<Body>, Refusal> {
    let has_token = limit(&call)?;
    let id = call.param("id").unwrap_or_default();
    let watch = call.control().watch_enrollment(id, call.peer().address.ip(), has_token).await?;
    let pieces = stream::unfold(watch, |mut watch: EnrollmentWatch| async move {
        let news = watch.next().await?;
        Some((Ok::<_, Infallible>(piece(&news)), watch))
    });
    let mut response = reply::with_bytes(200, MEDIA, Body::from_stream(pieces));
    response.headers_mut().insert(UNBUFFERED.0, UNBUFFERED.1);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("keep-alive"));
    Ok(response)
}

pub(crate) async fn creds(call: Call) -> Result<Response<Body>, Refusal> {
    limit(&call)?;
    // A header that is given twice, or is no text, proves nothing.
    let authorization = single(call.headers(), header::AUTHORIZATION.as_str()).unwrap_or_default();
    let key = call.idempotency_key()?;
    let id = call.param("id").unwrap_or_default();
    Ok(reply::json(200, &call.control().issue_credentials(id, authorization, key).await?))
}

/// Takes a token of the join token's bucket, if a good one is shown, else of the address's. A token that this replica has not
/// seen counts as none here, so that asking for it costs a stranger what everything costs. The flag: it is good.
fn limit(call: &Call) -> Result<bool, Refusal> {
    if call.is_head() {
        return Err(ApiError::new(ErrorCode::MethodNotAllowed, "the path does not know this method").into());
    }
    let shown = join_token(call.headers()).unwrap_or_default();
    match shown.and_then(|secret| call.control().known_join_token(secret)) {
        Some(id) => call.take(Key::Id(*id.as_uuid().as_bytes())).map(|_| true),
        None => call.take_by_address().map(|_| false),
    }
}

fn piece(news: &EnrollmentNews) -> Bytes {
    match news {
        EnrollmentNews::State(status) => state(status).into(),
        EnrollmentNews::Quiet => HEARTBEAT,
        EnrollmentNews::Timeout => TIMEOUT,
    }
}

/// JSON has no line breaks of its own.
fn state(status: &EnrollStatus) -> String {
    let data = serde_json::to_string(status).unwrap_or_default();
    format!("event: state\ndata: {data}\n\n")
}
