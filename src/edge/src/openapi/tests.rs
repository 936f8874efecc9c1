use super::*;
use std::collections::BTreeSet;
use std::path::Path;

fn operation_of<'a>(document: &'a Value, route: &Route) -> &'a Value {
    &document["paths"][route.path][route.method.as_str().to_ascii_lowercase()]
}

fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str));
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let pointer = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.map_or(value, |pointer| document.pointer(pointer).unwrap_or(&Value::Null))
}

#[test]
fn every_route_is_described_with_every_status() {
    let document = document();
    for route in ROUTES {
        let operation = operation_of(&document, route);
        for status in route.statuses() {
            let response = resolved(&document, &operation["responses"][status.to_string()]);
            assert!(response["description"].is_string(), "{} {} {status}", route.method.as_str(), route.path);
            let bodiless = status == 204;
            assert_eq!(response["content"].is_object(), !bodiless, "{} {status}", route.path);
        }
        let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        for name in parameters::path_names(route.path) {
            let named = |p: &&Value| p["name"] == name && p["in"] == "path" && p["required"] == true;
            assert_eq!(parameters.iter().filter(named).count(), 1, "{} {name}", route.path);
        }
    }
    let described: usize = document["paths"]
        .as_object()
        .map_or(0, |paths| paths.values().filter_map(Value::as_object).map(Map::len).sum());
    assert_eq!(described, ROUTES.len());
}

#[test]
fn every_reference_resolves() {
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 100);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} leaves the document"));
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn operation_ids_and_schemas_are_used_once_and_at_all() {
    let document = document();
    let ids: BTreeSet<&str> =
        ROUTES.iter().filter_map(|route| operation_of(&document, route)["operationId"].as_str()).collect();
    assert_eq!(ids.len(), ROUTES.len());
    let mut found = Vec::new();
    references(&document, &mut found);
    let used: BTreeSet<&str> = found.into_iter().collect();
    for name in document["components"]["schemas"].as_object().into_iter().flat_map(Map::keys) {
        assert!(used.contains(format!("#/components/schemas/{name}").as_str()), "{name} is not used");
    }
}

#[test]
fn requests_demand_only_what_the_parsers_demand() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["CreateRollout"]["required"], json!(["bundle_id"]));
    assert_eq!(schemas["Register"]["required"], json!(["name"]));
    for (name, fields) in [("Register", "labels"), ("Heartbeat", "active_bundle_id"), ("CreateApiKey", "scopes")] {
        assert!(schemas[name]["properties"][fields].is_object(), "{name}.{fields} is not described");
    }
    let secured = &operation_of(&document, contract::Route::of(contract::Operation::NodeList))["security"];
    assert_eq!(*secured, json!([{"apiKey": ["nodes:read"]}]));
}

/// `UPDATE=1 cargo test -p edge` writes the file anew.
#[test]
fn the_file_is_the_document() -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let document = document();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, format!("{document:#}\n"))?;
    }
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
    anyhow::ensure!(kept == document, "openapi.json is not what the routes and types say; UPDATE=1 writes it anew");
    Ok(())
}
