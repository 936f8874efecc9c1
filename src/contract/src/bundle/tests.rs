use super::*;
use serde_json::json;

#[test]
fn a_bundle_has_a_version_and_a_source() {
    let parsed = CreateBundle::parse(json!({"version": "1.0", "config_source": "system { }"}));
    let expected = CreateBundle { version: "1.0".parse().unwrap(), config_source: "system { }".into() };
    assert_eq!(parsed, Ok(expected));
}

#[test]
fn every_refusal_names_its_field() {
    let cases = [
        (json!({"config_source": "x"}), "version", "can't be blank"),
        (json!({"version": " ", "config_source": "x"}), "version", "can't be blank"),
        (json!({"version": 1, "config_source": "x"}), "version", "must be a string"),
        (json!({"version": "a\nb", "config_source": "x"}), "version", "must not contain control characters"),
        (json!({"version": "1"}), "config_source", "can't be blank"),
        (json!({"version": "1", "config_source": ""}), "config_source", "can't be blank"),
        (json!({"version": "1", "config_source": {}}), "config_source", "must be a string"),
        (
            json!({"version": "1", "config_source": "x".repeat(SOURCE_CHARS_MAX + 1)}),
            "config_source",
            "should be at most 1048576 character(s)",
        ),
        (
            json!({"version": "1", "config_source": "x", "name": "n"}),
            "name",
            "is not a known field; known are version, config_source",
        ),
    ];
    for (body, field, message) in cases {
        assert_eq!(CreateBundle::parse(body), Err(FieldErrors::one(field, message)));
    }
}

#[test]
fn a_revocation_may_say_why_and_may_have_no_body() {
    assert_eq!(RevokeBundle::parse(json!({"reason": "leak"})), Ok(RevokeBundle { reason: Some("leak".into()) }));
    for nothing in [json!({}), Value::Null] {
        assert_eq!(RevokeBundle::parse(nothing), Ok(RevokeBundle { reason: None }));
    }
    let long = RevokeBundle::parse(json!({"reason": "x".repeat(501)}));
    assert_eq!(long, Err(FieldErrors::one("reason", "should be at most 500 character(s)")));
}

#[test]
fn an_assignment_names_its_nodes() {
    let [a, b] = ["019c89f1-0500-7000-8000-000000000003", "019c89f1-0500-7000-8000-000000000004"];
    let expected = AssignBundle { node_ids: vec![a.parse().unwrap(), b.parse().unwrap()] };
    assert_eq!(AssignBundle::parse(json!({"node_ids": [b, a, b]})), Ok(expected));
    let many = vec![a; NODE_IDS_MAX + 1];
    for wrong in [json!([]), json!("x"), json!(["proxy-1"]), json!([1]), json!(many)] {
        let message = "must be a list of 1 to 10000 UUIDs of nodes";
        assert_eq!(AssignBundle::parse(json!({"node_ids": wrong})), Err(FieldErrors::one("node_ids", message)));
    }
    assert_eq!(AssignBundle::parse(json!({})), Err(FieldErrors::one("node_ids", "can't be blank")));
    assert!(AssignBundle::parse(json!({"node_ids": [a], "nodes": []})).is_err());
}
