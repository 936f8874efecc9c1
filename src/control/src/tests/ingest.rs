//! What nodes report beside heartbeats, as it is kept.

use super::stage::{Stage, telemetry};
use contract::ErrorCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

#[tokio::test]
async fn reports_are_kept_with_the_nodes_identity_and_the_time_of_arrival() {
    let stage = Stage::start().await;
    let (node, _) = stage.node("a").await;
    let (control, id) = (&stage.control, node.id.to_string());
    let before = Timestamp::now();
    let events = json!({"events": [{"event_type": "startup", "message": "up", "node": "somebody else"}]});
    assert_eq!(control.ingest_events(&node, events).await.unwrap().count, 1);
    let config = "system { }\n";
    let hash = control.ingest_config(&node, json!({"config_kdl": config})).await.unwrap().config_hash;
    assert_eq!(hash, data_encoding::HEXLOWER.encode(&Sha256::digest(config)));
    let project_id = control.views().read().orgs.project(&node.project).unwrap().id.to_string();
    let metrics = json!({"metrics": [{"service_id": "s", "project_id": "demo", "request_count": 5}],
        "request_logs": [{"service_id": "s", "project_id": project_id, "path": "/"}]});
    let accepted = control.ingest_metrics(&node, metrics).await.unwrap();
    assert_eq!((accepted.metrics_ingested, accepted.logs_ingested), (1, 1));
    let waf = json!({"events": [{"rule_type": "crs", "rule_id": "1", "action": "blocked", "severity": "high"}]});
    assert_eq!(control.ingest_waf_events(&node, waf).await.unwrap().events_ingested, 1);

    let kept = telemetry(&stage.store.memory);
    let subjects: Vec<&str> = kept.iter().map(|(subject, _)| subject.as_str()).collect();
    let wanted =
        ["events", "config", "metrics", "waf_events"].map(|kind| format!("telemetry.default.demo.{id}.{kind}"));
    assert_eq!(subjects, wanted.each_ref().map(String::as_str));
    for (subject, report) in &kept {
        assert_eq!(report["node"], json!(id), "{subject}");
        let at: Timestamp = report["received_at"].as_str().unwrap().parse().unwrap();
        assert!(at.duration_since(before).as_secs().abs() < 30, "{subject}: {at}");
    }
    assert_eq!(kept[0].1["entries"][0]["message"], "up");
    assert_eq!(kept[1].1["entries"], json!({"sha256": hash, "config_kdl": config}));
    assert_eq!(kept[2].1["entries"]["metrics"][0]["values"], json!({"request_count": 5}));
}

#[tokio::test]
async fn a_foreign_project_a_bad_entry_and_what_is_too_large_are_refused_whole() {
    let stage = Stage::start().await;
    let (node, _) = stage.node("a").await;
    let control = &stage.control;
    let metric = |project: &str| json!({"service_id": "s", "project_id": project});
    let foreign = json!({"metrics": [metric("demo"), metric("other")]});
    let refused = control.ingest_metrics(&node, foreign).await.map(drop).unwrap_err();
    assert_eq!(refused.to_string(), "metrics[1].project_id must be the node's own project");
    let bad = json!({"events": [{"event_type": "info", "message": "m"}, {"event_type": "info"}]});
    assert_eq!(control.ingest_events(&node, bad).await.map(drop).unwrap_err().code, ErrorCode::ValidationFailed);
    let long = json!({"event_type": "info", "message": "x".repeat(4000)});
    let many = json!({"events": vec![long; 1000]});
    assert_eq!(control.ingest_events(&node, many).await.map(drop).unwrap_err().code, ErrorCode::PayloadTooLarge);
    assert_eq!(telemetry(&stage.store.memory), Vec::<(String, Value)>::new());
    let largest = json!({"config_kdl": "\"".repeat(1024 * 1024 / 2) + &"k".repeat(1024 * 1024 / 2)});
    assert!(control.ingest_config(&node, largest).await.is_ok(), "any text up to 1 MiB");
}
