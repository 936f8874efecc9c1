//! `/api/openapi.json` (OpenAPI 3.1), made of the table of routes and of the contract's types: it cannot name a route that is
//! not served or miss one that is.
//!
//! The file `openapi.json` beside the sources is the same document for those who read diffs; a test compares the two.

mod bodies;
mod parameters;

use bodies::{Body, Schemas};
use contract::{Access, ErrorCode, Limiter, Method, ROUTES, Route};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

static TEXT: LazyLock<Vec<u8>> =
    LazyLock::new(|| serde_json::to_vec(&document()).expect("a JSON value is written without errors"));

pub(crate) fn text() -> &'static [u8] {
    &TEXT
}

/// The whole document.
pub fn document() -> Value {
    let mut schemas = Schemas::new();
    let (mut paths, mut errors) = (Map::new(), Map::new());
    for route in ROUTES {
        let methods = paths.entry(route.path).or_insert_with(|| json!({}));
        methods[route.method.as_str().to_ascii_lowercase()] = operation(route, &mut schemas, &mut errors);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Pilothouse",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Control plane for a fleet of reverse proxies: the API of nodes and of operators.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "tags": [
            {"name": "node", "description": "What a proxy or its agent calls"},
            {"name": "operator", "description": "What people and their tools call, with an API key"},
            {"name": "public", "description": "What needs no credential"},
        ],
        "paths": paths,
        "components": {
            "schemas": schemas.finish(),
            "securitySchemes": security_schemes(),
            "headers": headers(),
            "responses": errors,
        },
    })
}

fn operation(route: &Route, schemas: &mut Schemas, errors: &mut Map<String, Value>) -> Value {
    let mut operation = json!({
        "operationId": operation_id(route),
        "tags": [tag(route)],
        "summary": route.summary,
        "parameters": parameters::of(route),
        "security": security(route),
        "responses": responses(route, schemas, errors),
    });
    if let Some(schema) = schemas.request(route) {
        let content = json!({"application/json": {"schema": schema}});
        operation["requestBody"] = json!({"required": schemas.needs_body(route), "content": content});
    }
    operation
}

/// `<noun>.<verb>` of an operator's operation; method and path of the others.
fn operation_id(route: &Route) -> String {
    if let Some(operation) = route.operation {
        return operation.name().to_owned();
    }
    let path = route.path.trim_start_matches("/api/v1").replace(['{', '}'], "");
    let words = path.split(['/', '.', '-']).filter(|word| !word.is_empty());
    format!("{}.{}", route.method.as_str().to_ascii_lowercase(), words.collect::<Vec<_>>().join("_"))
}

fn tag(route: &Route) -> &'static str {
    match (route.operation, route.limiter) {
        (Some(_), _) => "operator",
        (None, Limiter::Node | Limiter::Registration | Limiter::Enrollment) => "node",
        (None, Limiter::None | Limiter::Api) if route.access == Access::ApiKey => "operator",
        (None, Limiter::None | Limiter::Api) => "public",
    }
}

fn security(route: &Route) -> Value {
    match route.access {
        Access::Public | Access::SignedUrl => json!([]),
        Access::JoinToken | Access::Challenge => json!([{}, {"joinToken": []}]),
        Access::HostKey => json!([{"hostKey": []}]),
        Access::Node => json!([{"nodeToken": []}, {"nodeKey": []}]),
        Access::NodeKey => json!([{"nodeKey": []}]),
        Access::Scope(scope) => json!([{"apiKey": [scope.as_str()]}]),
        Access::ApiKey | Access::FullAccess => json!([{"apiKey": []}]),
    }
}

fn security_schemes() -> Value {
    json!({
        "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key; the listed scope, or a key without scopes"},
        "nodeToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "From `POST /api/v1/nodes/{id}/token`"},
        "joinToken": {"type": "apiKey", "in": "header", "name": "X-Pilothouse-Join-Token", "description": "Where the project's policy is `token`"},
        "hostKey": {"type": "http", "scheme": "nkey", "description": "`Nkey <public key>:<base64url signature of the enrollment's id>`"},
        "nodeKey": {"type": "apiKey", "in": "header", "name": "X-Zentinel-Node-Key", "description": "From the registration"},
    })
}

fn headers() -> Value {
    let whole = |text: &str| json!({"description": text, "schema": {"type": "integer", "minimum": 0}});
    json!({
        "X-Request-Id": {"description": "Finds the request in the log", "schema": {"type": "string"}},
        "X-Pilothouse-Position": whole("Where the answer stands in the journal; a read that names it sees at least that"),
        "X-RateLimit-Limit": whole("Requests that may come at once"),
        "X-RateLimit-Remaining": whole("Requests that may still come now"),
        "X-RateLimit-Reset": whole("When the limit is whole again, in seconds since 1970"),
        "Retry-After": whole("Seconds to wait"),
        "X-Error-Code": {"description": "The stable code of the error", "schema": {"type": "string"}},
    })
}

/// Errors look the same wherever they happen, so they stand once in `errors` and are referred to.
fn responses(route: &Route, schemas: &mut Schemas, errors: &mut Map<String, Value>) -> Value {
    let mut responses = Map::new();
    for status in route.statuses() {
        let value = if status < 400 || (status, route.path) == (503, "/ready") {
            response(route, status, schemas)
        } else {
            let suffix = match (crate::enrollment_wire::is_enrollment(route.path), route.limiter) {
                (true, Limiter::Api) => "EnrollmentCounted",
                (true, _) => "Enrollment",
                (false, Limiter::Api) => "Counted",
                (false, _) => "",
            };
            let name = format!("Error{status}{suffix}");
            let reference = json!({"$ref": format!("#/components/responses/{name}")});
            errors.entry(name).or_insert_with(|| response(route, status, schemas));
            reference
        };
        responses.insert(status.to_string(), value);
    }
    let content = json!({"application/json": {"schema": schemas.error()}});
    let headers = with_headers(&["X-Request-Id"]);
    let other = json!({"description": "Any other error", "headers": headers, "content": content});
    errors.entry("Error").or_insert(other);
    responses.insert("default".to_owned(), json!({"$ref": "#/components/responses/Error"}));
    Value::Object(responses)
}

fn response(route: &Route, status: u16, schemas: &mut Schemas) -> Value {
    let mut names = vec!["X-Request-Id"];
    if route.limiter == Limiter::Api {
        names.extend(["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"]);
    }
    if status < 400 && (route.operation.is_some() || route.limiter == Limiter::Registration) {
        names.push("X-Pilothouse-Position");
    }
    if status == 429 {
        names.push("Retry-After");
    }
    if status >= 400 && crate::enrollment_wire::is_enrollment(route.path) {
        names.push("X-Error-Code");
    }
    let mut response = json!({"description": description(route, status), "headers": with_headers(&names)});
    let body = match status {
        200..300 => schemas.answer(route),
        503 if route.path == "/ready" => schemas.answer(route),
        400.. if crate::enrollment_wire::is_enrollment(route.path) => Body::Json(schemas.text_error()),
        429 => Body::Json(schemas.limited()),
        _ => Body::Json(schemas.error()),
    };
    match body {
        Body::Json(schema) => response["content"] = json!({"application/json": {"schema": schema}}),
        Body::Other(media) => response["content"] = json!({media: {}}),
        Body::Empty => {}
    }
    response
}

fn with_headers(names: &[&str]) -> Value {
    let reference = |name: &&str| ((*name).to_owned(), json!({"$ref": format!("#/components/headers/{name}")}));
    Value::Object(names.iter().map(reference).collect())
}

fn description(route: &Route, status: u16) -> String {
    if status == 206 {
        return "The range that was asked for".to_owned();
    }
    if status < 400 {
        return match route.method {
            Method::Delete => "Done".to_owned(),
            Method::Get | Method::Post | Method::Patch => route.summary.to_owned(),
        };
    }
    let codes = ErrorCode::ALL.iter().filter(|code| code.status() == status);
    let lines: Vec<String> = codes.map(|code| format!("`{}`: {}", code.as_str(), code.description())).collect();
    if lines.is_empty() { "Error".to_owned() } else { lines.join("\n\n") }
}

#[cfg(test)]
mod tests;
