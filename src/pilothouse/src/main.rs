//! `pilothouse`: the one operator binary. Roles of a server (`dev`, `serve`, `init`), the benchmark, and every admin verb.

mod dev;
mod init;
mod logging;
mod replica;
mod serve;

use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

/// A request allocates on one thread what another one frees; the system's allocator spends a quarter of a heartbeat on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "pilothouse", version, about = "The control plane for a fleet of reverse proxies")]
struct Arguments {
    #[command(flatten)]
    globals: cli::Globals,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run everything on this machine: a private nats-server, the control plane, org `default` and project `demo`
    Dev(dev::Arguments),
    /// Run one replica of the control plane against an existing NATS
    Serve(serve::Arguments),
    /// Create the keys, credentials and certificates of a new installation
    Init(init::Arguments),
    /// Measure this machine: each figure as a ratio to a bare baseline in the same run
    Bench(sim::Arguments),
    /// Becomes nats-server and ends with its parent
    #[command(hide = true)]
    NatsChild {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    #[command(flatten)]
    Admin(cli::Command),
}

fn main() -> ExitCode {
    if let Some(exit) = cli::complete_if_asked(Arguments::command) {
        return exit;
    }
    let Arguments { globals, verb } = Arguments::parse();
    let result = match verb {
        Verb::Dev(arguments) => dev::run(arguments),
        Verb::Serve(arguments) => serve::run(&arguments),
        Verb::Init(arguments) => init::run(&arguments),
        Verb::Bench(arguments) => sim::run(arguments, globals.output == cli::Output::Json),
        Verb::NatsChild { arguments } => Err(runtime::exec_bound_to_parent(arguments).into()),
        Verb::Admin(command) => return cli::run(command, globals),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pilothouse: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE=1 cargo test -p pilothouse` writes the file anew.
    #[test]
    fn the_reference_is_what_the_command_line_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
        let said = cli::reference(Arguments::command());
        if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
            std::fs::write(path, &said).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == said,
            "docs/cli.md is not what the command line says; UPDATE=1 cargo test -p pilothouse rewrites it"
        );
    }

    #[test]
    fn no_verb_takes_a_name_from_the_options_of_all() {
        Arguments::command().debug_assert();
        let parsed = Arguments::try_parse_from(["pilothouse", "bench", "journal", "-o", "json", "--rounds", "1"]);
        assert!(matches!(parsed.map(|p| p.globals.output), Ok(cli::Output::Json)));
    }
}
