#![allow(clippy::unwrap_used)]
use super::*;
use crate::progress::Progress;
use crate::state::{Credentials, DataDir};
use crate::testing::{NODE, bundle_id, target};

const SECRET: &str = "liPd5OsMRw8cr-yKFRwAr6O3zmqOdFUcfuY8W-XTiJE";

#[test]
fn everything_but_the_secret_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::open(dir.path()).unwrap();
    let mut progress = Progress::default();
    progress.succeed(&target(1));
    progress.fail(&target(2), "exit status: 1".into());
    data.save_progress(&progress).unwrap();
    let answer = serde_json::json!({
        "node_id": NODE, "node_key": SECRET, "poll_interval_s": 30, "org": "default", "project": "demo",
    });
    let answer = serde_json::from_value(answer).unwrap();
    let key = data.signing_key().unwrap();
    data.save_credentials(&Credentials::new(answer, "edge-1", "http://localhost:4000/", &key).unwrap()).unwrap();
    let status = Status::read(dir.path()).unwrap();
    let expected = format!(
        "node      {NODE}\nname      edge-1\norg       default\nproject   demo\nserver    http://localhost:4000/\n\
         active    v1 ({})\ncounter   1.2\nfailed    v2 ({}): exit status: 1\n",
        bundle_id(1),
        bundle_id(2)
    );
    assert_eq!(status.render(Format::Table), expected);
    let json = status.render(Format::Json);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["active"]["version"], "v1");
    assert_eq!(value["accepted"]["counter"]["position"], 2);
    assert!(!json.contains(SECRET));
}

#[test]
fn an_empty_directory_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let text = Status::read(dir.path()).unwrap().render(Format::Table);
    assert_eq!(text, "node      not registered\nactive    none\n");
}
