//! The node side of Pilothouse: one process beside a proxy that keeps `current` pointing at the bundle the control plane
//! assigned.
//!
//! Invariant: nothing the control plane says is acted on before the keys pinned at registration confirm it, the counter of
//! accepted assignments never goes down, and while a bundle was ever active, `current` leads to one that worked or, for the
//! length of an activation, to the one being tried. Absent on purpose: the journal and everything that decides; the agent
//! only obeys, refuses and reports. What it does next is decided by `machine`, which does no IO; `driver` does what it says.

mod activation;
mod call;
mod client;
mod command;
mod driver;
mod enroll;
mod fetch;
mod log;
mod machine;
mod node_api;
mod offer;
mod progress;
mod run;
mod settings;
mod state;
mod status;
mod store;
#[cfg(test)]
mod testing;

pub use call::causes;
pub use enroll::{EnrollError, Enrolled, enroll};
pub use log::init_log;
pub use run::{RunError, run};
pub use settings::{EnrollSettings, Flags, LogFormat, Settings, SettingsError};
pub use state::StateError;
pub use status::{Format, Status};
