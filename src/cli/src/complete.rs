//! Completion on the shell's command line, with the ids and names that exist at this moment.
//!
//! The script of `pilothouse completions` runs the program with a variable set and the words typed so far. Whatever goes wrong
//! then is silent and gives no candidates: somebody is typing. An answer is there within [`ANSWER_TIME_MAX`], or not at all.

use crate::client::Client;
use crate::contexts::Contexts;
use crate::error::CliError;
use crate::globals::Globals;
use crate::render::plain;
use crate::surroundings::Surroundings;
use crate::target::Target;
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::Shells;
use contract::{Operation, Page, Request};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Well under what a person takes for a hanging shell, with room for the start of the program.
const ANSWER_TIME_MAX: Duration = Duration::from_millis(800);
/// Names the shell while its completion is asked for.
const VARIABLE: &str = "PILOTHOUSE_COMPLETE";
const PROGRAM: &str = "pilothouse";

/// What can be completed by asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Live {
    Contexts,
    Projects,
    Nodes,
    Bundles,
    Rollouts,
    ApiKeys,
    JoinTokens,
    Enrollments,
}

/// For `#[arg(add = …)]`.
pub(crate) fn live(what: Live) -> ArgValueCompleter {
    ArgValueCompleter::new(move |typed: &OsStr| {
        // Everything before `--` is the program itself.
        let words: Vec<OsString> = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
        let found = find(what, &words, &Surroundings::of_process());
        let typed = typed.to_string_lossy();
        let fitting = found.into_iter().filter(|found| found.value.starts_with(typed.as_ref()));
        fitting.map(Found::into_candidate).collect()
    })
}

/// Answers the shell when it asks, and only then. To be called first of all, with the whole program's command line.
pub fn complete_if_asked(command: fn() -> clap::Command) -> Option<ExitCode> {
    let asked = std::env::var_os(VARIABLE).is_some_and(|shell| !shell.is_empty());
    if asked {
        let here = std::env::current_dir().ok();
        let completing = CompleteEnv::with_factory(command).var(VARIABLE).bin(PROGRAM).completer(PROGRAM);
        // Silent: a message would stand in the middle of what somebody types.
        let _ = completing.try_complete(std::env::args_os(), here.as_deref());
    }
    asked.then_some(ExitCode::SUCCESS)
}

pub(crate) fn write_script(shell: &str) -> io::Result<String> {
    let shells = Shells::builtins();
    let shell = shells.completer(shell).ok_or_else(|| io::Error::other("unknown shell"))?;
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    String::from_utf8(script).map_err(io::Error::other)
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    value: String,
    /// Shown beside it.
    help: String,
}

impl Found {
    fn into_candidate(self) -> CompletionCandidate {
        CompletionCandidate::new(self.value).help(Some(self.help.into()))
    }
}

/// All that exists; nothing where it cannot be known.
fn find(what: Live, words: &[OsString], around: &Surroundings) -> Vec<Found> {
    let found = match what {
        Live::Contexts => contexts(around),
        _ => ask(what, words, around),
    };
    // A value with control characters could steer the terminal, and cannot be typed.
    found.unwrap_or_default().into_iter().filter(|found| plain(&found.value) == found.value).collect()
}

fn contexts(around: &Surroundings) -> Result<Vec<Found>, CliError> {
    let contexts = Contexts::load(around)?.contexts.into_iter();
    Ok(contexts.map(|(value, context)| Found { value, help: plain(&context.server) }).collect())
}

fn ask(what: Live, words: &[OsString], around: &Surroundings) -> Result<Vec<Found>, CliError> {
    let mut globals = globals(words);
    if what == Live::Projects {
        // It is what is being typed.
        globals.project = None;
    }
    // In whole seconds; the limit is around everything.
    globals.timeout = 1;
    let target = Target::resolve(&globals, around)?;
    let failed = |source| CliError::System { action: "start", source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let asking = async { tokio::time::timeout(ANSWER_TIME_MAX, list(what, &target)).await };
    let found = runtime.block_on(asking).unwrap_or_else(|_| Ok(Vec::new()));
    // A name lookup that is still under way is not waited for.
    runtime.shutdown_background();
    found
}

async fn list(what: Live, target: &Target) -> Result<Vec<Found>, CliError> {
    let (operation, name) = match what {
        Live::Projects => (Operation::ProjectList, "projects"),
        Live::Nodes => (Operation::NodeList, "nodes"),
        Live::Bundles => (Operation::BundleList, "bundles"),
        Live::Rollouts => (Operation::RolloutList, "rollouts"),
        Live::ApiKeys => (Operation::ApiKeyList, "api_keys"),
        Live::JoinTokens => (Operation::TokenList, "join_tokens"),
        Live::Enrollments => (Operation::EnrollList, "enrollments"),
        Live::Contexts => return Ok(Vec::new()),
    };
    let mut request = Request::default();
    if matches!(what, Live::Nodes | Live::Bundles | Live::Rollouts | Live::JoinTokens) {
        request.project = Some(target.project()?.to_string());
        request.query.insert("limit".to_owned(), Page::LIMIT_MAX.to_string());
    }
    if what == Live::Enrollments {
        request.query.insert("state".to_owned(), "all".to_owned());
    }
    let body = Client::connect(target).await?.ask(operation, request).await?.body;
    let entries = body.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Ok(entries.iter().flat_map(|entry| values(what, entry)).collect())
}

/// What a resource can be called in a command: its name, and its id.
fn values(what: Live, entry: &Value) -> Vec<Found> {
    let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (value, help) = match what {
        Live::Contexts => return Vec::new(),
        Live::Projects => return vec![Found { value: text("slug"), help: plain(&text("name")) }],
        Live::Nodes => (text("name"), text("status")),
        Live::Bundles => (text("version"), text("status")),
        Live::Rollouts => (String::new(), format!("{} {}", text("state"), text("started_at"))),
        Live::ApiKeys | Live::JoinTokens => (String::new(), text("name")),
        Live::Enrollments => (String::new(), format!("{} {}", text("peel_id"), text("state"))),
    };
    let by_id = Found { value: text("id"), help: plain(format!("{value} {help}").trim()) };
    let by_name = Found { value, help: plain(&help) };
    [by_name, by_id].into_iter().filter(|found| !found.value.is_empty()).collect()
}

/// Where to connect to, from the words of an unfinished command line. Not read by clap, which gives nothing at all where the
/// line cannot be understood as a whole; the last of a repeated option counts.
fn globals(words: &[OsString]) -> Globals {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let value = |long: &str, short: Option<&str>| {
        let following = words.iter().skip(1).map(Some).chain([None]);
        let values = words.iter().zip(following).filter_map(|(word, next)| {
            if word.strip_prefix("--") == Some(long) || short == Some(word.as_ref()) {
                return next.map(ToString::to_string);
            }
            let joined = word.strip_prefix("--").and_then(|rest| rest.strip_prefix(long)?.strip_prefix('='));
            joined.or_else(|| word.strip_prefix(short?)).map(str::to_owned)
        });
        values.last()
    };
    Globals {
        server: value("server", Some("-s")),
        creds: value("creds", None).map(PathBuf::from),
        ca_file: value("ca-file", None).map(PathBuf::from),
        context: value("context", None),
        dev_file: value("dev-file", None).map(PathBuf::from),
        project: value("project", Some("-p")),
        ..Globals::default()
    }
}

#[cfg(test)]
mod tests;
