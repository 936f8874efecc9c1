//! Every operator route: the request in the shape that NATS clients send too, and `control`'s answer as it is.

use crate::auth::api_key;
use crate::call::Call;
use crate::enrollment_wire::{Told, is_enrollment};
use crate::limits::Key;
use crate::reply::{self, Refusal};
use axum::body::Body;
use axum::http::Response;
use contract::{Answer, ApiError, ErrorBody, ErrorCode, Request, Route};
use control::Caller;
use domain::{Actor, ApiKeyId, Position};
use serde_json::Value;

pub(crate) async fn perform(call: Call) -> Result<Response<Body>, Refusal> {
    let caller = authenticate(&call).await?;
    let verdict = call.take(bucket(&call, &caller))?;
    let mut response = match answer(call, &caller).await {
        Ok(response) => response,
        Err(e) => reply::error(&e),
    };
    if let Some(verdict) = verdict {
        verdict.write_headers(response.headers_mut());
    }
    Ok(response)
}

pub(super) async fn authenticate(call: &Call) -> Result<Caller, Refusal> {
    let key = match api_key(call.headers()) {
        Ok(key) => key,
        Err(e) => return Err(call.denied(e)),
    };
    call.control().authenticate_api_key(key).await.map_err(|e| call.denied(e))
}

/// A key's bucket is its own, wherever its requests come from.
pub(super) fn bucket(call: &Call, caller: &Caller) -> Key {
    let id = match &caller.actor {
        Actor::ApiKey(id) => id.parse::<ApiKeyId>().ok(),
        _ => None,
    };
    id.map_or_else(|| Key::address(call.peer().address.ip()), |id| Key::Id(*id.as_uuid().as_bytes()))
}

/// An error of `control` is one for those who tell errors in other words, too.
fn told(mut response: Response<Body>, answer: &Answer) -> Response<Body> {
    if let Some(ErrorBody { error, code }) = answer.error() {
        response.extensions_mut().insert(Told(ApiError { code, message: error }));
    }
    response
}

/// The enrollment document has words of its own for a body that is no JSON.
fn worded(route: &Route, error: ApiError) -> ApiError {
    match error.code {
        ErrorCode::MalformedRequest if is_enrollment(route.path) => ApiError::new(error.code, "invalid JSON body"),
        _ => error,
    }
}

async fn answer(mut call: Call, caller: &Caller) -> Result<Response<Body>, ApiError> {
    let Some(operation) = call.route().operation else {
        return Err(ApiError::new(ErrorCode::NotFound, "there is no such path"));
    };
    let mut query = call.query()?;
    let min_position = call.min_position(&query)?;
    query.remove("min_position");
    let idempotency_key = call.idempotency_key()?.map(str::to_owned);
    let base_url = call.base_url()?;
    let body = match call.route().is_mutation() {
        true => call.read_body().await.map_err(|e| worded(call.route(), e))?,
        false => Value::Null,
    };
    let owned = |name| call.param(name).map(str::to_owned);
    let request = Request { project: owned("slug"), id: owned("id"), query, body, idempotency_key, min_position };
    let answer = call.control().perform(caller, operation, request, &base_url).await;
    let mut response = match answer.status {
        204 => reply::no_content(),
        status => told(reply::json(status, &answer.body), &answer),
    };
    reply::set_position(&mut response, Position(answer.position));
    Ok(response)
}
