//! The operator's command line: every verb is one or more requests to the control plane over NATS, with the operator's own
//! credential. Embedded in the `pilothouse` binary.
//!
//! Data goes to stdout, talk to stderr; the exit codes are the table in [`exit`]. Nothing destructive happens without `--yes`
//! or an answer typed at a terminal. `-o json` and `-o yaml` print what the control plane answered, as it is. Absent on purpose: the journal, HTTP and every decision; what is allowed is the control
//! plane's to say.

mod answer;
mod arguments;
mod client;
mod color;
mod commands;
mod complete;
mod console;
mod contexts;
mod credential;
mod error;
pub mod exit;
mod files;
mod follow;
mod globals;
mod listing;
mod reference;
mod render;
mod run;
mod session;
mod surroundings;
mod target;
#[cfg(test)]
mod testing;
mod waker;

pub use commands::Command;
pub use complete::complete_if_asked;
pub use exit::Exit;
pub use globals::{Color, Globals, Output};
pub use reference::{examples, reference};
pub use run::run;
