//! Options that every verb takes.
//!
//! Absent on purpose: clap's own reading of the environment. An option and a variable are different places, and what stands
//! between them in rank (see [`crate::target`]) can only be told while they are apart.

use crate::complete::{Live, live};
use std::path::PathBuf;

pub(crate) const HEADING: &str = "Connection and output";

/// How answers are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Aligned columns for people
    #[default]
    Table,
    /// The answer's body as the control plane gave it; streams are one value a line
    Json,
    /// The same as YAML; streams are one document after the other
    Yaml,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set; elsewhere where CLICOLOR_FORCE is
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Globals {
    /// NATS server of the installation, such as tls://control.example:4222 [env: PILOTHOUSE_SERVER]
    #[arg(long, short, global = true, value_name = "URL", help_heading = HEADING)]
    pub server: Option<String>,
    /// The operator's credential, a .creds file [env: PILOTHOUSE_CREDS]
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    pub creds: Option<PathBuf>,
    /// Certificates (PEM) of the authority that the server's certificate must come from; demands TLS [env: PILOTHOUSE_CA_FILE]
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    pub ca_file: Option<PathBuf>,
    /// Where no option says otherwise, take server, credential and project from this context [env: PILOTHOUSE_CONTEXT] [default: the one in use]
    #[arg(long, global = true, value_name = "NAME", help_heading = HEADING, add = live(Live::Contexts))]
    pub context: Option<String>,
    /// Written by `pilothouse dev`: gives server, credential and project where no option does [default where nothing else names a server: .pilothouse/dev.json]
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    pub dev_file: Option<PathBuf>,
    /// Slug of the project [env: PILOTHOUSE_PROJECT] [default: the context's or the dev file's]
    #[arg(long, short, global = true, value_name = "SLUG", help_heading = HEADING, add = live(Live::Projects))]
    pub project: Option<String>,
    /// How to print answers; errors are printed the same way, on stderr
    #[arg(long, short, global = true, value_name = "FORMAT", value_enum, default_value_t, help_heading = HEADING)]
    pub output: Output,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t, help_heading = HEADING)]
    pub color: Color,
    /// How long to wait for an answer, and for a bundle to be compiled
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = TIMEOUT_S_DEFAULT, help_heading = HEADING)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=TIMEOUT_S_MAX))]
    pub timeout: u64,
}

/// Longer than the control plane itself tries to store a fact.
pub(crate) const TIMEOUT_S_DEFAULT: u64 = 30;
const TIMEOUT_S_MAX: u64 = 3600;
