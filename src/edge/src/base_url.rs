//! Who is connected, and under which name they reached us: the start of every link in an answer.

use crate::auth::malformed;
use axum::http::request::Parts;
use axum::http::uri::{Authority, Uri};
use axum::http::{Version, header};
use contract::ApiError;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// Both ends of a connection. The listener puts it into every request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// The address that the listener is bound to.
    pub local: SocketAddr,
    pub scheme: Scheme,
}

impl Peer {
    /// A request that came over no connection of ours: somebody drives the router in process.
    pub(crate) const IN_PROCESS: Peer = Peer {
        address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
        local: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 80),
        scheme: Scheme::Http,
    };
}

/// Scheme and authority without a slash at the end. `host` is the request's only `Host`, if it sent one; what is not a plain
/// authority is not repeated to anybody.
pub(crate) fn base_url(public_url: &str, peer: &Peer, uri: &Uri, host: Option<&str>) -> String {
    if !public_url.is_empty() {
        return public_url.trim_end_matches('/').to_owned();
    }
    let scheme = peer.scheme.as_str();
    let named = uri.authority().map(Authority::as_str).or(host).filter(|text| is_plain_authority(text));
    match named {
        Some(authority) => format!("{scheme}://{authority}"),
        None => format!("{scheme}://{}", peer.local),
    }
}

/// HTTP/1.1 asks for exactly one `Host`, whatever the target's form; HTTP/1.0 for at most one (RFC 9112 §3.2).
pub(crate) fn check_host(parts: &Parts) -> Result<(), ApiError> {
    let count = parts.headers.get_all(header::HOST).iter().take(2).count();
    match count {
        0 if parts.version == Version::HTTP_11 => Err(malformed("the header host is missing")),
        2 => Err(malformed("the header host is given more than once")),
        _ => Ok(()),
    }
}

/// A host name or address with an optional port; no user, no escapes.
fn is_plain_authority(text: &str) -> bool {
    let Ok(authority) = text.parse::<Authority>() else { return false };
    let host = authority.host();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let host_ok = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(plain),
    };
    let rest = &text[text.len().min(host.len())..];
    let port_ok = rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    host_ok && text.starts_with(host) && port_ok
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn url(host: Option<&str>) -> String {
        base_url("", &Peer::IN_PROCESS, &"/x".parse().unwrap(), host)
    }

    #[test]
    fn the_name_that_the_client_used_is_kept() {
        assert_eq!(url(Some("control.example:4000")), "http://control.example:4000");
        assert_eq!(url(Some("[::1]:4000")), "http://[::1]:4000");
        assert_eq!(url(None), "http://127.0.0.1:80");
    }

    #[test]
    fn what_is_no_authority_is_not_repeated() {
        let long_port = "a:99999";
        for bad in ["user@evil", "a b", "a/b", "a?x", "", ":80", long_port, "[::g]", "a\"b", "a%00", "a:", "[::1"] {
            assert_eq!(url(Some(bad)), "http://127.0.0.1:80", "{bad}");
        }
    }

    #[test]
    fn the_setting_wins() {
        let uri = "/x".parse().unwrap();
        let url = base_url("https://control.example/", &Peer::IN_PROCESS, &uri, Some("other"));
        assert_eq!(url, "https://control.example");
    }
}
