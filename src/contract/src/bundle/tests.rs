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
