//! Every field that the OpenAPI document names in a request, with values of the wrong type and size.

use super::stage::{Stage, one};
use contract::{Method, ROUTES};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Wrong for nearly every field, and harmless for none that matters.
fn values() -> Vec<Value> {
    let mut deep = json!("x");
    for _ in 0..100 {
        deep = json!([deep]);
    }
    vec![
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1.5),
        json!(1e308),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(""),
        json!("\u{0}"),
        json!("a\nb\u{1b}[31m"),
        json!("../../etc/passwd"),
        json!("fleet.>"),
        json!("\u{202e}\u{feff}\u{1f600}"),
        json!("x".repeat(50_000)),
        json!([]),
        json!([[]]),
        json!([null, 1, "x", {}]),
        json!({}),
        json!({"": ""}),
        json!({"a": {"b": {"c": []}}}),
        deep,
    ]
}

/// Names of a schema's properties, through references and alternatives.
fn names(document: &Value, schema: &Value, found: &mut BTreeSet<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let named = document.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("{name} is nowhere"));
        return names(document, named, found);
    }
    for kind in ["oneOf", "anyOf", "allOf"] {
        for part in schema[kind].as_array().into_iter().flatten() {
            names(document, part, found);
        }
    }
    found.extend(schema["properties"].as_object().into_iter().flat_map(|properties| properties.keys().cloned()));
}

#[test]
fn every_field_is_checked() {
    let stage = Stage::set(&[]);
    let document = stage.dev.curl(&[], "/api/openapi.json").body;
    let mut tried = 0;
    stage.abuse(|| {
        for route in ROUTES.iter().filter(|route| route.method == Method::Post) {
            let schema = &document["paths"][route.path]["post"]["requestBody"]["content"]["application/json"]["schema"];
            let mut fields = BTreeSet::new();
            names(&document, schema, &mut fields);
            let (call, base) = (stage.call(route), stage.body(route.path));
            for field in fields {
                let mut refused = 0;
                for value in values() {
                    let mut body = base.clone();
                    body[&field] = value.clone();
                    let what = format!("{} {field}: {:.60}", route.path, value.to_string());
                    let answer = one(stage.address(route), &what, &call.holding(body.to_string()).bytes());
                    refused += usize::from(answer.status >= 400);
                    tried += 1;
                }
                assert!(refused > 0, "{}: anything goes for {field}", route.path);
            }
        }
    });
    assert!(tried > 500, "the document named few fields: {tried}");
}

/// The entries of batches, where one bad entry must not hide among good ones.
#[test]
fn a_bad_entry_refuses_its_batch() {
    let stage = Stage::set(&[]);
    stage.abuse(|| {
        for (path, list) in
            [("events", "events"), ("metrics", "metrics"), ("metrics", "request_logs"), ("waf-events", "events")]
        {
            let route = ROUTES.iter().find(|route| route.path == format!("/api/v1/nodes/{{id}}/{path}")).unwrap();
            let call = stage.call(route);
            for value in values().into_iter().filter(|value| !value.is_object()) {
                let body = json!({list: [value, value]}).to_string();
                let what = format!("{path} {list}: {:.60}", value.to_string());
                let answer = one(stage.http, &what, &call.holding(body).bytes());
                assert!(answer.status >= 400, "{what}: {}", answer.head);
            }
            let many = json!({list: vec![json!({}); 200_000]}).to_string();
            let answer = one(stage.http, &format!("{path} {list}: 200,000 entries"), &call.holding(many).bytes());
            assert!(answer.status >= 400, "{path}: {}", answer.head);
        }
    });
}
