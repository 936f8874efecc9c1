//! What a command can fail with: one sentence for a person, one [`ErrorBody`] for a script, one exit code.

use crate::exit::Exit;
use contract::{ApiError, ErrorBody, ErrorCode, ErrorMessage};
use std::io;
use std::time::Duration;
use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum CliError {
    /// Wrong arguments, or files named by them that cannot be used. Nothing was sent.
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Credential(String),
    #[error("{0}")]
    NoContext(String),
    /// A context of that name is there, and it is another one.
    #[error("{0}")]
    Taken(String),
    #[error("nothing was changed")]
    Declined,
    #[error("no control plane answers at {url}: is `pilothouse serve` or `pilothouse dev` running?")]
    NobodyAnswers { url: String },
    #[error("no NATS server answers at {url} ({cause}): is `pilothouse serve` or `pilothouse dev` running?")]
    Unreachable { url: String, cause: String },
    #[error("no answer from {url} within {} s", waited.as_secs())]
    ReadTimedOut { url: String, waited: Duration },
    #[error(
        "no answer from {url} within {} s, asked twice: repeat the command with --idempotency-key {key} to learn what became of it",
        waited.as_secs()
    )]
    MutationTimedOut { url: String, waited: Duration, key: String },
    #[error("{what} after {} s: {advice}", waited.as_secs())]
    StillGoing { what: String, waited: Duration, advice: String },
    #[error("the server at {url} refused the credential")]
    Refused { url: String },
    #[error("the server does not let this credential do that ({0})")]
    Forbidden(String),
    /// The control plane's own words.
    #[error("{}", sentence(.0))]
    Answered(ErrorBody),
    #[error("the answer of the control plane cannot be understood ({0}): are both of the same version?")]
    Unreadable(String),
    #[error("the connection to {url} failed ({cause})")]
    Connection { url: String, cause: String },
    #[error("could not write the output")]
    Output(#[source] io::Error),
    #[error("could not {action} ({source})")]
    System { action: &'static str, source: io::Error },
}

impl CliError {
    pub fn exit(&self) -> Exit {
        match self {
            CliError::Usage(_) => Exit::Usage,
            CliError::Credential(_) | CliError::Refused { .. } | CliError::Forbidden(_) => Exit::Auth,
            CliError::NobodyAnswers { .. }
            | CliError::Unreachable { .. }
            | CliError::ReadTimedOut { .. }
            | CliError::MutationTimedOut { .. }
            | CliError::StillGoing { .. }
            | CliError::Connection { .. } => Exit::Timeout,
            CliError::NoContext(_) => Exit::NotFound,
            CliError::Taken(_) => Exit::Conflict,
            CliError::Answered(body) => Exit::of(body.code),
            CliError::Declined | CliError::Unreadable(_) | CliError::Output(_) | CliError::System { .. } => {
                Exit::Failure
            }
        }
    }

    /// The same shape for errors of this side and of the control plane.
    pub fn body(&self) -> ErrorBody {
        let code = match self {
            CliError::Answered(body) => return body.clone(),
            CliError::Usage(_) | CliError::Declined => ErrorCode::MalformedRequest,
            CliError::Credential(_) | CliError::Refused { .. } => ErrorCode::InvalidCredential,
            CliError::Forbidden(_) => ErrorCode::InsufficientScope,
            CliError::NoContext(_) => ErrorCode::NotFound,
            CliError::Taken(_) => ErrorCode::Conflict,
            CliError::Unreadable(_) | CliError::Output(_) | CliError::System { .. } => ErrorCode::Internal,
            _ => ErrorCode::Unavailable,
        };
        ApiError::new(code, self.to_string()).body()
    }

    /// Whoever reads our output has had enough of it: not a failure of the command.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, CliError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Whether asking again a little later may help.
    pub fn is_passing(&self) -> bool {
        self.exit() == Exit::Timeout
    }
}

fn sentence(body: &ErrorBody) -> String {
    match &body.error {
        ErrorMessage::Text(text) => text.clone(),
        ErrorMessage::Fields(fields) => fields.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::FieldErrors;

    #[test]
    fn an_answered_error_keeps_its_body_and_becomes_a_sentence() {
        let mut fields = FieldErrors::one("version", "has already been taken");
        fields.add("config_source", "can't be blank");
        let body = ApiError::from(fields).body();
        let error = CliError::Answered(body.clone());
        assert_eq!(error.to_string(), "config_source can't be blank; version has already been taken");
        assert_eq!((error.exit(), error.body()), (Exit::Failure, body));
        let error = CliError::Answered(ApiError::not_found("Node").body());
        assert_eq!((error.to_string(), error.exit()), ("Node not found".to_owned(), Exit::NotFound));
    }

    #[test]
    fn silence_is_a_timeout_and_says_what_to_check() {
        let error = CliError::NobodyAnswers { url: "nats://127.0.0.1:4222".to_owned() };
        assert_eq!(
            error.to_string(),
            "no control plane answers at nats://127.0.0.1:4222: is `pilothouse serve` or `pilothouse dev` running?"
        );
        assert_eq!((error.exit(), error.body().code), (Exit::Timeout, ErrorCode::Unavailable));
    }
}
