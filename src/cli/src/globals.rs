//! Options that every verb takes.

use std::path::PathBuf;

const HEADING: &str = "Connection and output";

/// How answers are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Aligned columns for people.
    #[default]
    Table,
    /// The answer's body as the control plane gave it.
    Json,
}

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Globals {
    /// NATS server of the installation, such as nats://control.example:4222
    #[arg(long, short, global = true, value_name = "URL", env = "PILOTHOUSE_SERVER")]
    #[arg(help_heading = HEADING, hide_env_values = true)]
    pub server: Option<String>,
    /// The operator's credential, a .creds file
    #[arg(long, global = true, value_name = "FILE", env = "PILOTHOUSE_CREDS")]
    #[arg(help_heading = HEADING, hide_env_values = true)]
    pub creds: Option<PathBuf>,
    /// Written by `pilothouse dev`: gives server, credential and project where no option does [default without --server and --creds: .pilothouse/dev.json]
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    pub dev_file: Option<PathBuf>,
    /// Slug of the project [default: the dev file's]
    #[arg(long, short, global = true, value_name = "SLUG", env = "PILOTHOUSE_PROJECT")]
    #[arg(help_heading = HEADING, hide_env_values = true)]
    pub project: Option<String>,
    /// How to print answers
    #[arg(long, short, global = true, value_name = "FORMAT", value_enum, default_value_t, help_heading = HEADING)]
    pub output: Output,
    /// How long to wait for an answer, and for a bundle to be compiled
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = TIMEOUT_S_DEFAULT, help_heading = HEADING)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=TIMEOUT_S_MAX))]
    pub timeout: u64,
}

/// Longer than the control plane itself tries to store a fact.
pub(crate) const TIMEOUT_S_DEFAULT: u64 = 30;
const TIMEOUT_S_MAX: u64 = 3600;
