//! The engine on values: a world of nodes, one rollout, a clock in the test's hand.

mod batches;
mod exits;
mod trouble;
mod world;
