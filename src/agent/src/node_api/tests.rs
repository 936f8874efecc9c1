#![allow(clippy::unwrap_used)]
use super::*;
use crate::machine::Failure;
use crate::progress::Progress;
use crate::settings::Flags;
use crate::testing::plane::Plane;
use crate::testing::{bundle_id, target};
use contract::{Heartbeat, Register};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

fn settings(url: &str, dir: &Path) -> Settings {
    let flags = Flags {
        server_url: Some(url.to_owned()),
        project: Some("demo".into()),
        name: Some("edge-1".into()),
        labels: vec![("env".into(), "production".into())],
        data_dir: Some(dir.to_owned()),
        proxy_version: Some("0.6.45".into()),
        ..Flags::default()
    };
    Settings::resolve(flags).unwrap()
}

struct Given {
    _dir: TempDir,
    plane: Plane,
    settings: Settings,
    data: Arc<DataDir>,
}

async fn given() -> Given {
    let (dir, plane) = (tempfile::tempdir().unwrap(), Plane::start().await);
    let settings = settings(&plane.url(), dir.path());
    let data = Arc::new(DataDir::open(dir.path()).unwrap());
    data.save_progress(&Progress::default()).unwrap();
    Given { _dir: dir, plane, settings, data }
}

impl Given {
    /// As after a start: what is known is what is on the disk.
    fn api(&self) -> NodeApi {
        let client = Client::new(self.settings.server_url.clone(), None).unwrap();
        NodeApi::new(
            client,
            self.settings.clone(),
            self.data.clone(),
            self.data.credentials().unwrap(),
            self.data.signing_key().unwrap(),
        )
    }

    async fn refused(&self) -> String {
        match self.api().register().await {
            Err(RegisterError::Local(why)) => why,
            other => panic!("{:?}", other.map(|_| ())),
        }
    }
}

#[tokio::test]
async fn a_registration_is_what_the_server_accepts_and_its_answer_is_kept() {
    let mut given = given().await;
    let token = given.data.path().join("join");
    runtime::files::write_secret(&token, b"  join-token\n").unwrap();
    given.settings.join_token_file = Some(token);
    let identity = given.api().register().await.unwrap();
    assert_eq!((identity.org.as_str(), identity.keys.len()), ("default", 1));
    {
        let told = given.plane.told();
        let seen = told.newest("register");
        assert_eq!(seen.header("x-pilothouse-join-token"), Some("join-token"));
        let body = Register::parse(seen.body.clone()).unwrap();
        assert_eq!(body.node.labels.as_map().get("env").map(String::as_str), Some("production"));
    }
    assert_eq!(given.data.credentials().unwrap().unwrap().node_key(), "n".repeat(43));
    assert!(given.data.registration().unwrap().is_none());
    let api = given.api();
    assert_eq!(api.fetch_token().await.unwrap(), 43_200);
    api.poll(Credential::Token).await.unwrap();
    assert_eq!(given.plane.told().newest("latest").header("authorization"), Some("Bearer token-1"));
    api.poll(Credential::Key).await.unwrap();
    assert_eq!(given.plane.told().newest("latest").header("x-zentinel-node-key"), Some("n".repeat(43).as_str()));
}

#[tokio::test]
async fn a_join_token_that_others_can_read_is_not_used() {
    let mut given = given().await;
    let token = given.data.path().join("join");
    std::fs::write(&token, "t").unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    given.settings.join_token_file = Some(token);
    assert!(given.refused().await.contains("chmod 600"));
    assert!(given.plane.told().seen.is_empty());
}

#[tokio::test]
async fn a_repeated_attempt_is_the_same_registration() {
    let given = given().await;
    given.plane.told().answers.insert("register", vec![(503, json!({}), None)]);
    assert!(matches!(given.api().register().await, Err(RegisterError::Call(_))));
    given.api().register().await.unwrap();
    let told = given.plane.told();
    let keys: Vec<_> = told.seen.iter().map(|seen| seen.header("idempotency-key").unwrap()).collect();
    assert_eq!(keys[0], keys[1]);
    assert_eq!(keys[0].len(), 43);
}

#[tokio::test]
async fn a_key_that_was_lost_says_how_to_go_on() {
    let given = given().await;
    let begun = Registration { idempotency_key: "k".into(), project: "demo".into(), name: "edge-1".into() };
    given.data.save_registration(&begun).unwrap();
    given.plane.told().registered.push("k".into());
    let why = given.refused().await;
    assert!(why.contains("delete the node edge-1 in the project demo and start the agent again"), "{why}");
    assert!(given.data.credentials().unwrap().is_none());
    // The node was deleted; the next start registers anew.
    given.api().register().await.unwrap();
    given.data.save_registration(&begun).unwrap();
    let reused = json!({"error": "used with another body", "code": "idempotency_key_reused"});
    given.plane.told().answers.insert("register", vec![(422, reused, None)]);
    assert!(given.refused().await.contains("with other settings"));
}

#[tokio::test]
async fn another_name_is_another_registration() {
    let given = given().await;
    let begun = Registration { idempotency_key: "k".into(), project: "demo".into(), name: "edge-0".into() };
    given.data.save_registration(&begun).unwrap();
    given.api().register().await.unwrap();
    assert_ne!(given.plane.told().newest("register").header("idempotency-key"), Some("k"));
}

#[tokio::test]
async fn heartbeats_are_what_the_server_understands() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings("http://localhost", dir.path());
    let failure = Some(Failure { bundle: bundle_id(2), error: "exit status: 1".into() });
    let beat = Beat { active: Some(bundle_id(1)), staged: Some(bundle_id(2)), failure, switched: None };
    let parsed = Heartbeat::parse(heartbeat(&beat, None, &settings)).unwrap();
    assert_eq!(parsed.report.active_bundle_id, Some(bundle_id(1)));
    assert_eq!(parsed.report.staged_bundle_id, Some(bundle_id(2)));
    assert_eq!(parsed.report.version.as_deref(), Some("0.6.45"));
    assert_eq!(parsed.failed_activation().unwrap().reason, "exit status: 1");
    assert!(parsed.is_healthy());
    let empty = heartbeat(&Beat::default(), None, &settings);
    let keys: Vec<_> = empty.as_object().unwrap().keys().filter(|key| *key != "hostname").cloned().collect();
    assert_eq!(keys, ["health", "version"], "what is not known is not sent");
}

#[tokio::test]
async fn a_receipt_is_signed_with_the_key_that_was_registered() {
    let given = given().await;
    let api = given.api();
    api.register().await.unwrap();
    api.fetch_token().await.unwrap();
    let switched = Switched { target: target(2), at: "2026-02-23T10:00:00Z".parse().unwrap() };
    let beat = Beat { switched: Some(switched.clone()), ..Beat::default() };
    api.beat(Credential::Token, &beat).await.unwrap();
    {
        let told = given.plane.told();
        let registered = Register::parse(told.newest("register").body.clone()).unwrap().node.public_key;
        let parsed = Heartbeat::parse(told.newest("heartbeat").body.clone()).unwrap().receipt.unwrap();
        assert_eq!(Some(&parsed.public_key), registered.as_ref().map(|key| key.as_str().to_owned()).as_ref());
        let signed = serde_json::from_value(json!(parsed)).unwrap();
        let receipt = trust::verify_receipt(&signed).unwrap();
        let Target { bundle, counter } = switched.target;
        assert_eq!((receipt.digest, receipt.counter, receipt.activated_at), (bundle.digest, counter, switched.at));
        assert_eq!((receipt.org.as_str(), receipt.node_id.as_str()), ("default", crate::testing::NODE));
    }
    // Another key in its place is not the one that the control plane knows.
    std::fs::remove_file(given.data.path().join("node.nk")).unwrap();
    given.api().beat(Credential::Key, &beat).await.unwrap();
    assert!(given.plane.told().newest("heartbeat").body.get("receipt").is_none());
}
