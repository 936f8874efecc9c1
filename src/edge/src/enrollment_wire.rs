//! What the enrollment document fixes for its paths alone: errors are `{"error": text}` and nothing beside it (the code is a
//! header), a rejected excess has its own words, every answer carries the security headers. And they are served under TLS only.

use crate::base_url::Scheme;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use contract::{ApiError, ErrorCode};
use serde_json::json;

const PREFIX: &str = "/api/v1/enroll";
const CODE: HeaderName = HeaderName::from_static("x-error-code");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: &str = "text/event-stream";
const LIMITED: &str = "rate limit exceeded";
/// Where no bucket says when there is room again.
const RETRY_AFTER_S: u32 = 10;
const SECURITY: [(HeaderName, &str); 4] = [
    (header::STRICT_TRANSPORT_SECURITY, "max-age=63072000; includeSubDomains"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// An error that an answer tells, for those who tell it in other words.
#[derive(Clone)]
pub(crate) struct Told(pub ApiError);

pub(crate) fn is_enrollment(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// What hosts ask for, as opposed to operators.
pub(crate) fn is_hosts(path: &str) -> bool {
    path == PREFIX || path.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with('/'))
}

/// 404 on the plain listener: a stranger in between could read credentials there.
pub(crate) fn check_scheme(path: &str, scheme: Scheme) -> Result<(), ApiError> {
    match is_enrollment(path) && scheme == Scheme::Http {
        true => Err(ApiError::new(ErrorCode::NotFound, "there is no such path here; enrollment is served under TLS")),
        false => Ok(()),
    }
}

/// Brings an answer into the document's shape; `is_hosts`: to what a host asked.
pub(crate) fn shape(is_hosts: bool, response: &mut Response<Body>) {
    if let Some(Told(error)) = response.extensions_mut().remove::<Told>() {
        let text = match error.code {
            ErrorCode::RateLimited => LIMITED.to_owned(),
            _ => error.to_string(),
        };
        let body = json!({"error": text}).to_string();
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::from(body);
        response.headers_mut().insert(CODE, HeaderValue::from_static(error.code.as_str()));
        if error.code == ErrorCode::RateLimited {
            response.headers_mut().entry(header::RETRY_AFTER).or_insert(HeaderValue::from(RETRY_AFTER_S));
        }
    }
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        // A HEAD that a route for GET would serve comes from there.
        response.headers_mut().entry(header::ALLOW).or_insert(HeaderValue::from_static("GET"));
    }
    let is_stream = response.headers().get(header::CONTENT_TYPE).is_some_and(|media| media == EVENTS);
    let is_unauthorized = response.status() == StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    for (name, value) in SECURITY {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if is_stream {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    } else if headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, JSON);
    }
    if is_unauthorized && is_hosts {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Nkey"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_paths_are_not_operators() {
        for (path, enrollment, hosts) in [
            ("/api/v1/enroll", true, true),
            ("/api/v1/enroll/nonce", true, true),
            ("/api/v1/enrollments", true, false),
            ("/api/v1/enrollments/x/approve", true, false),
            ("/api/v1/nodes", false, false),
        ] {
            assert_eq!((is_enrollment(path), is_hosts(path)), (enrollment, hosts), "{path}");
        }
    }
}
