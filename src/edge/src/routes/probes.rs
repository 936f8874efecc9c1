//! For those who watch the process rather than use it.

use crate::call::Call;
use crate::reply::{self, Refusal};
use crate::{metrics, openapi};
use axum::body::Body;
use axum::http::{HeaderValue, Response};
use serde_json::json;

pub(crate) async fn health(_: Call) -> Result<Response<Body>, Refusal> {
    Ok(reply::json(200, &json!({"status": "ok"})))
}

pub(crate) async fn ready(call: Call) -> Result<Response<Body>, Refusal> {
    let readiness = call.control().readiness().await;
    let status = if readiness.status == "ok" { 200 } else { 503 };
    Ok(reply::json(status, &readiness))
}

pub(crate) async fn metrics(call: Call) -> Result<Response<Body>, Refusal> {
    let text = call.endpoint().shared.metrics.scrape(call.control());
    Ok(reply::with_bytes(200, HeaderValue::from_static(metrics::CONTENT_TYPE), text))
}

pub(crate) async fn openapi(_: Call) -> Result<Response<Body>, Refusal> {
    Ok(reply::with_bytes(200, reply::JSON, openapi::text()))
}
