//! The node API: what proxies and their agents ask for, one file per concern.

mod admission;
mod authenticate;
mod heartbeat;
mod ingest;
mod offer;
mod receipt;
mod register;
mod rotate;
mod token;

pub(crate) use admission::token_refused;
pub(crate) use heartbeat::aggregate;
pub(crate) use ingest::ReportKind;
pub(crate) use rotate::new_key_id;
pub(crate) use token::AUDIENCE;
