//! The real agent enrolls with the real control plane: an operator approves, the credentials work, and what dies in between is
//! outlived.

use crate::harness::{Agent, Dev, Guarded, binary, eventually};
use async_nats::ConnectOptions;
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// `pilothouse-agent enroll` in a directory of the test's.
struct Enrolling {
    process: Guarded,
    out: PathBuf,
}

impl Enrolling {
    fn start(dev: &Dev, host: &str, more: &[&str]) -> Enrolling {
        let dir = dev.dir.path().join(host);
        std::fs::create_dir_all(&dir).unwrap();
        let out = dir.with_extension("out");
        let mut command = Command::new(binary("pilothouse-agent"));
        command.args(["enroll", "--enroll-url", dev.file.get("https_url"), "--host-id", host, "--data-dir"]);
        command.arg(&dir).args(more).stdout(std::fs::File::create(&out).unwrap()).env("RUST_BACKTRACE", "1");
        if !more.contains(&"--ca-fingerprint") {
            command.args(["--ca-file", dev.file.get("ca_cert")]);
        }
        let process = Guarded::spawn(&mut command, dir.with_extension("enroll.log"));
        Enrolling { process, out }
    }

    /// The exit code, and what it printed.
    fn ended(mut self) -> (Option<i32>, String) {
        let code = self.process.wait().code();
        (code, std::fs::read_to_string(&self.out).unwrap().trim().to_owned())
    }

    fn log(&self) -> String {
        self.process.log_tail()
    }
}

/// The one enrollment that waits.
fn pending(dev: &Dev) -> Value {
    eventually("a host waits", || {
        let listed = dev.cli_json(&["enroll", "list"]);
        let waiting = listed["enrollments"].as_array().unwrap();
        if waiting.len() == 1 { Ok(waiting[0].clone()) } else { Err(listed.to_string()) }
    })
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

/// Logs in with the credentials and hears what it says to itself.
async fn talks(dev: &Dev, creds: &str, host: &str) {
    let key = dev.cli_json(&["enroll", "list", "--state", "issued"])["enrollments"][0]["public_key"].clone();
    let options = ConnectOptions::with_credentials_file(creds).await.unwrap();
    let options = options.custom_inbox_prefix(format!("_INBOX_{}", key.as_str().unwrap()));
    let client = options.connect(dev.file.get("nats_url")).await.unwrap();
    let subject = format!("pilothouse.node.v1.{host}.echo");
    let mut heard = client.subscribe(subject.clone()).await.unwrap();
    client.publish(subject, "here".into()).await.unwrap();
    let message =
        tokio::time::timeout(Duration::from_secs(20), heard.next()).await.expect("nothing was heard").unwrap();
    assert_eq!(message.payload, "here");
}

#[test]
fn an_agent_enrolls_is_approved_and_talks_until_it_is_revoked() {
    let dev = Dev::start();
    let first = Enrolling::start(&dev, "web-03", &[]);
    let waiting = pending(&dev);
    assert_eq!((text(&waiting, "peel_id"), &waiting["metadata"]["os"]), ("web-03", &json!("linux")));
    let (id, fingerprint) = (text(&waiting, "id"), text(&waiting, "fingerprint"));
    eventually("the agent says what an operator compares", || {
        let log = first.log();
        if log.contains(fingerprint) && log.contains(id) { Ok(()) } else { Err(log) }
    });
    dev.cli_json(&["enroll", "approve", id, "--fingerprint", fingerprint, "--project", "demo", "--label", "env=test"]);
    let (code, creds) = first.ended();
    assert_eq!(code, Some(0));
    assert!(creds.ends_with("web-03/auth/web-03.creds"), "{creds}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(talks(&dev, &creds, "web-03"));
    eventually("the host is active", || match dev.cli_json(&["enroll", "show", id]) {
        shown if shown["state"] == "active" => Ok(()),
        shown => Err(shown.to_string()),
    });

    // The approval made it a node: it runs as that one and registers nowhere.
    let agent = Agent::start(&dev, "web-03", &[]);
    eventually("the node is online", || match dev.cli_json(&["node", "list"]) {
        list if list["nodes"][0]["status"] == "online" && list["nodes"].as_array().unwrap().len() == 1 => Ok(()),
        list => Err(list.to_string()),
    });
    drop(agent);

    dev.cli_json(&["enroll", "revoke", id, "--reason", "stolen", "--yes"]);
    assert_eq!(Enrolling::start(&dev, "web-03", &[]).ended(), (Some(0), creds), "what is there is used");
    let again = Enrolling::start(&dev, "web-03", &["--enroll-again"]);
    let waiting = pending(&dev);
    assert_ne!(text(&waiting, "fingerprint"), fingerprint, "a revoked key does not come back");
    dev.cli_json(&["enroll", "reject", text(&waiting, "id"), "--reason", "no"]);
    assert_eq!(again.ended().0, Some(3));
    let later = Enrolling::start(&dev, "web-03", &[]);
    assert_eq!(later.ended().0, Some(3), "a refusal is remembered");
    assert_eq!(dev.cli_json(&["enroll", "list"])["enrollments"], json!([]));
}

#[test]
fn what_dies_on_the_way_goes_on_from_there() {
    let mut dev = Dev::start();
    let fingerprint = {
        let script =
            "set -o pipefail; openssl x509 -in \"$0\" -noout -pubkey | openssl pkey -pubin -outform der | sha256sum";
        let output = Command::new("bash").args(["-c", script, dev.file.get("ca_cert")]).output().unwrap();
        assert!(output.status.success(), "openssl is needed: install it (Debian, Ubuntu: `apt-get install openssl`)");
        let digits = String::from_utf8(output.stdout).unwrap();
        format!("sha256:{}", digits.split(' ').next().unwrap())
    };
    let pinned = ["--ca-fingerprint", fingerprint.as_str()];
    let mut agent = Enrolling::start(&dev, "web-04", &pinned);
    let id = text(&pending(&dev), "id").to_owned();
    agent.process.kill9();
    let limited = [&pinned[..], &["--enroll-timeout-s", "1"]].concat();
    assert_eq!(Enrolling::start(&dev, "web-04", &limited).ended().0, Some(4));
    let agent = Enrolling::start(&dev, "web-04", &pinned);
    dev.kill9();
    dev.restart(&[]);
    assert_eq!(text(&pending(&dev), "id"), id, "one enrollment all the way");
    dev.cli_json(&["enroll", "approve", &id]);
    assert_eq!(agent.ended().0, Some(0));
}
