use super::*;
use serde_json::json;

#[test]
fn a_key_needs_a_name_only() {
    let bare = CreateApiKey { name: "ci".into(), scopes: BTreeSet::new(), project: None, expires_at: None };
    assert_eq!(CreateApiKey::parse(json!({"name": "ci"})), Ok(bare.clone()));
    let full = json!({"name": "ci", "scopes": ["nodes:read", "nodes:read"], "project": "demo",
        "expires_at": "2027-01-01T00:00:00Z"});
    let expected = CreateApiKey {
        scopes: [Scope::NodesRead].into(),
        project: Some("demo".parse().unwrap()),
        expires_at: "2027-01-01T00:00:00Z".parse().ok(),
        ..bare.clone()
    };
    assert_eq!(CreateApiKey::parse(full), Ok(expected));
    let by_id = CreateApiKey::parse(json!({"name": "ci", "project_id": "demo"}));
    assert_eq!(by_id, Ok(CreateApiKey { project: Some("demo".parse().unwrap()), ..bare }));
}

#[test]
fn every_refusal_names_its_field() {
    let known: Vec<&str> = Scope::ALL.into_iter().map(Scope::as_str).collect();
    let unknown_scope = format!("has an unknown entry; known are: {}", known.join(", "));
    let cases = [
        (json!({}), "name", "can't be blank"),
        (json!({"name": "x".repeat(101)}), "name", "should be at most 100 character(s)"),
        (json!({"name": "x", "scopes": "nodes:read"}), "scopes", "must be a list"),
        (json!({"name": "x", "scopes": ["nodes"]}), "scopes", &unknown_scope),
        (json!({"name": "x", "scopes": [1]}), "scopes", &unknown_scope),
        (json!({"name": "x", "project": "A"}), "project", "must be lowercase letters, digits and inner hyphens"),
        (
            json!({"name": "x", "expires_at": "tomorrow"}),
            "expires_at",
            "must be an RFC 3339 time such as 2026-02-23T10:00:00Z",
        ),
        (
            json!({"name": "x", "scope": "nodes:read"}),
            "scope",
            "is not a known field; known are name, scopes, project, expires_at",
        ),
    ];
    for (body, field, message) in cases {
        assert_eq!(CreateApiKey::parse(body), Err(FieldErrors::one(field, message)));
    }
}
