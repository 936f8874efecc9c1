use super::*;
use serde_json::json;

/// Field and message of the one error; reads with `read`.
fn refusal<T>(body: Value, read: impl FnOnce(&mut Fields) -> Option<T>) -> (String, String) {
    let mut fields = Fields::new(body);
    assert!(read(&mut fields).is_none());
    let mut errors = fields.errors().0.into_iter();
    let (field, messages) = errors.next().unwrap();
    assert_eq!((errors.next(), messages.len()), (None, 1));
    (field, messages[0].clone())
}

fn told(message: &str) -> (String, String) {
    ("f".to_owned(), message.to_owned())
}

#[test]
fn a_body_is_one_json_object_and_an_empty_one_is_an_empty_object() {
    assert_eq!(parse_json(b""), Ok(json!({})));
    assert_eq!(parse_json(b"{\"a\":1}"), Ok(json!({"a": 1})));
    let deep = "[".repeat(200_000);
    for wrong in ["[]", "null", "{", "{} {}", "\u{feff}{}", &deep] {
        assert_eq!(parse_json(wrong.as_bytes()).map_err(|e| e.code), Err(ErrorCode::MalformedRequest), "{wrong:.20}");
    }
    assert_eq!(parse_json(b"{\"a\":\"\xff\"}").map_err(|e| e.code), Err(ErrorCode::MalformedRequest));
}

#[test]
fn every_reader_says_what_is_wrong() {
    assert_eq!(refusal(json!({}), |f| f.required("f")), told("can't be blank"));
    assert_eq!(refusal(json!({"f": null}), |f| f.required_text("f", 3)), told("can't be blank"));
    assert_eq!(refusal(json!({"f": ""}), |f| f.required_text("f", 3)), told("can't be blank"));
    assert_eq!(refusal(json!({"f": 1}), |f| f.required_text("f", 3)), told("must be a string"));
    assert_eq!(refusal(json!({"f": "abcd"}), |f| f.text("f", 3)), told("should be at most 3 character(s)"));
    assert_eq!(refusal(json!({"f": "a\0"}), |f| f.text("f", 3)), told("must not contain NUL characters"));
    let node_name = |f: &mut Fields| f.required_parsed::<domain::NodeName>("f");
    assert_eq!(refusal(json!({"f": true}), node_name), told("must be a string"));
    assert_eq!(refusal(json!({"f": "a".repeat(101)}), node_name), told("should be at most 100 character(s)"));
    let whole = "must be a whole number that is not negative";
    for wrong in [json!(-1), json!(1.5), json!("1"), json!(true)] {
        assert_eq!(refusal(json!({"f": wrong}), |f| f.integer("f", 1, 9)), told(whole));
    }
    assert_eq!(refusal(json!({"f": 0}), |f| f.integer("f", 1, 9)), told("must be greater than or equal to 1"));
    assert_eq!(refusal(json!({"f": 10}), |f| f.integer("f", 1, 9)), told("must be less than or equal to 9"));
    assert_eq!(refusal(json!({"f": "yes"}), |f| f.boolean("f")), told("must be true or false"));
    assert_eq!(refusal(json!({"f": []}), |f| f.object("f", 9)), told("must be an object"));
    assert_eq!(
        refusal(json!({"f": {"a": "12345"}}), |f| f.object("f", 9)),
        told("should be at most 9 byte(s) of JSON")
    );
    assert_eq!(refusal(json!({"f": {}}), |f| f.list("f", 1)), told("must be a list"));
    assert_eq!(refusal(json!({"f": [1, 2]}), |f| f.list("f", 1)), told("should have at most 1 item(s)"));
    assert_eq!(refusal(json!({"f": "c"}), |f| f.one_of("f", &["a", "b"])), told("is invalid; must be one of: a, b"));
    let time = "must be an RFC 3339 time such as 2026-02-23T10:00:00Z";
    assert_eq!(refusal(json!({"f": "2026-02-23"}), |f| f.time("f")), told(time));
    assert_eq!(refusal(json!({"f": 1771840800}), |f| f.time("f")), told(time));
}

#[test]
fn limits_are_inclusive_and_count_characters() {
    let mut fields =
        Fields::new(json!({"t": "äöü", "i": 9, "l": [1], "o": {"a": 1}, "z": "2026-02-23T11:00:00+01:00"}));
    assert_eq!(fields.text("t", 3).as_deref(), Some("äöü"));
    assert_eq!(fields.integer("i", 9, 9), Some(9));
    assert_eq!(fields.list("l", 1).map(|l| l.len()), Some(1));
    assert_eq!(fields.object("o", 7).map(|o| o.len()), Some(1));
    assert_eq!(fields.time("z"), "2026-02-23T10:00:00Z".parse().ok());
    fields.refuse_rest("nothing is left");
    assert_eq!(fields.finish(Some(())), Ok(()));
}

#[test]
fn absent_and_null_are_the_same_and_no_error() {
    for body in [json!({}), json!({"f": null}), Value::Null] {
        let mut fields = Fields::new(body);
        assert!(!fields.has("f"));
        assert_eq!(fields.text("f", 1), None);
        assert_eq!(fields.finish(Some(())), Ok(()));
    }
}

#[test]
fn all_problems_are_told_at_once_with_their_place() {
    let mut fields = Fields::nested(json!({"a": 1, "b": 2, "c": 3}), "events[3].");
    fields.text("a", 9);
    fields.text("b", 9);
    fields.refuse_rest("known are a, b");
    let errors = fields.finish(Some(())).unwrap_err();
    let text = "events[3].a must be a string; events[3].b must be a string; \
        events[3].c is not a known field; known are a, b";
    assert_eq!(errors.to_string(), text);
    let body = serde_json::to_value(ApiError::from(errors).body()).unwrap();
    assert_eq!(body["code"], "validation_failed");
    assert_eq!(body["error"]["events[3].a"], json!(["must be a string"]));
}

#[test]
fn what_is_no_object_is_named_by_its_place() {
    for (prefix, field) in [("", "body"), ("events[0].", "events[0]")] {
        let errors = Fields::nested(json!([1]), prefix).finish(Some(())).unwrap_err();
        assert_eq!(errors, FieldErrors::one(field, "must be an object"));
    }
}
