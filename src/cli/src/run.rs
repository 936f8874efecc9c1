//! From a parsed command line to an exit code.

use crate::commands::{self, Command};
use crate::console::Console;
use crate::error::CliError;
use crate::exit::Exit;
use crate::globals::Globals;
use crate::surroundings::Surroundings;
use std::process::ExitCode;

/// Runs one command to its end on a runtime of its own. Must not be called from within another runtime.
pub fn run(command: Command, globals: Globals) -> ExitCode {
    let around = Surroundings::of_process();
    let mut console = Console::of_process(&globals, &around);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            let error = CliError::System { action: "start", source };
            console.complain(&error);
            return error.exit().into();
        }
    };
    let exit = runtime.block_on(execute(command, &globals, &around, console));
    // A name lookup that is still under way is not waited for.
    runtime.shutdown_background();
    exit.into()
}

pub(crate) async fn execute(command: Command, globals: &Globals, around: &Surroundings, mut console: Console) -> Exit {
    match commands::run(command, globals, around, &mut console).await {
        Ok(exit) => exit,
        Err(error) if error.is_closed_pipe() => Exit::Ok,
        Err(error) => {
            console.complain(&error);
            error.exit()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::globals::Output;
    use crate::testing::{Fake, on_server, on_server_with};
    use async_nats::ConnectOptions;
    use contract::{ApiError, ErrorBody, ErrorCode, Operation};
    use serde_json::{Value, json};

    /// The control plane may do everything; whoever comes without a password is an operator with few rights.
    const FEW_RIGHTS: &str = r#"
        no_auth_user: "operator"
        authorization { users: [
            { user: "control", password: "x" }
            { user: "operator", password: "y", permissions {
                publish: ["pilothouse.admin.v1.*.project.list"], subscribe: { allow: ">", deny: "fleet.>" } } }
        ] }"#;

    #[test]
    fn a_request_is_sent_as_its_operator_and_errors_come_back() {
        on_server(async |server| {
            let mut fake = Fake::start(&server, |operation, request, _| match operation {
                Operation::NodeDelete => Fake::ok(204, Value::Null, 5),
                _ => {
                    assert_eq!((request.project.as_deref(), request.id.as_deref()), (Some("demo"), Some("proxy-1")));
                    Fake::fail(ApiError::not_found("Node"))
                }
            })
            .await;
            let ran = fake.run(Output::Table, "node show proxy-1 -p demo", "").await;
            assert_eq!(
                (ran.exit, ran.data.as_str(), ran.talk.as_str()),
                (Exit::NotFound, "", "error: Node not found\n")
            );
            let ran = fake.run(Output::Json, "node show proxy-1 -p demo", "").await;
            let body: ErrorBody = serde_json::from_str(&ran.talk).unwrap();
            assert_eq!((ran.exit, body), (Exit::NotFound, ApiError::not_found("Node").body()));
            let ran = fake.run(Output::Json, "node delete proxy-1 --yes -p demo", "").await;
            assert_eq!((ran.exit, ran.data.as_str(), ran.talk.as_str()), (Exit::Ok, "", ""));
            let asked = fake.asked.lock().unwrap().clone();
            let tokens: Vec<&str> = asked[2].0.split('.').collect();
            assert_eq!(
                (tokens[..3].join("."), tokens[4..].join(".")),
                ("pilothouse.admin.v1".into(), "node.delete".into())
            );
            assert!(tokens[3].len() == 56 && tokens[3].starts_with('U'));
            assert!(asked[2].1.idempotency_key.as_ref().is_some_and(|key| key.len() == 32));
            assert_eq!(asked[0].1.idempotency_key, None);
        });
    }

    #[test]
    fn a_wrong_command_line_asks_nobody() {
        on_server(async |server| {
            let mut fake = Fake::start(&server, |_, _, _| unreachable!("nothing is asked")).await;
            for line in [
                "node delete proxy-1 -p demo",
                "bundle delete 1.0.0 -p demo",
                "bundle revoke 1.0.0 -p demo",
                "apikey revoke a",
                "node list",
                "bundle create 1.0.0 -p demo --file /nowhere/a.kdl",
            ] {
                let ran = fake.run(Output::Table, line, "y\n").await;
                assert_eq!((ran.exit, ran.data.as_str()), (Exit::Usage, ""), "{line}: {}", ran.talk);
            }
            assert!(fake.asked.lock().unwrap().is_empty());
        });
    }

    #[test]
    fn a_mutation_without_an_answer_is_repeated_once_under_the_same_key() {
        on_server(async |server| {
            let mut fake = Fake::start(&server, |_, _, times| match times {
                1 => Fake::ok(204, Value::Null, 5),
                _ => Fake::silence(),
            })
            .await;
            let ran = fake.run(Output::Table, "node delete a --yes -p demo --timeout 1", "").await;
            assert_eq!((ran.exit, ran.talk.as_str()), (Exit::Ok, "node a is deleted\n"));
            let ran = fake.run(Output::Table, "node delete a --yes -p demo --timeout 1 --idempotency-key k7", "").await;
            assert_eq!(ran.exit, Exit::Timeout);
            assert!(ran.talk.contains("--idempotency-key k7"), "{}", ran.talk);
            let asked = fake.asked.lock().unwrap().clone();
            let keys: Vec<_> = asked.iter().map(|(_, request)| request.idempotency_key.clone().unwrap()).collect();
            assert_eq!(keys.len(), 4);
            assert!(keys[0] == keys[1] && keys[2] == "k7" && keys[3] == "k7" && keys[0] != "k7");
        });
    }

    #[test]
    fn silence_has_its_own_exit_code() {
        on_server(async |server| {
            let mut fake = Fake::start(&server, |_, _, _| Fake::silence()).await;
            let ran = fake.run(Output::Json, "node stats -p demo --timeout 1", "").await;
            assert_eq!(ran.exit, Exit::Timeout);
            assert_eq!(serde_json::from_str::<ErrorBody>(&ran.talk).unwrap().code, ErrorCode::Unavailable);
            assert_eq!(fake.asked.lock().unwrap().len(), 1, "a read is not repeated");
            fake.stop().await;
            let ran = fake.run_alone("node stats -p demo").await;
            assert_eq!(ran.exit, Exit::Timeout);
            let url = &server.url;
            let wanted = "is `pilothouse serve` or `pilothouse dev` running?";
            assert_eq!(ran.talk, format!("error: no control plane answers at {url}: {wanted}\n"));
            drop(server);
            let ran = fake.run_alone("node stats -p demo").await;
            assert_eq!(ran.exit, Exit::Timeout);
            assert!(ran.talk.starts_with("error: no NATS server answers at nats://127.0.0.1:"), "{}", ran.talk);
        });
    }

    #[test]
    fn what_the_server_forbids_is_told_at_once() {
        on_server_with(FEW_RIGHTS, async |server| {
            let control = ConnectOptions::with_user_and_password("control".to_owned(), "x".to_owned());
            let answer = |_: Operation, _: &_, _| Fake::ok(200, json!({"projects": []}), 1);
            let mut fake = Fake::start_as(&server, control, answer).await;
            let ran = fake.run(Output::Table, "project list", "").await;
            assert_eq!((ran.exit, ran.data.as_str(), ran.talk.as_str()), (Exit::Ok, "", "no projects\n"));
            for line in ["project create demo", "events watch"] {
                let ran = fake.run(Output::Json, line, "").await;
                let body: ErrorBody = serde_json::from_str(&ran.talk).unwrap();
                assert_eq!((ran.exit, body.code), (Exit::Auth, ErrorCode::InsufficientScope), "{line}");
            }
        });
    }

    #[test]
    fn a_refused_credential_is_told() {
        let settings = r#"authorization { user: "control", password: "x" }"#;
        on_server_with(settings, async |server| {
            let control = ConnectOptions::with_user_and_password("control".to_owned(), "x".to_owned());
            let mut fake = Fake::start_as(&server, control, |_, _, _| unreachable!("nothing is asked")).await;
            let ran = fake.run(Output::Table, "project list", "").await;
            assert_eq!(ran.exit, Exit::Auth, "{}", ran.talk);
            assert_eq!(ran.talk, format!("error: the server at {} refused the credential\n", server.url));
        });
    }

    #[test]
    fn all_pages_become_one_list() {
        on_server(async |server| {
            let mut fake = Fake::start(&server, |_, request, _| {
                let after = request.query.get("after").map(String::as_str);
                let (slugs, next) = match after {
                    None => (json!([1, 2]), json!("b")),
                    Some("b") => (json!([3]), Value::Null),
                    Some(other) => unreachable!("{other}"),
                };
                assert_eq!(request.query.get("labels[env]").map(String::as_str), Some("prod"));
                Fake::ok(200, json!({"nodes": slugs, "total": 3, "next": next}), 1)
            })
            .await;
            let ran = fake.run(Output::Json, "node list -p demo --label env=prod --limit 2 --all", "").await;
            let body: Value = serde_json::from_str(&ran.data).unwrap();
            assert_eq!(body, json!({"nodes": [1, 2, 3], "total": 3, "next": null}));
            assert_eq!(fake.asked.lock().unwrap()[0].1.query["limit"], "2");
        });
    }
}
