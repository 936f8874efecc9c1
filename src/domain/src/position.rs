//! Where in the journal a fact stands. The position is the only order that Pilothouse knows: ids and time stamps never
//! decide which of two facts came first.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The sequence number of a fact in the `FLEET` stream, from 1. Zero means "before every fact".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    /// Before every fact: the expectation of an aggregate that must not exist yet.
    pub const START: Position = Position(0);
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
