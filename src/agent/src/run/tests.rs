//! The whole agent against a control plane on a loopback port.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::settings::{CommandLine, Flags};
use crate::status::Status;
use crate::testing::plane::Plane;
use crate::testing::{archive, bundle_id, runs, until};
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

struct Agent {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), RunError>>,
}

impl Agent {
    fn start(settings: &Settings) -> Agent {
        let (stop, stopped) = oneshot::channel();
        let settings = settings.clone();
        let task = tokio::spawn(async move {
            run(settings, async {
                let _ = stopped.await;
            })
            .await
        });
        Agent { stop, task }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

/// Fails for v2; for v3 it hangs.
const COMMAND: &str = r#"
    case "$PILOTHOUSE_BUNDLE_VERSION" in
    v2) echo "bad listener" >&2; exit 1 ;;
    v3) cd "$PILOTHOUSE_BUNDLE_DIR/../.."; sleep 1000 & echo $! > child.tmp; mv child.tmp child; wait ;;
    esac
"#;

async fn given() -> (TempDir, Plane, Settings) {
    let (dir, plane) = (tempfile::tempdir().unwrap(), Plane::start().await);
    let flags = Flags {
        server_url: Some(plane.url()),
        project: Some("demo".into()),
        name: Some("edge-1".into()),
        data_dir: Some(dir.path().join("data")),
        command: Some(CommandLine::new(["/bin/sh", "-c", COMMAND].map(str::to_owned).into())),
        ..Flags::default()
    };
    let mut settings = Settings::resolve(flags).unwrap();
    settings.poll_interval = Some(Duration::from_millis(50));
    settings.heartbeat_interval = Some(Duration::from_millis(100));
    (dir, plane, settings)
}

fn current(settings: &Settings) -> Option<u8> {
    let target = std::fs::read_link(settings.data_dir.join("current")).ok()?;
    (1..=9).find(|n| target.ends_with(archive(*n).1))
}

async fn until_active(plane: &Plane, n: u8) {
    plane.until_beat(|beat| beat["active_bundle_id"] == bundle_id(n).to_string()).await;
}

fn active(data_dir: &Path) -> Option<domain::BundleId> {
    Status::read(data_dir).unwrap().active.map(|active| active.id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_follows_its_assignments_and_comes_back_after_a_stop() {
    let (_dir, plane, settings) = given().await;
    plane.offer(1, 10);
    plane.told().cuts = vec![20, 30];
    let agent = Agent::start(&settings);
    until_active(&plane, 1).await;
    assert_eq!(current(&settings), Some(1));
    {
        let told = plane.told();
        let ranges: Vec<_> = told.seen.iter().filter_map(|seen| seen.header("range")).collect();
        assert_eq!(ranges, ["bytes=0-", "bytes=20-", "bytes=50-"], "the broken download went on");
        assert_eq!(told.newest("heartbeat").header("authorization"), Some("Bearer token-1"));
    }
    agent.stop().await;

    plane.offer(4, 11);
    let agent = Agent::start(&settings);
    until_active(&plane, 4).await;
    assert_eq!((plane.told().count("register"), current(&settings)), (1, Some(4)));
    // An operator goes back: an old bundle, a new assignment.
    plane.offer(1, 12);
    until_active(&plane, 1).await;
    agent.stop().await;
    assert_eq!(Status::read(&settings.data_dir).unwrap().accepted.unwrap().counter.position, 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_fails_is_reported_and_the_old_one_stays() {
    let (_dir, plane, settings) = given().await;
    plane.offer(1, 10);
    let agent = Agent::start(&settings);
    until_active(&plane, 1).await;
    plane.offer(2, 11);
    let reported = |beat: &serde_json::Value| {
        beat["activation"]["bundle_id"] == bundle_id(2).to_string()
            && beat["activation"]["status"] == "failed"
            && beat["activation"]["error"].as_str().unwrap().ends_with("bad listener")
            && beat["active_bundle_id"] == bundle_id(1).to_string()
    };
    plane.until_beat(reported).await;
    assert_eq!(current(&settings), Some(1));
    let downloads = |told: &crate::testing::plane::Told| told.seen.iter().filter(|seen| seen.is(&archive(2).1)).count();
    let polls = plane.told().count("latest");
    plane.until(|told| told.count("latest") > polls + 3).await;
    assert_eq!(downloads(&plane.told()), 1, "the same assignment is not tried again");
    plane.offer(2, 12);
    plane.until(|told| downloads(told) == 2).await;
    plane.offer(4, 13);
    until_active(&plane, 4).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_what_was_assigned_never_becomes_current() {
    let (_dir, plane, mut settings) = given().await;
    settings.check_command = Some(CommandLine::new(
        ["/bin/sh", "-c", "[ $PILOTHOUSE_BUNDLE_VERSION != v5 ] || { echo refused >&2; exit 2; }"]
            .map(str::to_owned)
            .into(),
    ));
    plane.offer(1, 10);
    let agent = Agent::start(&settings);
    until_active(&plane, 1).await;
    // Replayed.
    plane.offer(4, 9);
    let polls = plane.told().count("latest");
    plane.until(|told| told.count("latest") > polls + 2).await;
    // Signed by nobody.
    plane.offer_changed(4, 20, |offer| offer["assignment"]["signature"] = "A".repeat(86).into());
    let told = |text: &'static str| {
        move |beat: &serde_json::Value| beat["activation"]["error"].as_str().is_some_and(|error| error.contains(text))
    };
    plane.until_beat(told("signature is wrong")).await;
    // Announced with a size of its own.
    plane.offer_changed(4, 21, |offer| offer["size_bytes"] = u64::MAX.into());
    plane.until_beat(told("more than the")).await;
    // Another archive's signature.
    let other = crate::testing::key().sign(&archive(3).0).to_string();
    plane.offer_changed(4, 22, |offer| offer["signature"] = other.into());
    plane.until_beat(told("signature of the archive is wrong")).await;
    // Refused by the operator's own check.
    plane.offer(5, 23);
    plane.until_beat(told("check command: /bin/sh failed (exit status: 2): refused")).await;
    assert_eq!((current(&settings), active(&settings.data_dir)), (Some(1), Some(bundle_id(1))));
    // Changed on the way, then whole.
    plane.told().tampered = true;
    let seen = plane.told().seen.len();
    plane.offer(4, 24);
    plane.until(|told| told.seen.iter().skip(seen).any(|seen| seen.is(&archive(4).1))).await;
    plane.told().tampered = false;
    until_active(&plane, 4).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_in_the_middle_of_an_activation_leaves_nothing_behind() {
    let (_dir, plane, settings) = given().await;
    plane.offer(1, 10);
    let agent = Agent::start(&settings);
    until_active(&plane, 1).await;
    plane.offer(3, 11);
    let child = settings.data_dir.join("child");
    until(|| runs(&child), || "the command did not start".into()).await;
    assert_eq!(current(&settings), Some(3));
    let beats = plane.told().count("heartbeat");
    plane.until(|told| told.count("heartbeat") > beats + 2).await;
    agent.stop().await;
    until(|| !runs(&child), || "the child still runs".into()).await;
    assert_eq!((current(&settings), active(&settings.data_dir)), (Some(1), Some(bundle_id(1))));
    plane.offer(4, 12);
    let agent = Agent::start(&settings);
    until_active(&plane, 4).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_are_revoked_and_servers_that_fail_are_outlived() {
    let (_dir, plane, settings) = given().await;
    plane.told().answers.insert("heartbeat", vec![(503, json!({"error": "later"}), Some(0))]);
    let agent = Agent::start(&settings);
    plane.until(|told| told.count("heartbeat") >= 3).await;
    plane.told().revoked = 1;
    plane
        .until(|told| told.tokens == 2 && told.newest("heartbeat").header("authorization") == Some("Bearer token-2"))
        .await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_an_operator_can_change_ends_the_agent() {
    let (_dir, plane, settings) = given().await;
    plane
        .told()
        .answers
        .insert("register", vec![(404, json!({"error": "Project not found", "code": "not_found"}), None)]);
    let error = Agent::start(&settings).task.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("Project not found") && error.contains("server_url and project"), "{error}");
    plane.offer(1, 10);
    let agent = Agent::start(&settings);
    until_active(&plane, 1).await;
    let second = Agent::start(&settings).task.await.unwrap().unwrap_err();
    assert!(matches!(second, RunError::State(StateError::InUse { .. })));
    agent.stop().await;
    let other = Settings { project: "other".parse().unwrap(), ..settings };
    assert!(matches!(Agent::start(&other).task.await.unwrap(), Err(RunError::OtherProject { .. })));
}

#[tokio::test]
async fn without_a_fixed_interval_the_server_is_asked_to_wait() {
    let (_dir, plane, mut settings) = given().await;
    (settings.poll_interval, settings.wait) = (None, Some(Duration::from_secs(20)));
    let agent = Agent::start(&settings);
    plane.until(|told| told.count("latest") > 0).await;
    assert_eq!(plane.told().newest("latest").query, "wait=20");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_enrolls_before_its_node_registers() {
    let (dir, plane, mut settings) = given().await;
    let server = crate::testing::enrollment::Server::start().await;
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, &server.ca_pem).unwrap();
    let flags = Flags {
        enroll_urls: vec![server.url.clone()],
        ca_file: Some(ca),
        host_id: Some("web-03".into()),
        data_dir: Some(settings.data_dir.clone()),
        ..Flags::default()
    };
    settings.enrollment = Some(crate::settings::EnrollSettings::resolve(flags).unwrap());
    let agent = Agent::start(&settings);
    server.until(|told| told.count("stream") == 1).await;
    assert_eq!(plane.told().seen.len(), 0, "nobody approved yet");
    server.becomes("approved");
    plane.until(|told| told.count("heartbeat") > 0).await;
    assert!(settings.data_dir.join("auth/web-03.creds").exists());
    agent.stop().await;
    // A refusal ends the agent with a reason of its own.
    server.told().begins = "rejected";
    std::fs::remove_file(settings.data_dir.join("auth/web-03.creds")).unwrap();
    let ended = Agent::start(&settings).task.await.unwrap();
    assert!(matches!(ended, Err(RunError::Enroll(EnrollError::Refused(_)))), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_outlives_a_restart_and_is_told_until_it_is_heard() {
    let (_dir, plane, settings) = given().await;
    plane.offer(1, 10);
    let away = (503, json!({"error": "later"}), Some(0));
    plane.told().answers.insert("heartbeat", vec![away; 10_000]);
    let agent = Agent::start(&settings);
    let told = |beat: &serde_json::Value| beat.get("receipt").is_some();
    plane.until_beat(told).await;
    let first = plane.told().newest("heartbeat").body["receipt"].clone();
    agent.stop().await;
    plane.told().answers.clear();
    let agent = Agent::start(&settings);
    plane.until_beat(told).await;
    plane.until_beat(|beat| !told(beat)).await;
    agent.stop().await;
    let told = plane.told();
    let receipts = told.seen.iter().filter_map(|seen| seen.body.get("receipt")).collect::<Vec<_>>();
    assert!(receipts.len() >= 2 && receipts.iter().all(|receipt| **receipt == first), "{receipts:?}");
    let receipt = trust::verify_receipt(&serde_json::from_value(first).unwrap()).unwrap();
    assert_eq!((receipt.digest, receipt.counter.position), (archive(1).1, 10));
    let state = std::fs::read_to_string(settings.data_dir.join("state.json")).unwrap();
    assert!(!state.contains("untold"), "{state}");
}
