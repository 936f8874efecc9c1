//! `/ready` on the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an answered mutation can rely on: read from the server at start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DurabilityBody {
    pub replicas: u32,
    /// `always`, or the server's interval such as `2m0s`.
    pub sync_interval: String,
    /// One sentence: what an answered mutation survives.
    pub contract: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Readiness {
    /// `ok` or `unavailable`.
    pub status: String,
    /// What is not ready, one sentence each; empty when ready.
    pub reasons: Vec<String>,
    /// What works, and not as it should; one sentence each.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The newest fact that this replica's views hold.
    pub position: u64,
    pub durability: Option<DurabilityBody>,
    pub version: String,
}
