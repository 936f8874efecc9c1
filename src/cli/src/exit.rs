//! The exit codes: one table, for scripts to rely on.

use contract::ErrorCode;
use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exit {
    Ok,
    /// Refused for what it said, or what was waited for ended badly.
    Failure,
    /// The command line itself is wrong; nothing was sent.
    Usage,
    NotFound,
    /// The credential is missing, refused, or may not do this.
    Auth,
    /// The state of the resource does not allow it.
    Conflict,
    /// Nobody answered in time; trying again is safe.
    Timeout,
    /// Nothing goes on until people approve it.
    Approval,
}

impl Exit {
    pub const ALL: [Exit; 8] = [
        Exit::Ok,
        Exit::Failure,
        Exit::Usage,
        Exit::NotFound,
        Exit::Auth,
        Exit::Conflict,
        Exit::Timeout,
        Exit::Approval,
    ];

    /// What the process returns. 6 is not used.
    pub fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::NotFound => 3,
            Exit::Auth => 4,
            Exit::Conflict => 5,
            Exit::Timeout => 7,
            Exit::Approval => 8,
        }
    }

    /// One line for the documentation.
    pub fn meaning(self) -> &'static str {
        match self {
            Exit::Ok => "done",
            Exit::Failure => {
                "refused or failed; a bundle did not compile, a rollout failed or was cancelled, a signature is wrong"
            }
            Exit::Usage => "wrong command line; nothing was sent",
            Exit::NotFound => "no such resource",
            Exit::Auth => "the credential is missing, refused, or may not do this",
            Exit::Conflict => "the state of the resource does not allow it",
            Exit::Timeout => "nobody answered in time, or what was waited for has not come",
            Exit::Approval => "what was waited for needs an approval first",
        }
    }

    /// Where an error of the control plane stands in the table.
    pub fn of(code: ErrorCode) -> Exit {
        match code {
            ErrorCode::MissingCredential
            | ErrorCode::InvalidCredential
            | ErrorCode::TokenExpired
            | ErrorCode::InsufficientScope
            | ErrorCode::NodeMismatch
            | ErrorCode::RegistrationClosed
            | ErrorCode::SignatureInvalid
            | ErrorCode::KeyRevoked
            | ErrorCode::NotApproved
            | ErrorCode::InvalidDownloadUrl => Exit::Auth,
            ErrorCode::NotFound => Exit::NotFound,
            ErrorCode::Conflict | ErrorCode::IdempotencyKeyReused => Exit::Conflict,
            ErrorCode::RequestTimeout | ErrorCode::Unavailable => Exit::Timeout,
            ErrorCode::MalformedRequest
            | ErrorCode::MethodNotAllowed
            | ErrorCode::NotAcceptable
            | ErrorCode::PayloadTooLarge
            | ErrorCode::UnsupportedMediaType
            | ErrorCode::RangeNotSatisfiable
            | ErrorCode::ValidationFailed
            | ErrorCode::RateLimited
            | ErrorCode::Internal
            | ErrorCode::NoSigningKey => Exit::Failure,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn the_table() {
        let rows = Exit::ALL.map(|exit| format!("{} {}\n", exit.code(), exit.meaning()));
        expect![[r#"
            0 done
            1 refused or failed; a bundle did not compile, a rollout failed or was cancelled, a signature is wrong
            2 wrong command line; nothing was sent
            3 no such resource
            4 the credential is missing, refused, or may not do this
            5 the state of the resource does not allow it
            7 nobody answered in time, or what was waited for has not come
            8 what was waited for needs an approval first
        "#]]
        .assert_eq(&rows.concat());
    }

    #[test]
    fn every_error_code_has_its_place() {
        let rows: String =
            ErrorCode::ALL.iter().map(|code| format!("{} {}\n", Exit::of(*code).code(), code.as_str())).collect();
        expect![[r#"
            1 malformed_request
            4 missing_credential
            4 invalid_credential
            4 token_expired
            4 insufficient_scope
            4 node_mismatch
            4 registration_closed
            4 signature_invalid
            4 key_revoked
            4 not_approved
            4 invalid_download_url
            3 not_found
            1 method_not_allowed
            1 not_acceptable
            7 request_timeout
            5 conflict
            1 payload_too_large
            1 unsupported_media_type
            1 range_not_satisfiable
            1 validation_failed
            5 idempotency_key_reused
            1 rate_limited
            1 internal
            7 unavailable
            1 no_signing_key
        "#]]
        .assert_eq(&rows);
    }
}
