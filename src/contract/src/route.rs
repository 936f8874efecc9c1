//! The one table of routes: the router, its tests and the OpenAPI document are made of it.

mod statuses;
mod table;

pub use table::ROUTES;

use crate::operation::Operation;
use domain::api_key::Scope;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    Get,
    Post,
    Patch,
    Delete,
}

impl Method {
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Public,
    /// `X-Pilothouse-Join-Token`, where the project's policy asks for one.
    JoinToken,
    /// `X-Zentinel-Node-Key`, or `Authorization: Bearer <node token>`.
    Node,
    /// `X-Zentinel-Node-Key` alone.
    NodeKey,
    /// An API key with this scope (or without any scopes).
    Scope(Scope),
    /// Any live API key.
    ApiKey,
    /// An API key without scopes that is not confined to a project.
    FullAccess,
    /// The signature in the URL.
    SignedUrl,
    /// A challenge that the host's key signed, in the body.
    Challenge,
    /// `Authorization: Nkey <public key>:<signature of the enrollment's id>`.
    HostKey,
}

/// Which token bucket counts the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limiter {
    /// Not limited: probes.
    None,
    /// Per address: registrations.
    Registration,
    /// Per node.
    Node,
    /// Enrollment, per address; per join token for those who show one.
    Enrollment,
    /// Per API key, else per address; carries the `X-RateLimit-*` headers.
    Api,
}

#[derive(Clone, Copy, Debug)]
pub struct Route {
    pub method: Method,
    /// axum's spelling, `{name}` for a parameter. `{slug}` is the project, `{id}` the resource.
    pub path: &'static str,
    pub access: Access,
    pub limiter: Limiter,
    /// The operation behind it, for operator routes.
    pub operation: Option<Operation>,
    /// Status of success.
    pub success: u16,
    /// Further statuses that the route itself gives, beside those of its access, limiter and body.
    pub also: &'static [u16],
    pub summary: &'static str,
}

impl Route {
    /// The row of an operator operation.
    pub fn of(operation: Operation) -> &'static Route {
        ROUTES
            .iter()
            .find(|route| route.operation == Some(operation))
            .expect("a test holds every operation in the table")
    }

    /// Whether a repeat must be recognised by its `Idempotency-Key`.
    pub fn is_mutation(&self) -> bool {
        self.method != Method::Get
    }
}

#[cfg(test)]
mod tests;
