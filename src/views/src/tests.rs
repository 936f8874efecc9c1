//! The views over hand-made journals.

mod assignments;
mod enrollments;
mod follower;
mod history;
mod indexes;
mod join_tokens;
mod snapshots;
