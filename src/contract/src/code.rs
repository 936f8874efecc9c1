//! Stable error codes, and the one place that maps them to HTTP statuses. The body keeps the documents' `{"error": …}` and adds
//! `code`.

use crate::fields::FieldErrors;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal => $status:literal,)+) => {
        /// Every error that a client can be told.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum ErrorCode {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $variant,)+
        }

        impl ErrorCode {
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)+];

            pub fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$variant => $name,)+ }
            }

            /// The HTTP status that carries this code.
            pub fn status(self) -> u16 {
                match self { $(ErrorCode::$variant => $status,)+ }
            }

            /// One sentence for the documentation.
            pub fn description(self) -> &'static str {
                match self { $(ErrorCode::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

codes! {
    /// The body is not JSON, or a parameter cannot be read.
    MalformedRequest = "malformed_request" => 400,
    /// No credential was sent.
    MissingCredential = "missing_credential" => 401,
    /// The credential is unknown, revoked or expired.
    InvalidCredential = "invalid_credential" => 401,
    /// The node token's lifetime is over; ask for a new one.
    TokenExpired = "token_expired" => 401,
    /// The credential is good but may not do this.
    InsufficientScope = "insufficient_scope" => 403,
    /// The path names another node than the credential.
    NodeMismatch = "node_mismatch" => 403,
    /// The project's policy lets nobody register this way.
    RegistrationClosed = "registration_closed" => 403,
    /// The signature does not fit the key, or the challenge is unknown, used or past its time.
    SignatureInvalid = "signature_invalid" => 401,
    /// An operator revoked this host's key for good.
    KeyRevoked = "key_revoked" => 403,
    /// The enrollment is not approved, or its credentials were fetched already.
    NotApproved = "not_approved" => 403,
    /// The signed download URL is past its time or was changed.
    InvalidDownloadUrl = "invalid_download_url" => 403,
    /// There is no such resource, or it is not yours.
    NotFound = "not_found" => 404,
    /// The resource does not know this method.
    MethodNotAllowed = "method_not_allowed" => 405,
    /// Only JSON is served.
    NotAcceptable = "not_acceptable" => 406,
    /// The request did not arrive in time.
    RequestTimeout = "request_timeout" => 408,
    /// The state of the resource does not allow it.
    Conflict = "conflict" => 409,
    /// The body is larger than the limit.
    PayloadTooLarge = "payload_too_large" => 413,
    /// The body must be `application/json`.
    UnsupportedMediaType = "unsupported_media_type" => 415,
    /// The asked range lies outside the bytes.
    RangeNotSatisfiable = "range_not_satisfiable" => 416,
    /// One or more fields were refused; `error` maps each to its messages.
    ValidationFailed = "validation_failed" => 422,
    /// The `Idempotency-Key` was used with another body.
    IdempotencyKeyReused = "idempotency_key_reused" => 422,
    /// Too many requests; `retry_after` says when to come back.
    RateLimited = "rate_limited" => 429,
    /// A defect of ours; the request id finds it in the log.
    Internal = "internal" => 500,
    /// The store did not answer, or this replica is not caught up; trying again is safe.
    Unavailable = "unavailable" => 503,
    /// The org has no active key for node tokens.
    NoSigningKey = "no_signing_key" => 503,
}

/// What went wrong: a sentence, or a map of fields to messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ErrorMessage {
    Text(String),
    Fields(FieldErrors),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    pub code: ErrorCode,
    pub message: ErrorMessage,
}

/// The body of every error answer, over HTTP and over NATS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    pub error: ErrorMessage,
    pub code: ErrorCode,
}

impl ApiError {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> ApiError {
        ApiError { code, message: ErrorMessage::Text(message.into()) }
    }

    pub fn not_found(what: &str) -> ApiError {
        ApiError::new(ErrorCode::NotFound, format!("{what} not found"))
    }

    pub fn field(field: &str, message: impl Into<String>) -> ApiError {
        ApiError::from(FieldErrors::one(field, message))
    }

    pub fn body(&self) -> ErrorBody {
        ErrorBody { error: self.message.clone(), code: self.code }
    }
}

impl From<FieldErrors> for ApiError {
    fn from(errors: FieldErrors) -> ApiError {
        ApiError { code: ErrorCode::ValidationFailed, message: ErrorMessage::Fields(errors) }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            ErrorMessage::Text(text) => f.write_str(text),
            ErrorMessage::Fields(fields) => fields.fmt(f),
        }
    }
}

impl std::error::Error for ApiError {}
