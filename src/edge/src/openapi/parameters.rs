//! Parameters of a route: those of its path, of its query, and the headers that are not credentials.

use contract::{Access, Limiter, Operation, Page, Route, WAIT_S_MAX};
use serde_json::{Value, json};

const KINDS: [&str; 3] = ["node", "rollout", "bundle"];

pub(super) fn of(route: &Route) -> Vec<Value> {
    let mut all: Vec<Value> = path_names(route.path).map(path).collect();
    match route.operation {
        Some(Operation::NodeList) => {
            all.extend(page());
            all.push(word("status", "Only nodes with this status", &["online", "offline", "unknown"]));
            all.push(json!({"name": "labels", "in": "query", "style": "deepObject", "explode": true,
                "description": "Only nodes with these labels, as `labels[env]=production`",
                "schema": {"type": "object", "additionalProperties": {"type": "string"}}}));
        }
        Some(
            Operation::NodeEvents
            | Operation::NodeMetrics
            | Operation::NodeWafEvents
            | Operation::NodeAllEvents
            | Operation::NodeAllWafEvents,
        ) => {
            all.extend(page());
            let since = "Only what arrived then or later; RFC 3339. Default: a day before `until`";
            all.push(text("since", "query", since, false));
            all.push(text("until", "query", "Only what arrived until then; RFC 3339. Default: now", false));
        }
        Some(Operation::BundleList) => {
            all.extend(page());
            let known = ["compiling", "compiled", "failed", "revoked"];
            all.push(word("status", "Only bundles with this status", &known));
        }
        Some(Operation::RolloutList) => {
            all.extend(page());
            let known = ["pending", "running", "paused", "completed", "failed", "cancelled"];
            all.push(word("state", "Only rollouts in this state", &known));
        }
        Some(Operation::EnrollList) => {
            all.extend(page());
            let known = ["pending", "approved", "rejected", "issued", "active", "revoked", "all"];
            all.push(word("state", "Only enrollments in this state; default: pending", &known));
        }
        Some(Operation::RolloutShow | Operation::NodeReceipts) => all.extend(page()),
        _ => {}
    }
    all.extend(of_path(route.path));
    if route.operation.is_some() {
        all.push(position("min_position", "query"));
        all.push(position("X-Pilothouse-Position", "header"));
    }
    if route.access == Access::SignedUrl {
        all.push(text("expires", "query", "Seconds since 1970, from the offer's URL", true));
        all.push(text("signature", "query", "From the offer's URL", true));
        all.push(text("Range", "header", "One range of bytes", false));
        all.push(text("If-Range", "header", "The `ETag` that the range belongs to", false));
    }
    if route.is_mutation() && (route.operation.is_some() || route.limiter == Limiter::Registration) {
        all.push(json!({"name": "Idempotency-Key", "in": "header", "required": false,
            "description": "A repeat under the same key changes nothing and gets the first answer, less what is shown once",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255}}));
    }
    all
}

/// What single routes take.
fn of_path(route: &str) -> Vec<Value> {
    let mut all = Vec::new();
    if route == "/api/v1/nodes/{id}/bundles/latest" {
        all.push(json!({"name": "wait", "in": "query", "required": false,
            "description": "Seconds to wait for an offer; the newest question of a node ends its older ones",
            "schema": {"type": "integer", "minimum": 0, "maximum": WAIT_S_MAX, "default": 0}}));
    }
    if route == "/api/v1/enroll/nonce" {
        all.push(text("peel_id", "query", "What the host calls itself", true));
        all.push(text("public_key", "query", "Public nkey of the host, `U…`", true));
    }
    if route == "/api/v1/projects/{slug}/stream" {
        all.push(word("kind", "Only facts of this kind; without it, of every kind that the key may read", &KINDS));
        all.push(text("id", "query", "Only facts of this resource, by its UUID; needs `kind`", false));
        let what =
            "Facts after this position, as far as they are still in memory; an event `reset` tells if they are not";
        all.push(text("after", "query", what, false));
        all.push(text("Last-Event-ID", "header", "The same, sent by clients that come back; wins over `after`", false));
    }
    all
}

/// The names in braces, in order.
pub(super) fn path_names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn path(name: &str) -> Value {
    let what = match name {
        "slug" => "Slug of the project, or of the org",
        "digest" => "SHA-256 of the archive, hex",
        _ => "Id of the resource; for nodes the name and for bundles the version will do where an operator asks",
    };
    text(name, "path", what, true)
}

fn text(name: &str, place: &str, what: &str, required: bool) -> Value {
    json!({"name": name, "in": place, "required": required, "description": what, "schema": {"type": "string"}})
}

fn word(name: &str, what: &str, known: &[&str]) -> Value {
    json!({"name": name, "in": "query", "required": false, "description": what,
        "schema": {"type": "string", "enum": known}})
}

fn page() -> [Value; 2] {
    let limit = json!({"type": "integer", "minimum": 1, "maximum": Page::LIMIT_MAX, "default": Page::LIMIT_DEFAULT});
    [
        json!({"name": "limit", "in": "query", "required": false, "description": "Entries per page", "schema": limit}),
        text("after", "query", "`next` of the page before", false),
    ]
}

fn position(name: &str, place: &str) -> Value {
    json!({"name": name, "in": place, "required": false,
        "description": "Answer only when this replica knows this position; 503 when it does not in time",
        "schema": {"type": "integer", "minimum": 0}})
}
