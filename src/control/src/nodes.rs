//! The node API: what proxies and their agents ask for, one file per concern.

mod authenticate;
mod heartbeat;
mod ingest;
mod offer;
mod register;
mod token;

pub(crate) use heartbeat::aggregate;
pub(crate) use ingest::ReportKind;
pub(crate) use token::AUDIENCE;
