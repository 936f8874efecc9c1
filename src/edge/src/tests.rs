//! The edge over a control plane whose store is memory: in process where the router is meant, over sockets where the
//! listeners are.
#![allow(clippy::unwrap_used)]

mod bench;
mod enrollment;
mod flow;
mod hostile;
mod limited;
mod stream;
mod table;
mod waiting;
mod wire;
