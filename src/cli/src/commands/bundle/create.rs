//! `pilothouse bundle create`: sends a configuration and waits until the control plane has compiled it.

use super::details;
use crate::answer::read;
use crate::arguments::Mutation;
use crate::error::CliError;
use crate::exit::Exit;
use crate::session::Session;
use crate::waker::Waker;
use contract::{BundleBody, Operation, ProblemBody, Request};
use domain::{BundleVersion, Kind};
use serde_json::{Value, json};
use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tokio::time::Instant;

/// More than any control plane accepts; keeps a wrong file out of memory.
const SOURCE_BYTES_MAX: u64 = 8 * 1024 * 1024;
const STDIN: &str = "-";

#[derive(Clone, Debug, clap::Args)]
pub struct Create {
    /// Free text, unique in the project
    version: BundleVersion,
    /// The proxy's configuration (KDL); - reads it from stdin
    #[arg(long, short, value_name = "FILE")]
    file: PathBuf,
    /// Wait until it is compiled or has failed, at most --timeout [this is the default]
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,
    /// Return as soon as it is accepted
    #[arg(long, overrides_with = "wait")]
    no_wait: bool,
    #[command(flatten)]
    mutation: Mutation,
}

pub(crate) async fn run(create: Create, session: &mut Session<'_>) -> Result<Exit, CliError> {
    let (name, source) = read_source(&create.file, &mut session.console.input)?;
    let body = json!({ "version": create.version, "config_source": source });
    let key = create.mutation.idempotency_key;
    let request = Request { body, idempotency_key: key, ..session.in_project()? };
    if create.no_wait {
        let created = session.ask(Operation::BundleCreate, request).await?;
        session.show(&created, details)?;
        return Ok(Exit::Ok);
    }
    // Before the request, so that a fast compiler's fact is not missed.
    let facts = format!("fleet.*.{}.{}.>", session.target.project()?, Kind::Bundle.token());
    let waker = Waker::new(session, &facts).await?;
    let created = session.ask(Operation::BundleCreate, request).await?;
    let body = wait_for_compiler(session, waker, created).await?;
    report(session, &name, &body)
}

/// The body once the compiler is done.
async fn wait_for_compiler(session: &mut Session<'_>, mut waker: Waker, created: Value) -> Result<Value, CliError> {
    let limit = session.target.timeout;
    let deadline = Instant::now() + limit;
    let id = read::<BundleBody>(&created, "bundle")?.id;
    let mut body = created;
    while read::<BundleBody>(&body, "bundle")?.status == "compiling" {
        let step = async {
            waker.wait(session).await?;
            session.ask(Operation::BundleShow, session.on(&id)?).await
        };
        body = match tokio::time::timeout_at(deadline, step).await {
            Ok(Ok(body)) => body,
            // A replica may be gone for a moment; the bundle is stored.
            Ok(Err(error)) if error.is_passing() => continue,
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let what = format!("bundle {id} is still compiling");
                let advice = format!("`pilothouse bundle show {id}` tells how it ends");
                return Err(CliError::StillGoing { what, waited: limit, advice });
            }
        };
    }
    Ok(body)
}

fn report(session: &mut Session<'_>, file: &str, body: &Value) -> Result<Exit, CliError> {
    let bundle: BundleBody = read(body, "bundle")?;
    let failed = bundle.status == "failed";
    if !failed || session.console.is_structured() {
        session.show(body, details)?;
    }
    if !session.console.is_structured() {
        for problem in &bundle.compiler_output {
            let text = if failed { problem_line(file, problem) } else { warning_line(file, problem) };
            session.console.say(&text);
            if let Some(help) = &problem.help {
                session.console.say(&format!("  help: {help}"));
            }
        }
        if failed {
            let count = bundle.compiler_output.len();
            let problems = if count == 1 { "problem" } else { "problems" };
            session.console.say(&format!("error: bundle {} did not compile: {count} {problems}", bundle.version));
        }
    }
    Ok(if bundle.status == "compiled" { Exit::Ok } else { Exit::Failure })
}

/// `file:line:column: message`, with as much of the place as is known.
pub(super) fn problem_line(file: &str, problem: &ProblemBody) -> String {
    place(file, problem) + &problem.message
}

fn warning_line(file: &str, problem: &ProblemBody) -> String {
    format!("{}warning: {}", place(file, problem), problem.message)
}

fn place(file: &str, problem: &ProblemBody) -> String {
    let mut text = file.to_owned();
    for number in [problem.line, problem.line.and(problem.column)].into_iter().flatten() {
        if !text.is_empty() {
            text.push(':');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{number}");
    }
    if !text.is_empty() {
        text.push_str(": ");
    }
    text
}

/// The file's name for messages, and its text.
fn read_source(path: &Path, stdin: &mut dyn Read) -> Result<(String, String), CliError> {
    let is_stdin = path == Path::new(STDIN);
    let name = if is_stdin { "<stdin>".to_owned() } else { path.display().to_string() };
    let failed = |error: io::Error| CliError::Usage(format!("could not read {name} ({error})"));
    let mut bytes = Vec::new();
    if is_stdin {
        stdin.take(SOURCE_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(SOURCE_BYTES_MAX + 1).read_to_end(&mut bytes))
    }
    .map_err(failed)?;
    if bytes.len() as u64 > SOURCE_BYTES_MAX {
        return Err(CliError::Usage(format!("{name} is larger than any configuration may be")));
    }
    let text = String::from_utf8(bytes).map_err(|_| CliError::Usage(format!("{name} is not UTF-8 text")))?;
    Ok((name, text))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::bundle;
    use super::*;
    use crate::globals::Output;
    use crate::testing::{Fake, on_server};
    use contract::{ApiError, ErrorCode};
    use std::io::Cursor;

    fn problem(line: Option<u32>, column: Option<u32>) -> ProblemBody {
        let text = |text: &str| text.to_owned();
        ProblemBody { code: text("unknown_upstream"), message: text("no upstream x"), line, column, help: None }
    }

    #[test]
    fn problems_are_told_with_their_place() {
        assert_eq!(problem_line("a.kdl", &problem(Some(3), Some(7))), "a.kdl:3:7: no upstream x");
        assert_eq!(problem_line("a.kdl", &problem(Some(3), None)), "a.kdl:3: no upstream x");
        assert_eq!(problem_line("a.kdl", &problem(None, Some(7))), "a.kdl: no upstream x");
        assert_eq!(problem_line("", &problem(Some(3), Some(7))), "3:7: no upstream x");
        assert_eq!(problem_line("", &problem(None, None)), "no upstream x");
    }

    #[test]
    fn a_source_is_text_from_a_file_or_stdin() {
        let (name, text) = read_source(Path::new("-"), &mut Cursor::new("system {}")).unwrap();
        assert_eq!((name.as_str(), text.as_str()), ("<stdin>", "system {}"));
        assert!(read_source(Path::new("-"), &mut Cursor::new([0xff, 0xfe])).is_err());
        let missing = read_source(Path::new("/nowhere/a.kdl"), &mut Cursor::new("")).unwrap_err();
        assert_eq!(missing.exit(), Exit::Usage);
        let endless = read_source(Path::new("/dev/zero"), &mut Cursor::new("")).unwrap_err();
        assert_eq!(endless.to_string(), "/dev/zero is larger than any configuration may be");
    }

    #[test]
    fn creation_waits_for_the_compiler_and_reports_problems() {
        on_server(async |server| {
            let mut fake = Fake::start(&server, |operation, request, times| match operation {
                Operation::BundleCreate => {
                    assert_eq!(request.body["config_source"], "system {}");
                    Fake::ok(201, bundle("compiling"), 7)
                }
                _ if times == 0 => Fake::fail(ApiError::new(ErrorCode::Unavailable, "not caught up")),
                _ => {
                    assert_eq!(request.min_position, Some(9), "the read shows the fact that woke it");
                    let mut failed = bundle("failed");
                    let place =
                        json!({"code": "x", "message": "bad\u{7}", "line": 2, "column": 5, "help": "remove it"});
                    failed["compiler_output"] = json!([place]);
                    Fake::ok(200, json!({ "bundle": failed }), 9)
                }
            })
            .await;
            fake.commit_after_each("fleet.default.demo.bundle.019b7d3c-0000-7000-8000-0000000000b1.failed", 9);
            let ran = fake.run(Output::Table, "bundle create 1.0.0 --file - -p demo", "system {}").await;
            assert_eq!(ran.exit, Exit::Failure);
            assert_eq!(ran.data, "");
            assert_eq!(
                ran.talk,
                "<stdin>:2:5: bad\\u{7}\n  help: remove it\nerror: bundle 1.0.0 did not compile: 1 problem\n"
            );
        });
    }

    #[test]
    fn waiting_ends_with_the_timeout() {
        on_server(async |server| {
            let mut fake = Fake::start(&server, |_, _, _| Fake::ok(200, bundle("compiling"), 7)).await;
            let ran = fake.run(Output::Table, "bundle create 1.0.0 --file - -p demo --timeout 1", "").await;
            assert_eq!(ran.exit, Exit::Timeout);
            assert!(ran.talk.contains("is still compiling after 1 s"), "{}", ran.talk);
        });
    }
}
