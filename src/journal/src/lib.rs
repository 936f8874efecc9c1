//! JetStream as the only store: the journal of facts, CAS records, blobs, heartbeat batches and telemetry.
//!
//! Absent on purpose: any knowledge of what a fact means (that is `domain`), and any way to rewrite or delete a fact.
//! Three backends serve the same traits: JetStream, memory (router and domain-level tests) and a fault-injecting wrapper.

pub mod contract;

pub use contract::*;
