//! The benchmark: every figure as a ratio to a bare baseline that runs on the same machine in the same run.
//!
//! Absent on purpose: absolute targets. A machine that is twice as slow slows both sides of a ratio.

mod bench;

pub use bench::{Arguments, run};
