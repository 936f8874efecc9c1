//! The operator's command line: every verb is one or more requests to the control plane over NATS, with the operator's own
//! credential. Embedded in the `pilothouse` binary.
//!
//! Data goes to stdout, talk to stderr; the exit codes are the table in [`exit`]. Nothing destructive happens without `--yes`
//! or an answer typed at a terminal. Absent on purpose: the journal, HTTP and every decision; what is allowed is the control
//! plane's to say.

mod answer;
mod arguments;
mod client;
mod commands;
mod console;
mod credential;
mod error;
pub mod exit;
mod globals;
mod listing;
mod render;
mod run;
mod session;
mod target;
#[cfg(test)]
mod testing;
mod waker;

pub use commands::Command;
pub use exit::Exit;
pub use globals::{Globals, Output};
pub use run::run;
