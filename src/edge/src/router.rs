//! The router: the contract's table of routes, each row with its handler. What is not in the table is answered here.

use crate::body::LargeBodies;
use crate::config::EdgeConfig;
use crate::enrollment_wire::is_hosts;
use crate::exchange::{self, Endpoint, Shared};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::reply::Refusal;
use crate::request_id::RequestIds;
use crate::routes::{download, enroll, keys, node, operator, probes, stream};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Response};
use axum::routing::{MethodFilter, MethodRouter};
use contract::{ApiError, ErrorCode, Method, ROUTES, Route};
use control::Control;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One replica's HTTP side. Cheap to clone; clones share limits and metrics.
#[derive(Clone)]
pub struct Edge {
    pub(crate) shared: Arc<Shared>,
}

impl Edge {
    pub fn new(control: Control, config: EdgeConfig) -> Edge {
        let limits = Limits::new(&config.limits);
        let (metrics, request_ids) = (Arc::new(Metrics::new(control.store_metrics())), RequestIds::new());
        Edge {
            shared: Arc::new(Shared {
                control,
                config,
                limits,
                metrics,
                request_ids,
                large_bodies: LargeBodies::new(),
            }),
        }
    }

    /// Serves every row of [`ROUTES`]. A request should carry a [`crate::Peer`] in its extensions; without one it counts as
    /// coming from this process.
    pub fn router(&self) -> Router {
        let mut router = Router::new();
        for (path, methods) in self.paths() {
            router = router.route(path, methods);
        }
        let meter = self.shared.metrics.unmatched();
        let shared = self.shared.clone();
        router.fallback(move |method: axum::http::Method, uri: axum::http::Uri| async move {
            let error = ApiError::new(ErrorCode::NotFound, "there is no such path");
            exchange::refuse(&shared, &meter, (&method, uri.path()), &error, None)
        })
    }

    fn paths(&self) -> BTreeMap<&'static str, MethodRouter> {
        let mut paths: BTreeMap<&'static str, MethodRouter> = BTreeMap::new();
        for route in ROUTES {
            let known = paths.remove(route.path).unwrap_or_else(|| self.other_methods(route.path));
            let served = serve(&self.shared, route).expect("a test holds every row of the table served");
            paths.insert(route.path, known.merge(served));
        }
        paths
    }

    /// 405 with the methods that the path knows.
    fn other_methods(&self, path: &'static str) -> MethodRouter {
        let allow = HeaderValue::try_from(allowed(path)).expect("method names are valid in a header");
        let meter = self.shared.metrics.unmatched();
        let shared = self.shared.clone();
        MethodRouter::new().fallback(move |method: axum::http::Method| async move {
            let error = ApiError::new(ErrorCode::MethodNotAllowed, "the path does not know this method");
            exchange::refuse(&shared, &meter, (&method, path), &error, Some(allow))
        })
    }
}

/// The methods of a path as `Allow` lists them.
fn allowed(path: &str) -> String {
    let rows = ROUTES.iter().filter(|route| route.path == path);
    let names = rows.map(|route| match route.method {
        Method::Get if is_hosts(path) => "GET",
        Method::Get => "GET, HEAD",
        other => other.as_str(),
    });
    names.collect::<Vec<_>>().join(", ")
}

/// From a row of the table to its handler; none for a row that nobody serves.
fn serve(shared: &Arc<Shared>, route: &'static Route) -> Option<MethodRouter> {
    use Method::{Get, Post};
    let endpoint = Arc::new(Endpoint::new(shared, route));
    if route.operation.is_some() {
        return Some(on(endpoint, operator::perform));
    }
    Some(match (route.method, route.path) {
        (Get, "/health") => on(endpoint, probes::health),
        (Get, "/ready") => on(endpoint, probes::ready),
        (Get, "/metrics") => on(endpoint, probes::metrics),
        (Get, "/api/openapi.json") => on(endpoint, probes::openapi),
        (Get, "/.well-known/jwks.json") => on(endpoint, keys::of_default_org),
        (Get, "/api/v1/orgs/{slug}/jwks.json") => on(endpoint, keys::of_org),
        (Post, "/api/v1/projects/{slug}/nodes/register") => on(endpoint, node::register),
        (Post, "/api/v1/nodes/{id}/heartbeat") => on(endpoint, node::heartbeat),
        (Get, "/api/v1/nodes/{id}/bundles/latest") => on(endpoint, node::latest_bundle),
        (Post, "/api/v1/nodes/{id}/token") => on(endpoint, node::token),
        (Post, "/api/v1/nodes/{id}/key") => on(endpoint, node::rotate_key),
        (Post, "/api/v1/nodes/{id}/events") => on(endpoint, node::events),
        (Post, "/api/v1/nodes/{id}/config") => on(endpoint, node::config),
        (Post, "/api/v1/nodes/{id}/metrics") => on(endpoint, node::metrics),
        (Post, "/api/v1/nodes/{id}/waf-events") => on(endpoint, node::waf_events),
        (Get, "/api/v1/projects/{slug}/stream") => on(endpoint, stream::facts),
        (Get, "/api/v1/enroll/nonce") => on(endpoint, enroll::nonce),
        (Post, "/api/v1/enroll") => on(endpoint, enroll::enroll),
        (Get, "/api/v1/enroll/{id}/status") => on(endpoint, enroll::status),
        (Get, "/api/v1/enroll/{id}/stream") => on(endpoint, enroll::stream),
        (Get, "/api/v1/enroll/{id}/creds") => on(endpoint, enroll::creds),
        (Get, "/api/v1/downloads/{digest}") => on(endpoint, download::archive),
        _ => return None,
    })
}

fn on<F, Fut>(endpoint: Arc<Endpoint>, handler: F) -> MethodRouter
where
    F: Fn(crate::call::Call) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Response<Body>, Refusal>> + Send + 'static,
{
    let filter = match endpoint.route.method {
        Method::Get => MethodFilter::GET,
        Method::Post => MethodFilter::POST,
        Method::Patch => MethodFilter::PATCH,
        Method::Delete => MethodFilter::DELETE,
    };
    axum::routing::on(filter, move |request: Request| exchange::run(endpoint, request, handler))
}
