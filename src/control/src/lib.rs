//! The write side: every wish becomes a decision of `domain`, and every decision a fact with an expected position.
//!
//! One door for operators ([`Control::perform`], used by REST and by the admin service over NATS alike) and one method per
//! route of the node API. What happens on its own (rollouts, liveness, compiling) lives in `reactors`.
//!
//! Absent on purpose: HTTP, and any other way to append than [`execute`].

pub mod accounts;
pub mod admin;
mod bootstrap;
mod caller;
mod control;
mod credentials;
mod download;
mod enrollment;
mod execute;
pub mod logins;
mod nodes;
mod operations;
mod org_keys;
mod pulse;
mod reactors;
mod readiness;
mod settings;
mod store_metrics;
mod streams;
mod tokens;
mod waiting;

pub use bootstrap::{Bootstrap, BootstrapError};
pub use caller::{Caller, Grants, NodeCredential, NodeIdentity};
pub use control::{Control, Parts};
pub use download::{DOWNLOAD_READ_BYTES_MAX, Download};
pub use enrollment::{AutoApproval, EnrollmentNews, EnrollmentSettings, EnrollmentWatch};
pub use readiness::DurabilityContract;
pub use settings::ControlSettings;
pub use store_metrics::StoreMetrics;
pub use streams::{FactStream, StreamFact, StreamItem};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
