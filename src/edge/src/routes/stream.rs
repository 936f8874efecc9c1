//! Facts as server-sent events (the HTML standard's `text/event-stream`): `id` is the position in the journal, `event` the
//! fact's type, `data` its JSON. A comment with an id tells now and then that the connection lives; `reset` tells that facts are
//! missing.

use super::operator::{authenticate, bucket};
use crate::auth::{malformed, single};
use crate::call::Call;
use crate::reply::{self, Refusal};
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header};
use contract::{ApiError, ErrorCode};
use control::{Caller, FactStream, StreamItem};
use futures_util::{StreamExt, stream};
use std::convert::Infallible;

const MEDIA: HeaderValue = HeaderValue::from_static("text/event-stream");
/// Proxies that collect answers are asked not to.
const UNBUFFERED: (&str, HeaderValue) = ("x-accel-buffering", HeaderValue::from_static("no"));
/// Tells clients how many milliseconds to wait before they come back; it also sends the head on its way.
const GREETING: Bytes = Bytes::from_static(b"retry: 3000\n\n");
const LAST_EVENT_ID: &str = "last-event-id";
/// When to try again for a place among the open streams.
const RETRY_AFTER_S: u32 = 10;

pub(crate) async fn facts(call: Call) -> Result<Response<Body>, Refusal> {
    let caller = authenticate(&call).await?;
    let verdict = call.take(bucket(&call, &caller))?;
    let mut response = match open(&call, &caller).await {
        Ok(facts) => streaming(facts),
        Err(e) => refused(&e),
    };
    if let Some(verdict) = verdict {
        verdict.write_headers(response.headers_mut());
    }
    Ok(response)
}

async fn open(call: &Call, caller: &Caller) -> Result<FactStream, ApiError> {
    let query = call.query()?;
    let parse = |text: &str| text.parse().map_err(|_| malformed("Last-Event-ID must be a position: a whole number"));
    // A client that never got an event sends an empty one.
    let last = single(call.headers(), LAST_EVENT_ID)?.filter(|text| !text.is_empty()).map(parse).transpose()?;
    call.control().stream(caller, call.param("slug").unwrap_or_default(), &query, last).await
}

fn streaming(facts: FactStream) -> Response<Body> {
    let pieces = stream::unfold(facts, |mut facts| async move {
        let item = facts.next().await?;
        Some((Ok::<_, Infallible>(piece(&item)), facts))
    });
    let body = Body::from_stream(stream::once(async { Ok(GREETING) }).chain(pieces));
    let mut response = reply::with_bytes(200, MEDIA, body);
    response.headers_mut().insert(UNBUFFERED.0, UNBUFFERED.1);
    response
}

fn refused(error: &ApiError) -> Response<Body> {
    let mut response = reply::error(error);
    if error.code == ErrorCode::RateLimited {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
    }
    response
}

/// JSON has no line breaks of its own, so that each fact is one line of data.
fn piece(item: &StreamItem) -> Bytes {
    let facts = match item {
        // An id without data moves the client's place and is no event to it.
        StreamItem::Quiet { position } => return format!(":\nid: {position}\n\n").into(),
        StreamItem::Reset { position } => {
            return format!("id: {position}\nevent: reset\ndata: {{\"position\":{position}}}\n\n").into();
        }
        StreamItem::Facts(facts) => facts,
    };
    let mut bytes = Vec::with_capacity(facts.iter().map(|fact| fact.json.len() + 100).sum());
    for fact in facts {
        bytes.extend_from_slice(format!("id: {}\nevent: {}\ndata: ", fact.position, fact.name).as_bytes());
        bytes.extend_from_slice(&fact.json);
        bytes.extend_from_slice(b"\n\n");
    }
    bytes.into()
}
