//! How answers are written. Every error is the contract's body; nothing leaves as bare text.

use crate::enrollment_wire::Told;
use crate::limits::Verdict;
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use contract::{ApiError, ErrorBody, ErrorCode};
use domain::Position;
use serde::Serialize;

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
pub(crate) const POSITION: &str = "x-pilothouse-position";

/// Why a request was not served.
pub(crate) enum Refusal {
    Error(ApiError),
    /// The bucket is empty.
    Limited(Verdict),
    /// The archive has `total` bytes.
    RangeOutside {
        total: u64,
    },
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Refusal {
        Refusal::Error(error)
    }
}

impl Refusal {
    pub fn into_response(self) -> Response<Body> {
        match self {
            Refusal::Error(e) => error(&e),
            Refusal::Limited(verdict) => limited(&verdict),
            Refusal::RangeOutside { total } => {
                let mut response =
                    error(&ApiError::new(ErrorCode::RangeNotSatisfiable, "the range lies outside the archive"));
                let range = HeaderValue::try_from(format!("bytes */{total}")).expect("digits are valid in a header");
                response.headers_mut().insert(header::CONTENT_RANGE, range);
                response
            }
        }
    }
}

/// The body of a 429: the common error body and when to come back.
#[derive(Serialize)]
struct LimitedBody {
    #[serde(flatten)]
    body: ErrorBody,
    retry_after: u64,
}

pub(crate) fn json(status: u16, body: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(body) {
        Ok(bytes) => with_bytes(status, JSON, bytes),
        Err(cause) => {
            tracing::error!(%cause, "an answer could not be written as JSON");
            with_bytes(500, JSON, br#"{"error":"internal error","code":"internal"}"#.to_vec())
        }
    }
}

pub(crate) fn with_bytes(status: u16, content_type: HeaderValue, bytes: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(bytes.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

pub(crate) fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

pub(crate) fn error(error: &ApiError) -> Response<Body> {
    let mut response = json(error.code.status(), &error.body());
    response.extensions_mut().insert(Told(error.clone()));
    response
}

/// Where the answer stands in the journal.
pub(crate) fn set_position(response: &mut Response<Body>, position: Position) {
    response.headers_mut().insert(POSITION, HeaderValue::from(position.0));
}

fn limited(verdict: &Verdict) -> Response<Body> {
    let retry_after = verdict.retry_after_s().max(1);
    let text = format!("Rate limit exceeded. Try again after {}.", verdict.reset_unix_s());
    let error = ApiError::new(ErrorCode::RateLimited, text);
    let body = LimitedBody { body: error.body(), retry_after };
    let mut response = json(ErrorCode::RateLimited.status(), &body);
    response.extensions_mut().insert(Told(error));
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after));
    if verdict.shown {
        verdict.write_headers(response.headers_mut());
    }
    response
}
