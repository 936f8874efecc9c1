//! Approvals that make the host a node.

use super::*;
use crate::progress::Progress;
use crate::testing::{KEY_ID, NODE, key, target};
use serde_json::{Value, json};

const OTHER: &str = "0190a0b0-0000-7000-8000-000000000002";

fn node(id: &str, secret: char) -> Value {
    let keys = json!([{"key_id": KEY_ID, "public_key": key().public().to_string()}]);
    json!({"node_id": id, "node_key": secret.to_string().repeat(43), "poll_interval_s": 30, "org": "default",
        "project": "demo", "bundle_keys": keys})
}

/// Enrolls anew, and gets this node with it.
async fn enrolls_as(server: &Server, settings: &EnrollSettings, node: Value) {
    let _ = std::fs::remove_file(settings.data_dir.join("auth/web-03.creds"));
    server.told().begins = "approved";
    server.told().node = node;
    assert!(obtain(settings).await.unwrap().new);
}

fn known(settings: &EnrollSettings) -> (String, char) {
    let credentials = crate::state::read_credentials(&settings.data_dir).unwrap().unwrap();
    (credentials.node_id.clone(), credentials.node_key().chars().next().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_approval_is_the_registration_unless_there_is_another() {
    let (_dir, server, settings) = given().await;
    // An earlier node of this directory accepted something, and was deleted since.
    let data = DataDir::open(&settings.data_dir).unwrap();
    data.save_progress(&Progress { accepted: Some(target(3)), ..Progress::default() }).unwrap();
    drop(data);
    enrolls_as(&server, &settings, node(NODE, 'a')).await;
    assert_eq!(known(&settings), (NODE.to_owned(), 'a'));
    assert_eq!(file(&settings, "seed"), std::fs::read_to_string(settings.data_dir.join("node.nk")).unwrap().trim());
    let progress = crate::state::read_progress(&settings.data_dir).unwrap().unwrap();
    assert!(progress.accepted.is_none(), "what another node accepted says nothing");
    enrolls_as(&server, &settings, node(OTHER, 'b')).await;
    assert_eq!(known(&settings), (NODE.to_owned(), 'a'), "the one that runs stays");
    let data = DataDir::open(&settings.data_dir).unwrap();
    data.save_progress(&Progress { accepted: Some(target(3)), ..Progress::default() }).unwrap();
    drop(data);
    enrolls_as(&server, &settings, node(NODE, 'c')).await;
    assert_eq!(known(&settings), (NODE.to_owned(), 'c'), "approved anew, it has a new key");
    let progress = crate::state::read_progress(&settings.data_dir).unwrap().unwrap();
    assert!(progress.accepted.is_some(), "and forgets nothing");
    enrolls_as(&server, &settings, Value::Null).await;
    assert_eq!(known(&settings), (NODE.to_owned(), 'c'));
}
