//! The command line of the agent. Exit codes: 0 stopped or answered, 1 could not go on, 2 wrong flags or settings.

use agent::{Flags, Format, Settings, Status};
use clap::{Args, Parser, Subcommand};
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

const EXIT_FAILED: u8 = 1;
const EXIT_USAGE: u8 = 2;
const WORKERS: usize = 2;
/// For an unpacking that cannot be interrupted.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

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
        Verb::Status(arguments) => status(*arguments),
    }
}

fn run(flags: Flags) -> ExitCode {
    let settings = match agent::init_log(&flags).and_then(|()| Settings::resolve(flags)) {
        Ok(settings) => settings,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(EXIT_FAILED, &error),
    };
    let ended = runtime.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        agent::run(settings, stop).await.map_err(anyhow::Error::from)
    });
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(EXIT_FAILED, error.as_ref()),
    }
}

fn status(arguments: StatusArguments) -> ExitCode {
    let data_dir = match Settings::data_dir(arguments.flags) {
        Ok(data_dir) => data_dir,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    match Status::read(&data_dir) {
        Ok(status) => {
            use std::io::Write;
            match std::io::stdout().write_all(status.render(arguments.output).as_bytes()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(EXIT_FAILED, &error),
            }
        }
        Err(error) => fail(EXIT_FAILED, &error),
    }
}

/// The error and its causes on one line of the standard error.
fn fail(code: u8, error: &(dyn Error + 'static)) -> ExitCode {
    eprintln!("pilothouse-agent: {}", agent::causes(error));
    ExitCode::from(code)
}
