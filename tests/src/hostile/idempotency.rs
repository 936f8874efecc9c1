//! One `Idempotency-Key`, one command: over HTTP, for every route that makes a fact.

use super::raw::Answer;
use super::stage::{Call, Stage, one};
use crate::harness::{Facts, SAMPLE};
use contract::{Limiter, ROUTES, Route};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What is shown once, or changes on its own while a rollout runs or a bundle compiles.
const PASSING: [&str; 14] = [
    "key",
    "node_key",
    "replayed",
    "token",
    "status",
    "state",
    "state_reason",
    "updated_at",
    "digest",
    "checksum",
    "size_bytes",
    "files",
    "compiled_at",
    "rollback",
];

/// A body of each command, and another one for the same route. In an order in which all of them succeed.
fn commands(stage: &Stage) -> Vec<(&'static str, Value, Value)> {
    let bundle = stage.body("/rollouts")["bundle_id"].clone();
    vec![
        ("/api/v1/projects", json!({"slug": "one", "name": "One"}), json!({"slug": "two"})),
        ("/api/v1/projects/{slug}/nodes/register", json!({"name": "idem"}), json!({"name": "other"})),
        (
            "/api/v1/projects/{slug}/bundles",
            json!({"version": "idem", "config_source": SAMPLE}),
            json!({"version": "other", "config_source": SAMPLE}),
        ),
        ("/api/v1/projects/{slug}/bundles/{id}/revoke", json!({"reason": "bad"}), json!({"reason": "worse"})),
        ("/api/v1/projects/{slug}/rollouts/{id}/pause", json!({}), json!(null)),
        ("/api/v1/projects/{slug}/rollouts/{id}/resume", json!({}), json!(null)),
        ("/api/v1/projects/{slug}/rollouts/{id}/cancel", json!({}), json!(null)),
        ("/api/v1/projects/{slug}/bundles/{id}/assign", stage.body("/assign"), json!({"node_ids": ["x"]})),
        ("/api/v1/projects/{slug}/rollouts/{id}/start", json!({}), json!(null)),
        ("/api/v1/projects/{slug}/rollouts/{id}/rollback", json!({}), json!(null)),
        (
            "/api/v1/projects/{slug}/rollouts",
            json!({"bundle_id": bundle, "batch_size": 1}),
            json!({"bundle_id": bundle, "batch_size": 2}),
        ),
        ("/api/v1/api-keys", json!({"name": "idem", "scopes": ["nodes:read"]}), json!({"name": "other"})),
        ("/api/v1/api-keys/{id}/revoke", json!({}), json!(null)),
        ("/api/v1/enrollments/{id}/approve", json!({"project": "demo"}), json!({})),
        ("/api/v1/enrollments/{id}/reject", json!({"reason": "a"}), json!({"reason": "b"})),
        ("/api/v1/enrollments/{id}/revoke", json!({"reason": "a"}), json!({"reason": "b"})),
        ("/api/v1/projects/{slug}/join-tokens", json!({"name": "idem"}), json!({"name": "other"})),
        ("/api/v1/projects/{slug}/join-tokens/{id}/revoke", json!({}), json!(null)),
        ("/api/v1/projects/{slug}/nodes/{id}/approve", json!({}), json!(null)),
        ("/api/v1/projects/{slug}/nodes/{id}/rotate-key", json!({}), json!(null)),
        ("/api/v1/projects/{slug}", json!({"registration": "token"}), json!({"registration": "open"})),
        ("/api/v1/projects/{slug}/nodes/{id}", json!(null), json!(null)),
        ("/api/v1/projects/{slug}/bundles/{id}", json!(null), json!(null)),
    ]
}

fn route_of(path: &str) -> &'static Route {
    ROUTES.iter().find(|route| route.path == path && route.is_mutation()).unwrap_or_else(|| panic!("no {path}"))
}

fn keyed(call: &Call, key: &str, body: &Value) -> Call {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    Call { headers: format!("{}Idempotency-Key: {key}\r\n", call.headers), body: body.into(), ..call.clone() }
}

fn lasting(answer: &Answer) -> Value {
    let mut body = answer.json();
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|name, _| !PASSING.contains(&name.as_str()));
    }
    body
}

/// The facts that came from outside: what Pilothouse does by itself is no command of a client.
fn commands_in(facts: &mut Facts) -> Vec<(String, u64)> {
    facts.drain();
    let outside = facts.seen.iter().filter(|(_, _, body)| body["actor"] != "system");
    outside.map(|(subject, position, _)| (subject.clone(), *position)).collect()
}

#[test]
fn a_repeat_is_the_same_answer_and_no_second_fact() {
    let stage = Stage::set(&[]);
    let mut facts = Facts::subscribe(&stage.dev);
    let commands = commands(&stage);
    let covered: BTreeSet<&str> = commands.iter().map(|(path, _, _)| *path).collect();
    let made = ROUTES
        .iter()
        .filter(|route| route.is_mutation() && !matches!(route.limiter, Limiter::Node | Limiter::Enrollment));
    assert_eq!(covered, made.map(|route| route.path).collect(), "every route that makes a fact");

    let mut positions = BTreeSet::new();
    for (path, body, other) in &commands {
        let route = route_of(path);
        let call = stage.call(route);
        let (key, name) = (format!("key of {path}").replace(['/', '{', '}'], "_"), format!("{} {path}", call.method));
        // A bundle is deleted that no rollout named: the one that was compiled above is not it.
        let call =
            if call.method == "DELETE" && path.contains("/bundles/") { call.to(undeployed(&stage)) } else { call };
        let call = if path.ends_with("/nodes/{id}/approve") { call.to(unapproved(&stage)) } else { call };
        let address = stage.address(route);
        let first = one(address, &name, &keyed(&call, &key, body).bytes());
        assert_eq!(first.status, route.success, "{name}: {:?}", first.json());
        let again = one(address, &name, &keyed(&call, &key, body).bytes());
        assert_eq!((again.status, lasting(&again)), (first.status, lasting(&first)), "{name}");
        let position = |answer: &Answer| answer.header("x-pilothouse-position").unwrap().parse::<u64>().unwrap();
        assert_eq!(position(&again), position(&first), "{name}");
        assert!(positions.insert(position(&first)), "{name}: another command's fact");
        assert!(
            ["key", "node_key", "token"].iter().all(|secret| again.json().get(secret).is_none()),
            "{name} shows a secret again"
        );
        if !other.is_null() {
            let reused = one(address, &name, &keyed(&call, &key, other).bytes());
            assert_eq!((reused.status, code(&reused)), (422, "idempotency_key_reused".to_owned()), "{name}");
        }
    }
    let marker = stage.dev.api("POST", "/api/v1/projects", Some(&json!({"slug": "marker"})));
    assert_eq!(marker.status, 201);
    facts.wait_for("project.marker.created");
    let found = commands_in(&mut facts);
    let found: Vec<u64> =
        found.iter().filter(|(subject, _)| !subject.contains(".marker.")).map(|(_, at)| *at).collect();
    // Made without a key: the undeployed bundle, and for the node to approve a join token, its use and the registration. Beside
    // the approval of a host stands the node that it becomes.
    let extra = found.iter().filter(|at| !positions.contains(at)).count();
    assert_eq!((found.len(), extra), (commands.len() + 5, 5), "{:?}", facts.subjects());
}

fn code(answer: &Answer) -> String {
    let in_body = || answer.json()["code"].as_str().map(str::to_owned);
    answer.header("x-error-code").map(str::to_owned).or_else(in_body).unwrap_or_default()
}

/// The path that approves a node which waits for it.
fn unapproved(stage: &Stage) -> String {
    let tokens = "/api/v1/projects/demo/join-tokens";
    let made = stage.dev.api("POST", tokens, Some(&json!({"name": "approval", "approval": true})));
    let header = format!("X-Pilothouse-Join-Token: {}", made.body["token"].as_str().unwrap());
    let json = ["-H", "Content-Type: application/json", "-H", &header, "-d", r#"{"name": "waits"}"#];
    let node = stage.dev.curl(&json, "/api/v1/projects/demo/nodes/register");
    format!("/api/v1/projects/demo/nodes/{}/approve", node.body["node_id"].as_str().unwrap())
}

/// The path of a bundle that may be deleted.
fn undeployed(stage: &Stage) -> String {
    let path = "/api/v1/projects/demo/bundles";
    let body = json!({"version": "undeployed", "config_source": SAMPLE});
    let made = stage.dev.api("POST", path, Some(&body));
    assert_eq!(made.status, 201, "{}", made.text);
    let own = format!("{path}/{}", made.body["id"].as_str().unwrap());
    crate::harness::eventually("the bundle is compiled", || {
        let shown = stage.dev.api("GET", &own, None);
        if shown.body["bundle"]["status"] == "compiled" { Ok(()) } else { Err(shown.text) }
    });
    own
}

#[test]
fn a_key_belongs_to_who_sent_it_and_where() {
    let stage = Stage::set(&[]);
    let (projects, keys) = (stage.call(route_of("/api/v1/projects")), stage.call(route_of("/api/v1/api-keys")));
    let made = one(stage.http, "a second principal", &keys.holding(r#"{"name":"second"}"#).bytes());
    let second = made.json()["key"].as_str().unwrap().to_owned();
    let as_second = |call: &Call| Call {
        headers: format!("Authorization: Bearer {second}\r\nContent-Type: application/json\r\n"),
        ..call.clone()
    };
    let body = json!({"slug": "mine", "name": "Mine"});
    let first = one(stage.http, "first", &keyed(&projects, "k", &body).bytes());
    assert_eq!(first.status, 201);
    let other = one(stage.http, "another principal", &keyed(&as_second(&projects), "k", &body).bytes());
    assert_eq!((other.status, &other.json()["code"]), (422, &json!("validation_failed")), "taken, not repeated");
    let other =
        one(stage.http, "another principal", &keyed(&as_second(&projects), "k", &json!({"slug": "yours"})).bytes());
    assert_eq!(other.status, 201, "and the key is its own");
    let elsewhere = one(stage.http, "another route", &keyed(&keys, "k", &json!({"name": "x"})).bytes());
    assert_eq!(elsewhere.status, 201);
    let spelled = one(
        stage.http,
        "spelled otherwise",
        &Call { body: br#"{ "name": "Mine", "slug": "mine" }"#.to_vec(), ..keyed(&projects, "k", &body) }.bytes(),
    );
    assert_eq!(spelled.status, 201, "the same body in other words is the same request");
}

#[test]
fn one_key_at_once_registers_one_node() {
    let stage = Stage::set(&[]);
    let mut facts = Facts::subscribe(&stage.dev);
    let route = route_of("/api/v1/projects/{slug}/nodes/register");
    let bytes = keyed(&stage.call(route), "at once", &json!({"name": "twin"})).bytes();
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| one(stage.http, "twin", &bytes))).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    let ids: BTreeSet<String> = answers.iter().map(|answer| answer.json()["node_id"].to_string()).collect();
    assert_eq!((ids.len(), answers.iter().filter(|answer| answer.status == 201).count()), (1, 8), "{answers:?}");
    let keys: Vec<Value> = answers.iter().filter_map(|answer| answer.json().get("node_key").cloned()).collect();
    assert_eq!(keys.len(), 1, "the key is shown once");
    let beat = format!("X-Zentinel-Node-Key: {}", keys[0].as_str().unwrap());
    let path = format!("/api/v1/nodes/{}/heartbeat", answers[0].json()["node_id"].as_str().unwrap());
    assert_eq!(stage.dev.curl(&["-X", "POST", "-H", &beat], &path).status, 200, "and it works");
    assert_eq!(stage.dev.api("POST", "/api/v1/projects", Some(&json!({"slug": "marker"}))).status, 201);
    facts.wait_for("project.marker.created");
    let registered = commands_in(&mut facts).into_iter().filter(|(subject, _)| subject.ends_with(".registered"));
    assert_eq!(registered.count(), 1, "{:?}", facts.subjects());
}
