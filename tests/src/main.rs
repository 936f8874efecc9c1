//! End to end: the real binaries, a real nats-server of each test's own, real clients. Nothing here is linked with the code
//! under test but the table of routes.

#![allow(clippy::unwrap_used)]

mod cluster;
mod contract_http;
mod crashes;
mod enroll_agent;
mod enrollment;
mod failures;
mod harness;
mod hostile;
mod observability;
mod permissions;
mod readme;
mod receipts;
mod registration;
mod replicas;
mod rollback;
mod rollout;
mod subscribers;
mod tidy;
mod waiting;
