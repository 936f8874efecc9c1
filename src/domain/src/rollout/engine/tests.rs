//! The engine on values: a world of nodes, one rollout, a clock in the test's hand.

mod batches;
mod exits;
mod explained;
mod late;
mod rollback;
mod trouble;
mod world;
