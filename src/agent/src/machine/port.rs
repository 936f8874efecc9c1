//! What goes into the machine and what comes out of it.

use crate::call::{CallError, causes};
use crate::offer::{Archive, Identity};
use crate::progress::{Progress, Switched, Target};
use crate::state::StateError;
use contract::{ErrorCode, HeartbeatAnswer, LatestBundle};
use domain::BundleId;
use jiff::Timestamp;
use std::time::Duration;

/// The time since the start, which never jumps, and the time of day, which may.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub elapsed: Duration,
    pub wall: Timestamp,
}

/// How a call to a node route proves who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    Key,
    Token,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub bundle: BundleId,
    pub error: String,
}

/// What changes from beat to beat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    pub active: Option<BundleId>,
    pub staged: Option<BundleId>,
    pub failure: Option<Failure>,
    /// What a receipt tells.
    pub switched: Option<Switched>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Register,
    FetchToken,
    Beat(Credential, Beat),
    Poll(Credential),
    /// Download, verify, unpack and check.
    Fetch(Target, Box<Archive>),
    /// Switch to the unpacked bundle, or back when that fails.
    Activate(Target, Progress),
    /// Keep this on disk before anything that follows.
    Save(Progress),
    /// Going on makes no sense before somebody acts on the sentence.
    Stop(String),
}

/// Why a bundle was not fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// Worth another attempt.
    Passing(String),
    /// The archive is not what was assigned, or the check command refused it.
    Final(String),
}

/// How an activation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activated {
    pub progress: Progress,
    /// Nothing was switched, because of something that may pass.
    pub postponed: Option<String>,
}

/// Why there is no registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterError {
    Call(CallError),
    /// A sentence for the operator, who alone can help.
    Local(String),
}

impl RegisterError {
    /// The sentence for the operator when trying again makes no sense.
    pub fn hopeless(self) -> Result<String, CallError> {
        match self {
            RegisterError::Local(why) => Ok(why),
            RegisterError::Call(error) if error.is_final() => Ok(refused_registration(&error)),
            RegisterError::Call(error) => Err(error),
        }
    }
}

fn refused_registration(error: &CallError) -> String {
    let advice = match error {
        CallError::Refused { status: 404, .. } => "check the settings server_url and project",
        CallError::Refused { status: 401 | 403, .. } => "check the join token that the setting join_token_file names",
        CallError::Refused { code: Some(ErrorCode::ValidationFailed), .. } => {
            "if the name is taken by an earlier registration of this host, delete that node or choose another name"
        }
        CallError::Refused { status: 300..=399, .. } => "set server_url to the address that answers itself",
        _ => "correct the settings and start again",
    };
    format!("the registration was refused: {error}; {advice}")
}

impl From<StateError> for RegisterError {
    fn from(error: StateError) -> RegisterError {
        RegisterError::Local(causes(&error))
    }
}

#[derive(Debug)]
pub enum Input {
    Registered(Result<Identity, RegisterError>),
    /// The token's lifetime in seconds; the token itself is none of the machine's business.
    Token(Result<u32, CallError>),
    Beat(Result<HeartbeatAnswer, CallError>),
    Polled(Result<LatestBundle, CallError>),
    Fetched(Result<(), FetchError>),
    Activated(Box<Activated>),
}

/// Intervals that the operator fixed; None leaves them to the server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    pub poll: Option<Duration>,
    /// How long a poll asks the server to wait; None: not at all.
    pub wait: Option<Duration>,
    pub heartbeat: Option<Duration>,
}
