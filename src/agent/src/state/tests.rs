#![allow(clippy::unwrap_used)]
use super::*;
use crate::testing::{KEY_ID, NODE, key, target};
use std::os::unix::fs::PermissionsExt;

const SECRET: &str = "liPd5OsMRw8cr-yKFRwAr6O3zmqOdFUcfuY8W-XTiJE";

fn answer() -> Registered {
    let body = serde_json::json!({
        "node_id": NODE, "node_key": SECRET, "poll_interval_s": 30, "org": "default", "project": "demo",
        "bundle_keys": [{"key_id": KEY_ID, "public_key": key().public().to_string()}],
    });
    serde_json::from_value(body).unwrap()
}

fn credentials() -> Credentials {
    Credentials::new(answer(), "edge-1", "http://localhost:4000", &NatsKey::generate(KeyKind::User)).unwrap()
}

fn open() -> (tempfile::TempDir, DataDir) {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::open(&dir.path().join("data")).unwrap();
    (dir, data)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn credentials_come_back_and_are_private() {
    let (_dir, data) = open();
    assert!(data.credentials().unwrap().is_none());
    data.save_progress(&Progress::default()).unwrap();
    data.save_credentials(&credentials()).unwrap();
    let path = data.path().join(CREDENTIALS);
    assert_eq!(mode(&path), 0o600);
    let known = data.credentials().unwrap().unwrap();
    assert_eq!((known.node_key(), known.identity().unwrap().keys), (SECRET, vec![(KEY_ID.to_owned(), key().public())]));
    for exposed in [0o640, 0o604] {
        fs::set_permissions(&path, fs::Permissions::from_mode(exposed)).unwrap();
        let error = data.credentials().err().unwrap().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
}

#[test]
fn damaged_credentials_are_not_quoted() {
    let (_dir, data) = open();
    let path = data.path().join(CREDENTIALS);
    write_secret(&path, format!(r#"{{"node_key": {SECRET}"#).as_bytes()).unwrap();
    let error = data.credentials().err().unwrap();
    assert!(!crate::call::causes(&error).contains(SECRET));
    assert!(matches!(error, StateError::Damaged { .. }));
}

#[test]
fn answers_that_cannot_be_right_are_refused() {
    let refused = |change: &dyn Fn(&mut Registered)| {
        let mut answer = answer();
        change(&mut answer);
        Credentials::new(answer, "edge-1", "", &NatsKey::generate(KeyKind::User)).err().unwrap()
    };
    assert!(matches!(refused(&|a| a.node_id = "../x".into()), StateError::NodeId(_)));
    assert!(matches!(refused(&|a| a.node_key = None), StateError::NoNodeKey));
    assert!(matches!(refused(&|a| a.bundle_keys[0].public_key = "x".into()), StateError::Key(_)));
    let many = |a: &mut Registered| a.bundle_keys = vec![a.bundle_keys[0].clone(); KEYS_MAX + 1];
    assert!(matches!(refused(&many), StateError::TooManyKeys));
}

#[test]
fn a_lost_progress_is_not_a_fresh_start() {
    let (_dir, data) = open();
    assert_eq!(data.progress().unwrap(), None);
    let mut progress = Progress::default();
    progress.succeed(&target(7));
    data.save_progress(&progress).unwrap();
    data.save_credentials(&credentials()).unwrap();
    assert_eq!(data.progress().unwrap(), Some(progress));
    fs::remove_file(data.path().join(PROGRESS)).unwrap();
    assert!(matches!(data.progress(), Err(StateError::ProgressLost { .. })));
}

#[test]
fn one_agent_at_a_time() {
    let (_dir, data) = open();
    assert_eq!(mode(data.path()), DIRECTORY_MODE & mode(data.path()));
    assert!(matches!(DataDir::open(data.path()), Err(StateError::InUse { .. })));
    let path = data.path().to_owned();
    drop(data);
    DataDir::open(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    let error = DataDir::open(&path).err().unwrap().to_string();
    assert!(error.contains("chmod go-w"), "{error}");
}

#[test]
fn a_registration_is_remembered_until_it_ends() {
    let (_dir, data) = open();
    data.end_registration().unwrap();
    let begun = Registration { idempotency_key: "k".into(), project: "demo".into(), name: "n".into() };
    data.save_registration(&begun).unwrap();
    assert_eq!(mode(&data.path().join(REGISTRATION)), 0o600);
    assert_eq!(data.registration().unwrap().unwrap().idempotency_key, "k");
    data.end_registration().unwrap();
    assert!(data.registration().unwrap().is_none());
}

#[test]
fn the_signing_key_is_made_once_and_is_private() {
    let (_dir, data) = open();
    let key = data.signing_key().unwrap();
    let path = data.path().join(SIGNING_KEY);
    assert_eq!(mode(&path), 0o600);
    assert_eq!(data.signing_key().unwrap().public_key(), key.public_key());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(data.signing_key().err().unwrap().to_string().contains("chmod 600"));
    write_secret(&path, b"SUx").unwrap();
    let error = data.signing_key().err().unwrap();
    assert!(matches!(error, StateError::Damaged { .. }), "a new one would be nobody's");
}

#[test]
fn files_of_before_there_were_receipts_are_still_read() {
    let (_dir, data) = open();
    let without = |value: serde_json::Value, field: &str| {
        let mut value = value;
        value.as_object_mut().unwrap().remove(field);
        value.to_string()
    };
    let path = |name| data.path().join(name);
    let progress = without(serde_json::to_value(Progress::default()).unwrap(), "untold");
    write_secret(&path(PROGRESS), progress.as_bytes()).unwrap();
    let known = without(serde_json::to_value(credentials()).unwrap(), "public_key");
    write_secret(&path(CREDENTIALS), known.as_bytes()).unwrap();
    assert_eq!(data.progress().unwrap(), Some(Progress::default()));
    assert_eq!(data.credentials().unwrap().unwrap().public_key, None);
}
