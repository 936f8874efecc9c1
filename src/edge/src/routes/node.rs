//! The node API, as the registration document fixes it. Every route but registration names a node and shows its credential.

use crate::auth::join_token;
use crate::call::Call;
use crate::reply::{self, Refusal};
use axum::body::Body;
use axum::http::Response;
use contract::{ApiError, Heartbeat, ReplaceKey};
use serde::Serialize;

pub(crate) async fn register(mut call: Call) -> Result<Response<Body>, Refusal> {
    call.take_by_address()?;
    let key = call.idempotency_key()?.map(str::to_owned);
    let join_token = join_token(call.headers())?.map(str::to_owned);
    let body = call.read_body().await?;
    let project = call.param("slug").unwrap_or_default();
    let ip = call.peer().address.ip();
    let (registered, position) =
        call.control().register(project, body, ip, join_token.as_deref(), key.as_deref()).await?;
    let mut response = reply::json(call.route().success, &registered);
    reply::set_position(&mut response, position);
    Ok(response)
}

pub(crate) async fn heartbeat(mut call: Call) -> Result<Response<Body>, Refusal> {
    let node = call.node().await?;
    let beat = Heartbeat::parse(call.read_body().await?).map_err(ApiError::from)?;
    answer(&call, call.control().heartbeat(&node, beat).await)
}

pub(crate) async fn latest_bundle(call: Call) -> Result<Response<Body>, Refusal> {
    let node = call.node().await?;
    let base_url = call.base_url()?;
    let wait_s = contract::wait_s(&call.query()?).map_err(ApiError::from)?;
    answer(&call, call.control().await_bundle(&node, wait_s, &base_url).await)
}

pub(crate) async fn token(mut call: Call) -> Result<Response<Body>, Refusal> {
    let node = call.node().await?;
    call.read_body().await?;
    answer(&call, call.control().issue_token(&node).await)
}

pub(crate) async fn rotate_key(mut call: Call) -> Result<Response<Body>, Refusal> {
    let node = call.node().await?;
    let wish = ReplaceKey::parse(call.read_body().await?).map_err(ApiError::from)?;
    answer(&call, call.control().rotate_node_key(&node, wish).await)
}

pub(crate) async fn events(mut call: Call) -> Result<Response<Body>, Refusal> {
    let node = call.node().await?;
    let body = call.read_body().await?;
    answer(&call, call.control().ingest_events(&node, body).await)
}

pub(crate) async fn config(mut call: Call) -> Result<Response<Body>, Refusal> {
    let node = call.node().await?;
    let body = call.read_body().await?;
    answer(&call, call.control().ingest_config(&node, body).await)
}

pub(crate) async fn metrics(mut call: Call) -> Result<Response<Body>, Refusal> {
    let node = call.node().await?;
    let body = call.read_body().await?;
    answer(&call, call.control().ingest_metrics(&node, body).await)
}

pub(crate) async fn waf_events(mut call: Call) -> Result<Response<Body>, Refusal> {
    let node = call.node().await?;
    let body = call.read_body().await?;
    answer(&call, call.control().ingest_waf_events(&node, body).await)
}

fn answer(call: &Call, result: Result<impl Serialize, ApiError>) -> Result<Response<Body>, Refusal> {
    Ok(reply::json(call.route().success, &result?))
}
