//! A control plane, agents and clients as processes of their own, in a directory that is removed afterwards.

mod agent;
mod dev;
mod facts;
mod host;
mod nats;
mod process;
mod replicas;
mod tls;

pub use agent::{Agent, SAMPLE};
pub use dev::{Dev, Reply, curl};
pub use facts::{Facts, operator_nkey};
pub use host::{CURVE, Host};
pub use process::{Guarded, binary};
pub use replicas::Replicas;
pub use tls::TlsDoor;

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. Generous: two cores are shared by everything.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `probe` gives a value; the last thing seen stands in the panic.
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Result<T, String>) -> T {
    within(PATIENCE, what, &mut probe)
}

pub fn within<T>(patience: Duration, what: &str, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match probe() {
            Ok(value) => return value,
            Err(last) if began.elapsed() > patience => panic!("{what}: not within {patience:?}; last seen: {last}"),
            Err(_) => std::thread::park_timeout(Duration::from_millis(50)),
        }
    }
}
