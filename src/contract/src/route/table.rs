//! All routes, those of one noun together.

mod bundles;
mod enrollments;
mod nodes;
mod rollouts;

use super::{Access, Limiter, Method, Route};
use crate::operation::Operation;
use domain::api_key::Scope;

use Access::{ApiKey, FullAccess};
use Method::{Get, Patch, Post};

const NODES_READ: Access = Access::Scope(Scope::NodesRead);
const NODES_WRITE: Access = Access::Scope(Scope::NodesWrite);
const BUNDLES_READ: Access = Access::Scope(Scope::BundlesRead);
const BUNDLES_WRITE: Access = Access::Scope(Scope::BundlesWrite);
const ROLLOUTS_READ: Access = Access::Scope(Scope::RolloutsRead);
const ROLLOUTS_WRITE: Access = Access::Scope(Scope::RolloutsWrite);
const ENROLLMENTS_READ: Access = Access::Scope(Scope::EnrollmentsRead);
const ENROLLMENTS_WRITE: Access = Access::Scope(Scope::EnrollmentsWrite);
const KEYS: Access = Access::Scope(Scope::ApiKeysAdmin);

/// In the order of the documents.
pub const ROUTES: &[Route] = &joined::<{ count(PARTS) }>(PARTS);

const PARTS: &[&[Route]] =
    &[PROXIES, PROJECTS, nodes::ROUTES, bundles::ROUTES, rollouts::ROUTES, enrollments::ROUTES, API_KEYS];

/// Probes, published keys, and what nodes ask for themselves.
const PROXIES: &[Route] = &[
    public(Get, "/health", "The process is alive"),
    Route {
        also: &[503],
        ..public(Get, "/ready", "This replica is caught up, and what an answered mutation survives")
    },
    public(Get, "/metrics", "Prometheus metrics"),
    public(Get, "/api/openapi.json", "This document"),
    Route {
        limiter: Limiter::Api,
        ..public(Get, "/.well-known/jwks.json", "Public keys of the default org (RFC 7517)")
    },
    Route {
        limiter: Limiter::Api,
        also: &[404],
        ..public(Get, "/api/v1/orgs/{slug}/jwks.json", "Public keys of an org (RFC 7517)")
    },
    Route {
        limiter: Limiter::Registration,
        access: Access::JoinToken,
        success: 201,
        also: &[404, 422],
        ..public(Post, "/api/v1/projects/{slug}/nodes/register", "Register a node; shows its key once")
    },
    node(Post, "/api/v1/nodes/{id}/heartbeat", 200, &[422], "Tell that the node is alive and what it runs"),
    node(
        Get,
        "/api/v1/nodes/{id}/bundles/latest",
        200,
        &[422],
        "The bundle that the node should run, if it does not yet; waits for one if asked to",
    ),
    Route {
        access: Access::NodeKey,
        ..node(Post, "/api/v1/nodes/{id}/token", 200, &[503], "Exchange the node key for a 12-hour token")
    },
    node(
        Post,
        "/api/v1/nodes/{id}/key",
        200,
        &[409],
        "Replace the node's own key, or tell what it signs with; shows the new one once",
    ),
    node(Post, "/api/v1/nodes/{id}/events", 201, &[422], "Report one event or a batch"),
    node(Post, "/api/v1/nodes/{id}/config", 200, &[422], "Report the running configuration"),
    node(Post, "/api/v1/nodes/{id}/metrics", 200, &[422], "Report metrics and request logs"),
    node(Post, "/api/v1/nodes/{id}/waf-events", 200, &[422], "Report WAF events"),
    Route {
        access: Access::SignedUrl,
        limiter: Limiter::Api,
        also: &[206, 403, 404, 416],
        ..public(Get, "/api/v1/downloads/{digest}", "Bytes of a bundle archive; supports ranges")
    },
];

const PROJECTS: &[Route] = &[
    operator((Post, "/api/v1/projects"), Operation::ProjectCreate, FullAccess, 201, &[422], "Create a project"),
    operator(
        (Patch, "/api/v1/projects/{slug}"),
        Operation::ProjectUpdate,
        FullAccess,
        200,
        &[404, 422],
        "Say who may register nodes",
    ),
    operator((Get, "/api/v1/projects"), Operation::ProjectList, ApiKey, 200, &[], "List projects"),
    Route {
        access: ApiKey,
        limiter: Limiter::Api,
        also: &[422],
        ..public(
            Get,
            "/api/v1/projects/{slug}/stream",
            "Facts of a project as they happen (server-sent events); each kind needs its read scope",
        )
    },
];

const API_KEYS: &[Route] = &[
    operator(
        (Post, "/api/v1/api-keys"),
        Operation::ApiKeyCreate,
        KEYS,
        201,
        &[422],
        "Create an API key; shows it once",
    ),
    operator((Get, "/api/v1/api-keys"), Operation::ApiKeyList, KEYS, 200, &[], "List API keys"),
    operator((Get, "/api/v1/api-keys/{id}"), Operation::ApiKeyShow, KEYS, 200, &[404], "Show an API key"),
    operator((Post, "/api/v1/api-keys/{id}/revoke"), Operation::ApiKeyRevoke, KEYS, 200, &[404], "Revoke an API key"),
];

const fn public(method: Method, path: &'static str, summary: &'static str) -> Route {
    Route {
        method,
        path,
        access: Access::Public,
        limiter: Limiter::None,
        operation: None,
        success: 200,
        also: &[],
        summary,
    }
}

const fn node(method: Method, path: &'static str, success: u16, also: &'static [u16], summary: &'static str) -> Route {
    let (access, limiter) = (Access::Node, Limiter::Node);
    Route { method, path, access, limiter, operation: None, success, also, summary }
}

const fn operator(
    (method, path): (Method, &'static str),
    operation: Operation,
    access: Access,
    success: u16,
    also: &'static [u16],
    summary: &'static str,
) -> Route {
    Route { method, path, access, limiter: Limiter::Api, operation: Some(operation), success, also, summary }
}

const fn count(parts: &[&[Route]]) -> usize {
    let (mut count, mut part) = (0, 0);
    while part < parts.len() {
        count += parts[part].len();
        part += 1;
    }
    count
}

const fn joined<const COUNT: usize>(parts: &[&[Route]]) -> [Route; COUNT] {
    let mut all = [parts[0][0]; COUNT];
    let (mut at, mut part) = (0, 0);
    while part < parts.len() {
        let mut row = 0;
        while row < parts[part].len() {
            all[at] = parts[part][row];
            (at, row) = (at + 1, row + 1);
        }
        part += 1;
    }
    all
}
