//! What goes into the machine and what comes out of it.

use crate::call::CallError;
use domain::enrollment::State;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a control plane wants signed. Good for one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub id: String,
    pub bytes: Vec<u8>,
}

/// How an operator said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Refused {
    Rejected,
    Revoked,
}

/// What survives a restart, beside the files of key and credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Known {
    /// The enrollment that is under way.
    pub enrollment: Option<String>,
    pub refused: Option<Refused>,
}

/// A call to the control plane with this number, but for `NewKey`. Each is answered by one input of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Put the key aside and make another.
    NewKey,
    Challenge {
        url: usize,
    },
    Enroll {
        url: usize,
        challenge: Challenge,
    },
    Follow {
        url: usize,
        enrollment: String,
    },
    Ask {
        url: usize,
        enrollment: String,
    },
    /// Get the credentials, look at them, keep them.
    Fetch {
        url: usize,
        enrollment: String,
    },
}

/// Why there are no credentials yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    Call(CallError),
    /// They came and are not this host's, or of no use.
    Unusable(String),
    /// Nothing that another call could mend.
    Local(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// The first state that is not `pending`.
    State(State),
    /// The server ended the stream: by its own clock, or without a word.
    Ended,
    /// There is none, or none that gets through.
    NoStream,
    Failed(CallError),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    NewKey(Result<(), String>),
    Challenge(Result<Challenge, CallError>),
    /// Id and state of the enrollment.
    Enroll(Result<(String, State), CallError>),
    Follow(Followed),
    Ask(Result<State, CallError>),
    Fetch(Result<(), FetchError>),
}

/// Why it ends without credentials. Both are sentences for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Somebody decides otherwise, or nothing changes.
    Refused(String),
    Failed(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    Do(Action),
    /// Nothing before this time since the start.
    Wait(Duration),
    Done,
    Stop(Stop),
}
