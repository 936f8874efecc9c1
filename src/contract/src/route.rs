//! The one table of routes. The router, its tests and the OpenAPI document are made of it.

use crate::operation::Operation;
use domain::api_key::Scope;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    Get,
    Post,
    Delete,
}

impl Method {
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Delete => "DELETE",
        }
    }
}

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Public,
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

use Access::{ApiKey, FullAccess};
use Method::{Delete, Get, Post};

const NODES_READ: Access = Access::Scope(Scope::NodesRead);
const NODES_WRITE: Access = Access::Scope(Scope::NodesWrite);
const BUNDLES_READ: Access = Access::Scope(Scope::BundlesRead);
const BUNDLES_WRITE: Access = Access::Scope(Scope::BundlesWrite);
const ROLLOUTS_READ: Access = Access::Scope(Scope::RolloutsRead);
const ROLLOUTS_WRITE: Access = Access::Scope(Scope::RolloutsWrite);
const KEYS: Access = Access::Scope(Scope::ApiKeysAdmin);

pub const ROUTES: &[Route] = &[
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
    operator((Post, "/api/v1/projects"), Operation::ProjectCreate, FullAccess, 201, &[422], "Create a project"),
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
    operator((Get, "/api/v1/projects/{slug}/nodes"), Operation::NodeList, NODES_READ, 200, &[404, 422], "List nodes"),
    operator(
        (Get, "/api/v1/projects/{slug}/nodes/stats"),
        Operation::NodeStats,
        NODES_READ,
        200,
        &[404],
        "Count nodes",
    ),
    operator((Get, "/api/v1/projects/{slug}/nodes/{id}"), Operation::NodeShow, NODES_READ, 200, &[404], "Show a node"),
    operator(
        (Delete, "/api/v1/projects/{slug}/nodes/{id}"),
        Operation::NodeDelete,
        NODES_WRITE,
        204,
        &[404],
        "Delete a node and its credentials",
    ),
    operator(
        (Get, "/api/v1/projects/{slug}/nodes/{id}/events"),
        Operation::NodeEvents,
        NODES_READ,
        200,
        &[404, 422],
        "Events that a node reported",
    ),
    operator(
        (Get, "/api/v1/projects/{slug}/nodes/{id}/config"),
        Operation::NodeConfig,
        NODES_READ,
        200,
        &[404],
        "The running configuration that a node reported last",
    ),
    operator(
        (Get, "/api/v1/projects/{slug}/nodes/{id}/metrics"),
        Operation::NodeMetrics,
        NODES_READ,
        200,
        &[404, 422],
        "Metrics that a node reported",
    ),
    operator(
        (Get, "/api/v1/projects/{slug}/nodes/{id}/waf-events"),
        Operation::NodeWafEvents,
        NODES_READ,
        200,
        &[404, 422],
        "WAF events that a node reported",
    ),
    operator(
        (Get, "/api/v1/projects/{slug}/events"),
        Operation::NodeAllEvents,
        NODES_READ,
        200,
        &[404, 422],
        "Events of all nodes of a project",
    ),
    operator(
        (Get, "/api/v1/projects/{slug}/waf-events"),
        Operation::NodeAllWafEvents,
        NODES_READ,
        200,
        &[404, 422],
        "WAF events of all nodes of a project",
    ),
    operator(
        (Post, "/api/v1/projects/{slug}/bundles"),
        Operation::BundleCreate,
        BUNDLES_WRITE,
        201,
        &[404, 422],
        "Compile a configuration into a bundle",
    ),
    operator(
        (Get, "/api/v1/projects/{slug}/bundles"),
        Operation::BundleList,
        BUNDLES_READ,
        200,
        &[404, 422],
        "List bundles",
    ),
    operator(
        (Get, "/api/v1/projects/{slug}/bundles/{id}"),
        Operation::BundleShow,
        BUNDLES_READ,
        200,
        &[404],
        "Show a bundle",
    ),
    operator(
        (Get, "/api/v1/projects/{slug}/bundles/{id}/download"),
        Operation::BundleDownload,
        BUNDLES_READ,
        200,
        &[404, 409],
        "Where to get the archive",
    ),
    operator(
        (Get, "/api/v1/projects/{slug}/bundles/{id}/verify"),
        Operation::BundleVerify,
        BUNDLES_READ,
        200,
        &[404, 409],
        "Read the archive back and check it",
    ),
    operator(
        (Post, "/api/v1/projects/{slug}/bundles/{id}/revoke"),
        Operation::BundleRevoke,
        BUNDLES_WRITE,
        200,
        &[404, 409, 422],
        "Forbid further deployment",
    ),
    operator(
        (Delete, "/api/v1/projects/{slug}/bundles/{id}"),
        Operation::BundleDelete,
        BUNDLES_WRITE,
        204,
        &[404, 409],
        "Delete a bundle that was never deployed",
    ),
    operator(
        (Post, "/api/v1/projects/{slug}/rollouts"),
        Operation::RolloutCreate,
        ROLLOUTS_WRITE,
        201,
        &[404, 409, 422],
        "Create a rollout and start it",
    ),
    operator(
        (Get, "/api/v1/projects/{slug}/rollouts"),
        Operation::RolloutList,
        ROLLOUTS_READ,
        200,
        &[404, 422],
        "List rollouts",
    ),
    operator(
        (Get, "/api/v1/projects/{slug}/rollouts/{id}"),
        Operation::RolloutShow,
        ROLLOUTS_READ,
        200,
        &[404],
        "Show a rollout with its steps and progress",
    ),
    operator(
        (Post, "/api/v1/projects/{slug}/rollouts/{id}/pause"),
        Operation::RolloutPause,
        ROLLOUTS_WRITE,
        200,
        &[404, 409],
        "Pause a rollout",
    ),
    operator(
        (Post, "/api/v1/projects/{slug}/rollouts/{id}/resume"),
        Operation::RolloutResume,
        ROLLOUTS_WRITE,
        200,
        &[404, 409],
        "Resume a paused rollout; failed nodes are tried once more",
    ),
    operator(
        (Post, "/api/v1/projects/{slug}/rollouts/{id}/cancel"),
        Operation::RolloutCancel,
        ROLLOUTS_WRITE,
        200,
        &[404, 409],
        "Cancel a rollout",
    ),
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

    /// Every status that a client may see.
    pub fn statuses(&self) -> Vec<u16> {
        let mut all = vec![self.success, 400, 503];
        all.extend(self.also);
        match self.access {
            Access::Public => {}
            Access::SignedUrl => all.push(403),
            Access::Node | Access::NodeKey | Access::Scope(_) | Access::ApiKey | Access::FullAccess => {
                all.extend([401, 403])
            }
        }
        if self.path.contains('{') {
            all.push(404);
        }
        if self.is_mutation() {
            all.extend([408, 413, 415, 422]);
        }
        if self.limiter != Limiter::None {
            all.push(429);
        }
        all.sort_unstable();
        all.dedup();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_exactly_one_route() {
        for operation in Operation::ALL {
            assert_eq!(ROUTES.iter().filter(|r| r.operation == Some(operation)).count(), 1, "{}", operation.name());
        }
    }

    #[test]
    fn every_route_tells_the_statuses_of_its_access_limiter_and_body() {
        for route in ROUTES {
            let all = route.statuses();
            let has = |status: u16| all.contains(&status);
            assert!(all.is_sorted() && all.windows(2).all(|pair| pair[0] != pair[1]), "{}", route.path);
            assert!(has(route.success) && route.also.iter().all(|status| has(*status)), "{}", route.path);
            let open = matches!(route.access, Access::Public | Access::SignedUrl);
            assert_eq!(has(401), !open, "{}", route.path);
            assert_eq!(has(403), route.access != Access::Public, "{}", route.path);
            assert_eq!(has(429), route.limiter != Limiter::None, "{}", route.path);
            assert_eq!(has(413), route.is_mutation(), "{}", route.path);
            assert!(has(404) || !route.path.contains('{'), "{}", route.path);
        }
    }

    #[test]
    fn operations_read_back_by_name_and_carry_the_scope_of_their_noun() {
        for operation in Operation::ALL {
            assert_eq!(Operation::parse(operation.name()), Some(operation));
            let (noun, _) = operation.name().split_once('.').unwrap_or_default();
            if let Access::Scope(scope) = Route::of(operation).access {
                let (of, right) = scope.as_str().split_once(':').unwrap_or_default();
                assert_eq!(of.replace('_', ""), format!("{noun}s"), "{}", operation.name());
                let write = Route::of(operation).is_mutation();
                assert!(right == "admin" || (right == "write") == write, "{}", operation.name());
            }
        }
        assert_eq!(Operation::parse("node.reboot"), None);
    }

    #[test]
    fn no_route_is_listed_twice() {
        for (i, route) in ROUTES.iter().enumerate() {
            assert!(!ROUTES[..i].iter().any(|r| (r.method, r.path) == (route.method, route.path)), "{}", route.path);
        }
    }
}
