use super::*;
use serde_json::json;

const BUNDLE: &str = "019c89f1-0500-7000-8000-000000000004";
const NODE: &str = "019c89f1-0500-7000-8000-000000000003";

fn parse(changes: Value) -> Result<CreateRollout, FieldErrors> {
    let mut body = json!({"bundle_id": BUNDLE});
    for (field, value) in changes.as_object().unwrap() {
        body[field] = value.clone();
    }
    CreateRollout::parse(body)
}

fn defaults() -> CreateRollout {
    CreateRollout {
        bundle_id: BUNDLE.parse().unwrap(),
        strategy: Strategy::Rolling,
        target_selector: Selector::All {},
        batch_size: None,
        batch_percentage: None,
        max_unavailable: 0,
        progress_deadline_seconds: 600,
        health_gates: HealthGates { heartbeat_healthy: true },
        late_joiners: LateJoiners::Join,
        start: true,
    }
}

#[test]
fn a_bundle_is_all_that_must_be_said() {
    assert_eq!(parse(json!({})), Ok(defaults()));
}

#[test]
fn everything_can_be_said() {
    let everything = json!({"strategy": "all_at_once", "target_selector": {"type": "labels", "labels": {"env": "prod"}},
        "batch_percentage": 25, "max_unavailable": 2, "progress_deadline_seconds": 60,
        "health_gates": {"heartbeat_healthy": false}, "late_joiners": "ignore", "start": false});
    let labels = Labels::try_from(BTreeMap::from([("env".to_owned(), "prod".to_owned())])).unwrap();
    let expected = CreateRollout {
        strategy: Strategy::AllAtOnce,
        target_selector: Selector::Labels { labels },
        batch_percentage: Some(25),
        max_unavailable: 2,
        progress_deadline_seconds: 60,
        health_gates: HealthGates { heartbeat_healthy: false },
        late_joiners: LateJoiners::Ignore,
        start: false,
        ..defaults()
    };
    assert_eq!(parse(everything), Ok(expected));
    let ids = json!({"target_selector": {"type": "node_ids", "node_ids": [NODE, NODE]}, "batch_size": 3});
    let target_selector = Selector::node_ids(vec![NODE.parse().unwrap()]);
    assert_eq!(parse(ids), Ok(CreateRollout { target_selector, batch_size: Some(3), ..defaults() }));
}

#[test]
fn every_refusal_names_its_field() {
    let selectors = [
        json!("all"),
        json!({}),
        json!({"type": "some"}),
        json!({"type": "all", "labels": {"a": "b"}}),
        json!({"type": "labels"}),
        json!({"type": "labels", "labels": {}}),
        json!({"type": "labels", "labels": {"a": 1}}),
        json!({"type": "node_ids", "node_ids": []}),
        json!({"type": "node_ids", "node_ids": ["1"]}),
        json!({"type": "node_ids", "node_ids": NODE}),
    ];
    for selector in selectors {
        let found = parse(json!({"target_selector": selector}));
        assert_eq!(found, Err(FieldErrors::one("target_selector", SELECTOR_ADVICE)), "{selector}");
    }
    let cases = [
        (json!({"bundle_id": null}), "bundle_id", "can't be blank".to_owned()),
        (json!({"bundle_id": "v1"}), "bundle_id", "must be the UUID of a bundle".to_owned()),
        (json!({"strategy": "canary"}), "strategy", "is invalid; must be one of: rolling, all_at_once".to_owned()),
        (json!({"batch_size": 0}), "batch_size", "must be greater than or equal to 1".to_owned()),
        (json!({"batch_percentage": 101}), "batch_percentage", "must be less than or equal to 100".to_owned()),
        (
            json!({"batch_size": 1, "batch_percentage": 1}),
            "batch_size",
            "cannot set both batch_size and batch_percentage".to_owned(),
        ),
        (json!({"max_unavailable": -1}), "max_unavailable", "must be a whole number that is not negative".to_owned()),
        (
            json!({"progress_deadline_seconds": 604_801}),
            "progress_deadline_seconds",
            "must be less than or equal to 604800".to_owned(),
        ),
        (json!({"late_joiners": "wait"}), "late_joiners", "is invalid; must be one of: join, ignore".to_owned()),
        (json!({"start": "no"}), "start", "must be true or false".to_owned()),
        (json!({"health_gates": []}), "health_gates", "must be an object".to_owned()),
        (
            json!({"health_gates": {"heartbeat_healthy": 1}}),
            "health_gates.heartbeat_healthy",
            "must be true or false".to_owned(),
        ),
        (
            json!({"health_gates": {"max_cpu": 1}}),
            "health_gates.max_cpu",
            "is not a known field; known is heartbeat_healthy".to_owned(),
        ),
        (json!({"batchsize": 1}), "batchsize", format!("is not a known field; {KNOWN}")),
    ];
    for (changes, field, message) in cases {
        assert_eq!(parse(changes), Err(FieldErrors::one(field, message)));
    }
}
