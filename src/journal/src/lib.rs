//! JetStream as the only store: the journal of facts, CAS records, blobs, heartbeat batches and telemetry.
//!
//! Absent on purpose: any knowledge of what a fact means (that is `domain`), and any way to rewrite or delete a fact.
//! Three backends serve the same traits: JetStream, memory (router and domain-level tests) and a fault-injecting wrapper.

pub mod connection;
pub mod contract;
pub mod declaration;
pub mod durability;
pub mod faulty;
pub mod jetstream;
pub mod memory;
pub mod permissions;
pub mod provision;
#[cfg(feature = "testing")]
pub mod testing;

pub use connection::{ConnectError, connect};
pub use contract::*;
pub use declaration::Declaration;
pub use durability::Durability;
pub use faulty::{Faults, Faulty};
pub use jetstream::JetStream;
pub use memory::Memory;
pub use permissions::{Permissions, Role};
pub use provision::{Difference, ProvisionError, diff, provision};
