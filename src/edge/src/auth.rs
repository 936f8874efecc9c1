//! Which credential a request shows. Whether it is good is `control`'s to say.
//!
//! The authentication document fixes the headers and messages: API keys and node tokens as `Authorization: Bearer`, static
//! node keys as `X-Zentinel-Node-Key`. A Bearer that is sent decides; a node key beside it is not looked at.

use axum::http::{HeaderMap, header};
use contract::{Access, ApiError, ErrorCode};
use control::NodeCredential;

const NODE_KEY: &str = "x-zentinel-node-key";
const JOIN_TOKEN: &str = "x-pilothouse-join-token";
const MISSING_NODE: &str =
    "Missing authentication. Provide Authorization: Bearer <token> or X-Zentinel-Node-Key header.";
const MISSING_NODE_KEY: &str = "Missing authentication. Provide X-Zentinel-Node-Key header.";

/// The value of a header that must not come twice, as text.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(malformed(format!("the header {name} is given more than once")));
    }
    let text =
        value.to_str().map_err(|_| malformed(format!("the header {name} holds characters that are not allowed")))?;
    Ok(Some(text))
}

pub(crate) fn api_key(headers: &HeaderMap) -> Result<&str, ApiError> {
    bearer(headers)?.ok_or_else(|| missing("Missing Authorization header"))
}

/// For a node's routes; `access` says whether a token will do.
pub(crate) fn node_credential(headers: &HeaderMap, access: Access) -> Result<NodeCredential<'_>, ApiError> {
    let key_only = access == Access::NodeKey;
    if !key_only && let Some(token) = bearer(headers)? {
        return Ok(NodeCredential::Token(token));
    }
    match single(headers, NODE_KEY)? {
        Some(key) => Ok(NodeCredential::Key(key.trim())),
        None => Err(missing(if key_only { MISSING_NODE_KEY } else { MISSING_NODE })),
    }
}

/// What a host shows that wants to become a node.
pub(crate) fn join_token(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    Ok(single(headers, JOIN_TOKEN)?.map(str::trim))
}

/// What follows `Bearer`; none when nothing or another scheme was sent.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(text) = single(headers, header::AUTHORIZATION.as_str())? else { return Ok(None) };
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    Ok(scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim()))
}

pub(crate) fn malformed(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::MalformedRequest, message)
}

fn missing(message: &str) -> ApiError {
    ApiError::new(ErrorCode::MissingCredential, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn shown(pairs: &[(&'static str, &str)], access: Access) -> Result<String, ErrorCode> {
        match node_credential(&headers(pairs), access) {
            Ok(NodeCredential::Key(key)) => Ok(format!("key {key}")),
            Ok(NodeCredential::Token(token)) => Ok(format!("token {token}")),
            Err(e) => Err(e.code),
        }
    }

    #[test]
    fn a_bearer_decides_and_only_a_bearer() {
        let (bearer, key) = (("authorization", "bearer t"), ("x-zentinel-node-key", "k"));
        assert_eq!(shown(&[bearer, key], Access::Node), Ok("token t".to_owned()));
        assert_eq!(shown(&[key], Access::Node), Ok("key k".to_owned()));
        assert_eq!(shown(&[("authorization", "Basic eA=="), key], Access::Node), Ok("key k".to_owned()));
        assert_eq!(shown(&[("authorization", "Bearer"), key], Access::Node), Ok("token ".to_owned()));
        assert_eq!(shown(&[bearer, key], Access::NodeKey), Ok("key k".to_owned()));
        assert_eq!(shown(&[bearer], Access::NodeKey), Err(ErrorCode::MissingCredential));
        assert_eq!(shown(&[], Access::Node), Err(ErrorCode::MissingCredential));
    }

    #[test]
    fn doubled_credentials_are_malformed() {
        let twice = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
        assert_eq!(shown(&twice, Access::Node), Err(ErrorCode::MalformedRequest));
        let twice = [("x-zentinel-node-key", "a"), ("x-zentinel-node-key", "a")];
        assert_eq!(shown(&twice, Access::Node), Err(ErrorCode::MalformedRequest));
        assert_eq!(api_key(&headers(&[])).unwrap_err().to_string(), "Missing Authorization header");
    }
}
