#![allow(clippy::unwrap_used)]

use super::*;
use crate::commands::bundle_body;
use crate::testing::{Fake, Server, on_server};
use contract::ApiError;
use serde_json::json;
use std::path::Path;
use std::time::Instant;

fn words(line: &str) -> Vec<OsString> {
    line.split(' ').map(OsString::from).collect()
}

/// Asks from a thread of its own, as a process would.
async fn found(what: Live, line: String) -> Vec<Found> {
    let nowhere = || Surroundings::of_test(Path::new("/nowhere"), &[]);
    tokio::task::spawn_blocking(move || find(what, &words(&line), &nowhere())).await.unwrap()
}

fn list_of(operation: Operation) -> Value {
    match operation {
        Operation::ProjectList => json!({"projects": [{"slug": "demo", "name": "Demo"}]}),
        Operation::NodeList => json!({"nodes": [
            {"id": "n1", "name": "proxy-1", "status": "online"}, {"id": "n2", "name": "a\u{1b}", "status": "\u{7}"}]}),
        Operation::BundleList => json!({ "bundles": [bundle_body("compiled")] }),
        Operation::RolloutList => json!({"rollouts": [{"id": "r1", "state": "running", "started_at": "now"}]}),
        _ => json!({"api_keys": [{"id": "k1", "name": "ci"}]}),
    }
}

#[test]
fn what_exists_is_offered_by_name_and_by_id() {
    on_server(async |server: Server| {
        let fake = Fake::start(&server, |operation, request, _| {
            let wanted = request.project.as_deref() == Some("demo");
            let answered = wanted || matches!(operation, Operation::ProjectList | Operation::ApiKeyList);
            if answered { Fake::ok(200, list_of(operation), 1) } else { Fake::fail(ApiError::not_found("Project")) }
        })
        .await;
        let at = format!("--server={} --creds {}", server.url, fake.creds_path().display());
        let pairs = async |what: Live, line: String| -> Vec<String> {
            found(what, line).await.into_iter().map(|found| format!("{} ({})", found.value, found.help)).collect()
        };
        let line = format!("pilothouse {at} -p demo node show ");
        assert_eq!(pairs(Live::Nodes, line).await, ["proxy-1 (online)", "n1 (proxy-1 online)", "n2 (a\\u{1b} \\u{7})"]);
        let line = format!("pilothouse bundle show --project=demo {at} 1");
        let id = "019b7d3c-0000-7000-8000-0000000000b1 (1.0.0 compiled)";
        assert_eq!(pairs(Live::Bundles, line).await, ["1.0.0 (compiled)", id]);
        let line = format!("pilothouse rollout cancel {at} --project demo ");
        assert_eq!(pairs(Live::Rollouts, line).await, ["r1 (running now)"]);
        assert_eq!(pairs(Live::ApiKeys, format!("pilothouse {at} apikey show ")).await, ["k1 (ci)"]);
        let unfinished = format!("pilothouse {at} node list -p De");
        assert_eq!(pairs(Live::Projects, unfinished).await, ["demo (Demo)"]);
        let elsewhere = format!("pilothouse {at} -p edge node show ");
        assert!(pairs(Live::Nodes, elsewhere).await.is_empty());
        assert!(pairs(Live::Nodes, "pilothouse node show ".to_owned()).await.is_empty(), "no server is known");
    });
}

#[test]
fn silence_gives_no_candidates_and_costs_less_than_a_second() {
    on_server(async |server: Server| {
        let fake = Fake::start(&server, |_, _, _| Fake::silence()).await;
        let line = format!("pilothouse -s {} --creds {} -p demo node show ", server.url, fake.creds_path().display());
        let began = Instant::now();
        assert_eq!(found(Live::Nodes, line).await, []);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    });
}

#[test]
fn contexts_are_offered_without_asking_anybody() {
    let dir = tempfile::tempdir().unwrap();
    let around = Surroundings::of_test(dir.path(), &[("HOME", dir.path().to_str().unwrap())]);
    assert_eq!(find(Live::Contexts, &[], &around), []);
    let file = dir.path().join(".config/pilothouse/contexts.toml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "[contexts.prod]\nserver = \"nats://a\"\ncreds = \"/c\"\n").unwrap();
    let prod = Found { value: "prod".to_owned(), help: "nats://a".to_owned() };
    assert_eq!(find(Live::Contexts, &[], &around), [prod]);
}

#[test]
fn unfinished_words_do_not_hide_the_options() {
    let of = |line: &str| globals(&words(line));
    let found =
        of("pilothouse rollout create --bundle x --server nats://a -pdemo --frob -o yam --project=edge --creds");
    assert_eq!(
        (found.server.as_deref(), found.project.as_deref(), found.creds),
        (Some("nats://a"), Some("edge"), None)
    );
    let found = of("pilothouse node show --context prod -pdemo --ca-file ca.pem --dev-file=dev.json -s nats://b -");
    assert_eq!((found.context.as_deref(), found.project.as_deref()), (Some("prod"), Some("demo")));
    assert_eq!((found.ca_file, found.dev_file), (Some("ca.pem".into()), Some("dev.json".into())));
    assert_eq!(found.server.as_deref(), Some("nats://b"));
}

#[test]
fn scripts_call_the_program_by_its_name() {
    for shell in ["bash", "zsh", "fish"] {
        let script = write_script(shell).unwrap();
        assert!(script.contains(VARIABLE) && script.contains(PROGRAM), "{shell}: {script}");
        assert!(!script.contains(env!("CARGO_MANIFEST_DIR")), "{shell}: {script}");
    }
}
