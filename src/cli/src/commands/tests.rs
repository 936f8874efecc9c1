//! The command line as a whole: every help text, every example, every verb's arguments.
#![allow(clippy::unwrap_used)]

use super::bundle::tests::bundle as bundle_body;
use super::enroll::tests::enrollment;
use super::node::receipts::tests::receipts_body;
use super::node::reports::tests as reports;
use super::node::tests::node;
use super::rollout::tests::detail_body;
use super::token::tests::token;
use crate::exit::Exit;
use crate::globals::Output;
use crate::reference::{all, built, examples, examples_of, words};
use crate::testing::{Fake, Root, on_server};
use clap::{CommandFactory, Parser};
use contract::{Answer, ApiError, ErrorCode, Operation, Request};
use serde_json::{Value, json};
use std::rc::Rc;

const FACT: (&str, Option<u64>, &str) = ("fleet.default.demo.rollout.r1.completed", Some(5), "{}");

fn parse(line: &str) -> Result<Root, clap::Error> {
    Root::try_parse_from(words(line))
}

#[test]
fn the_definition_is_consistent() {
    Root::command().debug_assert();
}

#[test]
fn every_verb_has_an_example_that_parses() {
    let root = built(Root::command());
    for command in all(&root).into_iter().filter(|command| !command.has_subcommands()) {
        let path = command.get_bin_name().unwrap_or_default();
        let examples = examples_of(command);
        assert!(!examples.is_empty(), "{path} has no example");
        for example in examples {
            assert!(example.starts_with(path), "{path}: {example}");
            parse(&example).unwrap_or_else(|error| panic!("{example}: {error}"));
        }
    }
}

/// What a control plane answers in whose project everything is well.
fn answer(operation: Operation, _: &Request, times: usize) -> Answer {
    let rollout = detail_body("completed", [0, 1, 0, 0]);
    let key = json!({"id": "k1", "name": "ci", "key_prefix": "abcd1234", "scopes": ["bundles:write"], "project": "demo",
        "expires_at": null, "revoked_at": null, "inserted_at": "2026-01-02T11:00:00Z", "key": "S3CRET"});
    let project = json!({"id": "p1", "slug": "edge", "name": "Edge proxies", "org": "default", "registration": "open",
        "inserted_at": "2026-01-02T11:00:00Z"});
    let body = match operation {
        // What watches goes on until it is told that it may not.
        Operation::NodeList | Operation::BundleList | Operation::RolloutList | Operation::EnrollList if times > 1 => {
            return Fake::fail(ApiError::new(ErrorCode::InsufficientScope, "enough"));
        }
        Operation::ProjectCreate | Operation::ProjectUpdate => project,
        Operation::ProjectList => json!({"projects": [project], "total": 1, "next": null}),
        Operation::NodeList => json!({"nodes": [node("proxy-1")], "total": 1, "next": null}),
        Operation::NodeStats => json!({"stats": {"total": 1, "online": 1, "offline": 0, "unknown": 0,
            "by_status": {"online": 1, "offline": 0, "unknown": 0}}}),
        Operation::NodeRotateKey => json!({"node_id": "n1", "node_key": "S3CRET", "key_id": "nk_1"}),
        Operation::TokenCreate => token(json!({"token": "pjt_S3CRET"})),
        Operation::TokenList => json!({"join_tokens": [token(json!({}))], "total": 1}),
        Operation::TokenShow | Operation::TokenRevoke => json!({ "join_token": token(json!({})) }),
        Operation::NodeShow | Operation::NodeApprove => json!({ "node": node("proxy-1") }),
        Operation::NodeEvents | Operation::NodeAllEvents => reports::events_body(),
        Operation::NodeWafEvents | Operation::NodeAllWafEvents => reports::waf_body(),
        Operation::NodeMetrics => reports::metrics_body(),
        Operation::NodeReceipts => receipts_body(),
        Operation::NodeConfig => reports::config_body(),
        Operation::BundleList => json!({"bundles": [bundle_body("compiled")], "total": 1, "next": null}),
        Operation::BundleShow | Operation::BundleCreate | Operation::BundleRevoke => bundle_body("compiled"),
        Operation::BundleDownload => json!({"download_url": "http://x", "checksum": "sha256:00", "size": 1}),
        Operation::BundleVerify => json!({"verified": true, "signed": true, "key_id": "bk_1", "problem": null}),
        Operation::NodeDelete | Operation::BundleDelete => Value::Null,
        Operation::RolloutList => json!({"rollouts": [rollout["rollout"]], "total": 1, "next": null}),
        Operation::RolloutShow => rollout,
        Operation::NodeWhy => super::node_why(),
        Operation::BundleAssign => json!({"assigned": 1}),
        Operation::RolloutWhy => super::rollout_why(),
        Operation::RolloutCreate
        | Operation::RolloutStart
        | Operation::RolloutPause
        | Operation::RolloutResume
        | Operation::RolloutCancel
        | Operation::RolloutRollback => rollout["rollout"].clone(),
        Operation::EnrollList => json!({"enrollments": [enrollment(json!({}))], "total": 1, "next": null}),
        Operation::EnrollShow | Operation::EnrollApprove | Operation::EnrollReject | Operation::EnrollRevoke => {
            enrollment(json!({}))
        }
        Operation::ApiKeyCreate => key,
        Operation::ApiKeyList => json!({"api_keys": [key], "total": 1, "next": null}),
        Operation::ApiKeyShow | Operation::ApiKeyRevoke => json!({ "api_key": key }),
    };
    Fake::ok(200, body, 5)
}

#[test]
fn every_example_runs_in_every_format() {
    on_server(async |server| {
        for output in [Output::Table, Output::Json, Output::Yaml] {
            // One home for all: the contexts build on each other.
            let home = Rc::new(tempfile::tempdir().unwrap());
            let source = home.path().join("zentinel.kdl");
            std::fs::write(&source, "system {}").unwrap();
            for words in examples(Root::command()) {
                let mut fake = Fake::start(&server, answer).await;
                fake.commit_after_each("fleet.default.demo.node.n1.online", 5);
                fake.home = home.clone();
                let quoted = words[1..].iter().map(|word| format!("\"{word}\""));
                let line = quoted.collect::<Vec<_>>().join(" ").replace("zentinel.kdl", &source.to_string_lossy());
                // The options of an example stand before those of the test.
                let line = if line.contains("--project") { line } else { line + " -p demo" };
                let ran = match words[1].as_str() {
                    "events" => fake.run_while_publishing(output, &line, &[FACT; 10]).await,
                    _ => fake.run(output, &line, "system {}").await,
                };
                let words = words.join(" ");
                let watches = words.contains("list --watch") || words.contains("enroll watch");
                let wanted = if watches { Exit::Auth } else { Exit::Ok };
                assert_eq!(ran.exit, wanted, "{line}: {}", ran.talk);
            }
        }
    });
}

#[test]
fn what_cannot_be_meant_is_a_usage_error() {
    for line in [
        "pilothouse rollout create",
        "pilothouse rollout create --bundle a --batch-size 1 --batch-percentage 10",
        "pilothouse rollout create --bundle a --batch-percentage 101",
        "pilothouse rollout create --bundle a --label a=b --node n",
        "pilothouse rollout create --bundle a --label ab",
        "pilothouse rollout create --bundle a --strategy blue_green",
        "pilothouse rollout create --bundle a --no-start --wait",
        "pilothouse rollout create --bundle a --late-joiners wait",
        "pilothouse rollout show r --nodes --watch",
        "pilothouse bundle assign 1.0.0",
        "pilothouse bundle create 1.0.0",
        "pilothouse node list --status sleeping",
        "pilothouse node list --limit 0",
        "pilothouse node list --limit 1001",
        "pilothouse project create No.Slug",
        "pilothouse apikey create --name a --scope nodes:everything",
        "pilothouse apikey create --name a --expires tomorrow",
        "pilothouse token create --name a --uses 0",
        "pilothouse token create --name a --label b",
        "pilothouse project update edge",
        "pilothouse project create edge --registration closed",
        "pilothouse enroll list --state odd",
        "pilothouse enroll approve",
        "pilothouse enroll approve a --label b",
        "pilothouse node stats --timeout 0",
        "pilothouse node stats -o xml",
        "pilothouse node stats --color sometimes",
        "pilothouse node show a --wait sleeping",
        "pilothouse node show a --wait-timeout 5",
        "pilothouse rollout create --bundle a --wait --watch",
        "pilothouse rollout create --bundle a --wait-timeout 5",
        "pilothouse context add a/b --server x --creds y",
        "pilothouse completions csh",
        "pilothouse events watch --count 0",
        "pilothouse events watch --subject-filter a/b/c/d",
    ] {
        let error = parse(line).err().unwrap_or_else(|| panic!("{line} was accepted"));
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn options_stand_before_or_after_the_verb() {
    let before = parse("pilothouse -p demo -o json --timeout 3 node stats").expect("accepted").globals;
    let after = parse("pilothouse node stats -p demo -o json --timeout 3").expect("accepted").globals;
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
    assert_eq!((after.project.as_deref(), after.timeout), (Some("demo"), 3));
}
