//! Reading a request's JSON body: bounded in size and time, with one error for each way in which it can be wrong.
//!
//! A large body takes a core for a moment, and many times its size in memory. So large ones are parsed away from the threads
//! that serve everybody, and handled a few at a time: what is cheap to send must not become dear for the neighbours.

use crate::auth::{malformed, single};
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, header};
use contract::{ApiError, ENROLL_BYTES_MAX, ErrorCode, Route};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Heartbeats and registrations: their fields are bounded far below it.
const SMALL_BYTES_MAX: usize = 64 * 1024;
/// Configurations: 1 MiB of text and what JSON's escapes add.
const CONFIG_BYTES_MAX: usize = 1_572_864;

/// A body below it is parsed where it was read.
const LARGE_BYTES_MIN: usize = 64 * 1024;

/// How many large bodies are handled at the same time: half of the cores stay free of them.
pub(crate) struct LargeBodies(Arc<Semaphore>);

/// A body, with its place among the large ones if it is one. The place is kept until the request is answered.
pub(crate) struct Parsed {
    pub value: Value,
    pub place: Option<OwnedSemaphorePermit>,
}

impl LargeBodies {
    pub fn new() -> LargeBodies {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        LargeBodies(Arc::new(Semaphore::new((cores / 2).max(1))))
    }

    pub async fn parse(&self, bytes: Bytes) -> Result<Parsed, ApiError> {
        if bytes.len() < LARGE_BYTES_MIN {
            return Ok(Parsed { value: contract::parse_json(&bytes)?, place: None });
        }
        let stopping = || ApiError::new(ErrorCode::Unavailable, "this replica is stopping; try again");
        let place = self.0.clone().acquire_owned().await.map_err(|_| stopping())?;
        let parsed = tokio::task::spawn_blocking(move || contract::parse_json(&bytes)).await;
        Ok(Parsed { value: parsed.map_err(|_| stopping())??, place: Some(place) })
    }
}

/// The largest body that a route takes.
pub(crate) fn bytes_max(route: &Route, request_bytes_max: usize) -> usize {
    match route.path {
        "/api/v1/nodes/{id}/heartbeat" | "/api/v1/projects/{slug}/nodes/register" => SMALL_BYTES_MAX,
        "/api/v1/enroll" => ENROLL_BYTES_MAX,
        "/api/v1/nodes/{id}/config" | "/api/v1/projects/{slug}/bundles" => CONFIG_BYTES_MAX,
        _ => request_bytes_max,
    }
}

/// The bytes of a body that is named as JSON; an empty one needs no name.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
    timeout: Duration,
) -> Result<Bytes, ApiError> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large(bytes_max));
    }
    let named = content_type(headers)?;
    let bytes = read_any(body, bytes_max, timeout).await?;
    if !named && !bytes.is_empty() {
        return Err(unsupported("the body needs the content type application/json"));
    }
    Ok(bytes)
}

/// The bytes of a body, whatever it is named.
pub(crate) async fn read_any(body: Body, bytes_max: usize, timeout: Duration) -> Result<Bytes, ApiError> {
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large(bytes_max));
    }
    let Ok(read) = tokio::time::timeout(timeout, Limited::new(body, bytes_max).collect()).await else {
        return Err(ApiError::new(ErrorCode::RequestTimeout, "the body did not arrive in time"));
    };
    Ok(read.map_err(|e| unreadable(e.as_ref(), bytes_max))?.to_bytes())
}

/// Whether the body is named as JSON; an error when it is named as something else.
fn content_type(headers: &HeaderMap) -> Result<bool, ApiError> {
    if let Some(coding) = headers.get(header::CONTENT_ENCODING)
        && !coding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        return Err(unsupported("the body must not be compressed"));
    }
    let Some(text) = single(headers, header::CONTENT_TYPE.as_str())? else { return Ok(false) };
    let media = text.split_once(';').map_or(text, |(media, _)| media).trim();
    let suffix = || media.len() > 5 && media[..media.len() - 5].is_ascii() && ends_with_json(media);
    let json = media.eq_ignore_ascii_case("application/json") || (starts_with_application(media) && suffix());
    if json { Ok(true) } else { Err(unsupported("the body must be application/json")) }
}

fn starts_with_application(media: &str) -> bool {
    media.as_bytes().get(..12).is_some_and(|start| start.eq_ignore_ascii_case(b"application/"))
}

fn ends_with_json(media: &str) -> bool {
    media.as_bytes()[media.len() - 5..].eq_ignore_ascii_case(b"+json")
}

fn unreadable(error: &(dyn Error + 'static), bytes_max: usize) -> ApiError {
    let mut cause = Some(error);
    while let Some(e) = cause {
        if e.is::<LengthLimitError>() {
            return too_large(bytes_max);
        }
        cause = e.source();
    }
    malformed("the body could not be read to its end")
}

fn too_large(bytes_max: usize) -> ApiError {
    ApiError::new(ErrorCode::PayloadTooLarge, format!("the body is larger than {bytes_max} bytes"))
}

fn unsupported(message: &str) -> ApiError {
    ApiError::new(ErrorCode::UnsupportedMediaType, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use futures_util::stream;
    use serde_json::json;
    use std::convert::Infallible;

    const PATIENCE: Duration = Duration::from_millis(50);

    async fn value(media: Option<&'static str>, body: Body) -> Result<Value, ErrorCode> {
        let mut headers = HeaderMap::new();
        if let Some(media) = media {
            headers.insert(header::CONTENT_TYPE, media.parse().unwrap());
        }
        let bytes = read(&headers, body, 100, PATIENCE).await.map_err(|e| e.code)?;
        LargeBodies::new().parse(bytes).await.map(|parsed| parsed.value).map_err(|e| e.code)
    }

    fn pieces(pieces: Vec<&'static str>) -> Body {
        Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, Infallible>)))
    }

    #[tokio::test]
    async fn json_is_taken_under_its_names_only() {
        let object = r#"{"a":1}"#;
        for media in ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"] {
            assert_eq!(value(Some(media), object.into()).await, Ok(json!({"a": 1})), "{media}");
        }
        for media in ["text/plain", "application/x-www-form-urlencoded", "+json", "text/x+json", "application/jsonp"] {
            assert_eq!(value(Some(media), object.into()).await, Err(ErrorCode::UnsupportedMediaType), "{media}");
        }
        assert_eq!(value(None, object.into()).await, Err(ErrorCode::UnsupportedMediaType));
        assert_eq!(value(None, Body::empty()).await, Ok(json!({})));
        assert_eq!(value(Some("text/plain"), Body::empty()).await, Ok(json!({})));
        assert_eq!(value(None, pieces(vec![])).await, Ok(json!({})));
    }

    #[tokio::test]
    async fn large_bodies_take_turns_and_small_ones_do_not_wait() {
        let bodies = LargeBodies(Arc::new(Semaphore::new(1)));
        let large = || Bytes::from(format!("{{\"a\":\"{}\"}}", "x".repeat(LARGE_BYTES_MIN)));
        let first = bodies.parse(large()).await.unwrap();
        assert!(first.place.is_some() && first.value["a"].is_string());
        assert!(bodies.parse(Bytes::from_static(b"{}")).await.unwrap().place.is_none());
        assert!(tokio::time::timeout(PATIENCE, bodies.parse(large())).await.is_err(), "two at once");
        drop(first);
        let broken = Bytes::from("[".repeat(LARGE_BYTES_MIN));
        assert_eq!(bodies.parse(broken).await.err().map(|e| e.code), Some(ErrorCode::MalformedRequest));
        assert!(bodies.parse(large()).await.is_ok(), "a broken one gives its place back");
    }

    #[tokio::test]
    async fn size_and_time_are_bounded() {
        let long = "x".repeat(101);
        assert_eq!(value(Some("application/json"), long.into()).await, Err(ErrorCode::PayloadTooLarge));
        let unannounced = pieces(vec!["0123456789"; 11]);
        assert_eq!(value(Some("application/json"), unannounced).await, Err(ErrorCode::PayloadTooLarge));
        let silent = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        assert_eq!(value(Some("application/json"), silent).await, Err(ErrorCode::RequestTimeout));
        let broken = Body::from_stream(stream::iter([Ok("{"), Err(std::io::Error::other("cut off"))]));
        assert_eq!(value(Some("application/json"), broken).await, Err(ErrorCode::MalformedRequest));
    }
}
