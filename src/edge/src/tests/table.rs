//! What holds for every row of the table of routes.

use super::bench::Bench;
use crate::exchange::{self, Endpoint};
use axum::body::Body;
use axum::extract::Request;
use contract::{Access, Limiter, Method, ROUTES, Route};
use http_body_util::BodyExt;
use serde_json::Value;
use std::sync::Arc;

/// A path of the route whose ids nobody has.
fn path_of(route: &Route) -> String {
    let id = "01900000-0000-7000-8000-000000000000";
    route.path.replace("{slug}", "demo").replace("{id}", id).replace("{digest}", &"0".repeat(64))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_served_and_asks_for_its_credential() {
    let bench = Bench::start().await;
    for route in ROUTES {
        let name = format!("{} {}", route.method.as_str(), route.path);
        let answered = bench.ask(route.method.as_str(), &path_of(route)).send().await;
        match route.access {
            Access::Public => assert!(!matches!(answered.status, 401 | 405), "{name}: {answered:?}"),
            // The project `demo` of the bench is open.
            Access::JoinToken => assert_eq!(answered.code(), "validation_failed", "{name}"),
            Access::Challenge => {
                assert_eq!((answered.status, answered.header("content-type")), (400, "application/json"), "{name}")
            }
            Access::HostKey => assert_eq!((answered.status, answered.code().as_str()), (404, "not_found"), "{name}"),
            Access::SignedUrl => assert_eq!(answered.code(), "invalid_download_url", "{name}"),
            Access::Node | Access::NodeKey | Access::Scope(_) | Access::ApiKey | Access::FullAccess => {
                assert_eq!((answered.status, answered.code().as_str()), (401, "missing_credential"), "{name}");
                assert_eq!(answered.header("www-authenticate"), "Bearer", "{name}");
            }
        }
        assert!(route.statuses().contains(&answered.status), "{name} gives an undocumented {}", answered.status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_refuses_a_bad_credential_in_the_documents_words() {
    let bench = Bench::start().await;
    for route in ROUTES.iter().filter(|route| {
        matches!(route.limiter, Limiter::Node | Limiter::Api)
            && !matches!(route.access, Access::Public | Access::SignedUrl)
    }) {
        let (key, token) = ("x-zentinel-node-key", "authorization");
        let ask = || bench.ask(route.method.as_str(), &path_of(route));
        let refused = match route.limiter {
            Limiter::Node => ask().header(key, "wrong").send().await,
            _ => ask().header(token, "Bearer wrong").send().await,
        };
        let expected = if route.limiter == Limiter::Node { "Invalid node key" } else { "Invalid or expired API key" };
        assert_eq!((refused.status, &refused.json()["error"]), (401, &Value::from(expected)), "{}", route.path);
        if route.access == Access::Node {
            let refused = ask().header(token, "Bearer garbage").header(key, "k").send().await;
            assert_eq!(refused.json()["error"], "Authentication failed", "{}", route.path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_and_other_paths_are_json_errors() {
    let bench = Bench::start().await;
    for route in ROUTES {
        for method in ["GET", "POST", "DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "BREW"] {
            let known = ROUTES.iter().any(|r| r.path == route.path && r.method.as_str() == method);
            if !known {
                let answered = bench.ask(method, &path_of(route)).send().await;
                assert_eq!((answered.status, answered.code().as_str()), (405, "method_not_allowed"), "{}", route.path);
                assert!(answered.header("allow").contains(route.method.as_str()), "{}", route.path);
            }
        }
    }
    let strange = ["/", "/api", "/api/v1/", "/api/v1/projects/", "/health/", "//health", "/HEALTH"];
    for path in strange {
        let answered = bench.ask("GET", path).send().await;
        assert_eq!((answered.status, answered.code().as_str()), (404, "not_found"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_the_common_headers() {
    let bench = Bench::start().await;
    let paths = ["/health", "/metrics", "/nowhere", "/api/v1/projects", "/api/openapi.json", "/.well-known/jwks.json"];
    let mut ids = std::collections::BTreeSet::new();
    for path in paths {
        let answered = bench.ask("GET", path).send().await;
        assert_eq!(answered.header("cache-control"), "no-store", "{path}");
        assert_eq!(answered.header("x-content-type-options"), "nosniff", "{path}");
        assert!(ids.insert(answered.header("x-request-id").to_owned()), "{path}");
    }
    assert!(ids.iter().all(|id| id.len() == 32));
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_the_body() {
    let bench = Bench::start().await;
    bench.until("/ready", |body| body["status"] == "ok").await;
    let public = ROUTES.iter().filter(|route| route.method == Method::Get && route.access == Access::Public);
    for route in public.filter(|route| route.limiter != Limiter::Enrollment) {
        let (got, head) =
            (bench.ask("GET", &path_of(route)).send().await, bench.ask("HEAD", &path_of(route)).send().await);
        assert_eq!((got.status, head.status, head.body.len()), (got.status, got.status, 0), "{}", route.path);
        assert_eq!(got.header("content-type"), head.header("content-type"), "{}", route.path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_must_be_acceptable_where_json_is_served() {
    let bench = Bench::start().await;
    for (path, accept, status) in [
        ("/health", "text/html", 406),
        ("/health", "text/html, */*;q=0.1", 200),
        ("/health", "application/json;q=0", 406),
        ("/metrics", "text/plain", 200),
        ("/api/v1/projects", "application/zstd", 406),
    ] {
        let answered = bench.ask("GET", path).header("accept", accept).send().await;
        assert_eq!(answered.status, status, "{path} {accept}");
        if status == 406 {
            assert_eq!(answered.code(), "not_acceptable");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_json_error() {
    let bench = Bench::start().await;
    let endpoint = Arc::new(Endpoint::new(&bench.edge.shared, &ROUTES[0]));
    let request = Request::builder().uri("/").header("host", "x").body(Body::empty()).unwrap();
    let response = exchange::run(endpoint, request, |_| async { panic!("made on purpose by a test") }).await;
    let (parts, body) = response.into_parts();
    assert_eq!(parts.status.as_u16(), 500);
    assert!(parts.headers.contains_key("x-request-id"));
    let body: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(body["code"], "internal");
    assert!(!body.to_string().contains("on purpose"), "what panicked is for the log alone");
}
