//! The HTTP edge: both listeners, one router made of the contract's table of routes, and what every exchange has in common
//! (request ids, limits, time limits, error bodies, metrics).
//!
//! Absent on purpose: any decision. A handler reads the request, asks `control`, and writes the answer; it holds no state of
//! the fleet and no way to append.

mod accept;
mod auth;
mod base_url;
mod body;
mod call;
mod config;
mod enrollment_wire;
mod exchange;
mod limits;
mod listener;
mod metrics;
mod openapi;
mod reply;
mod request_id;
mod router;
mod routes;

pub use base_url::{Peer, Scheme};
pub use config::{EdgeConfig, LimitsConfig, ListenConfig, TlsFiles};
pub use listener::{ListenError, Listeners, serve};
pub use openapi::document as openapi_document;
pub use router::Edge;

#[cfg(test)]
mod tests;
