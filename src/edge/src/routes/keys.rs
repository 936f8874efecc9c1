//! Public keys of an org (RFC 7517), for those who check node tokens or bundles themselves.

use crate::call::Call;
use crate::reply::{self, Refusal};
use axum::body::Body;
use axum::http::Response;

pub(crate) async fn of_default_org(call: Call) -> Result<Response<Body>, Refusal> {
    answer(&call, None)
}

pub(crate) async fn of_org(call: Call) -> Result<Response<Body>, Refusal> {
    answer(&call, call.param("slug"))
}

fn answer(call: &Call, org: Option<&str>) -> Result<Response<Body>, Refusal> {
    let verdict = call.take_by_address()?;
    let keys = call.control().jwks(org);
    let mut response = keys.map_or_else(|e| reply::error(&e), |keys| reply::json(200, &keys));
    if let Some(verdict) = verdict {
        verdict.write_headers(response.headers_mut());
    }
    Ok(response)
}
