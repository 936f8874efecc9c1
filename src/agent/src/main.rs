//! The command line of the agent. Exit codes: 0 stopped or answered, 1 could not go on, 2 wrong flags or settings, 3 refused by
//! an operator, 4 not decided in time.

use agent::{EnrollError, EnrollSettings, Flags, Format, RunError, Settings, Status};
use clap::{Args, Parser, Subcommand};
use std::error::Error;
use std::io::{self, Write};
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

const EXIT_FAILED: u8 = 1;
const EXIT_USAGE: u8 = 2;
const EXIT_REFUSED: u8 = 3;
const EXIT_UNDECIDED: u8 = 4;
const WORKERS: usize = 2;
/// For an unpacking that cannot be interrupted.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

type BoxedStop = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Keeps a proxy at the configuration that the control plane assigned to it
#[derive(Parser)]
#[command(name = "pilothouse-agent", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Register this node where needed, then fetch, verify and activate what is assigned to it, until stopped
    Run(Box<Flags>),
    /// Ask for this host's NATS credentials, wait until an operator approves, keep them and print where; with credentials there,
    /// only print. Of the settings it needs enroll-urls and one of ca-file, ca-fingerprint and ca-system. Exits with 0 when the
    /// credentials are there, 1 when it could not go on, 2 for wrong settings, 3 when an operator refused, 4 when
    /// enroll-timeout-s passed
    Enroll(Box<Flags>),
    /// Show what the data directory says: node, active bundle, newest assignment
    Status(Box<StatusArguments>),
}

#[derive(Args)]
struct StatusArguments {
    /// How to print it
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
    #[command(flatten)]
    flags: Flags,
}

fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Run(flags) => run(*flags),
        Verb::Enroll(flags) => enroll(*flags),
        Verb::Status(arguments) => status(*arguments),
    }
}

fn run(flags: Flags) -> ExitCode {
    let settings = match agent::init_log(&flags).and_then(|()| Settings::resolve(flags)) {
        Ok(settings) => settings,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    match until_stopped(async |stop| agent::run(settings, stop).await) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(RunError::Enroll(error))) => fail(enroll_code(&error), &error),
        Ok(Err(error)) => fail(EXIT_FAILED, &error),
        Err(error) => fail(EXIT_FAILED, &error),
    }
}

fn enroll(flags: Flags) -> ExitCode {
    let settings = match agent::init_log(&flags).and_then(|()| EnrollSettings::resolve(flags)) {
        Ok(settings) => settings,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    match until_stopped(async |stop| agent::enroll(settings, stop).await) {
        Ok(Ok(Some(enrolled))) => print(&format!("{}\n", enrolled.credentials.display())),
        Ok(Ok(None)) => {
            eprintln!("pilothouse-agent: stopped before the host was enrolled; the next start goes on from here");
            ExitCode::from(EXIT_UNDECIDED)
        }
        Ok(Err(error)) => fail(enroll_code(&error), &error),
        Err(error) => fail(EXIT_FAILED, &error),
    }
}

fn enroll_code(error: &EnrollError) -> u8 {
    match error {
        EnrollError::Refused(_) => EXIT_REFUSED,
        EnrollError::Undecided { .. } => EXIT_UNDECIDED,
        _ => EXIT_FAILED,
    }
}

/// Runs what `work` makes of a future that ends with a signal to stop.
fn until_stopped<T>(work: impl AsyncFnOnce(BoxedStop) -> T) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let ended = runtime.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let stop: BoxedStop = Box::pin(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        Ok(work(stop).await)
    });
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    ended
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(EXIT_FAILED, &error),
    }
}

fn status(arguments: StatusArguments) -> ExitCode {
    let data_dir = match Settings::data_dir(arguments.flags) {
        Ok(data_dir) => data_dir,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    match Status::read(&data_dir) {
        Ok(status) => print(&status.render(arguments.output)),
        Err(error) => fail(EXIT_FAILED, &error),
    }
}

/// The error and its causes on one line of the standard error.
fn fail(code: u8, error: &(dyn Error + 'static)) -> ExitCode {
    eprintln!("pilothouse-agent: {}", agent::causes(error));
    ExitCode::from(code)
}
