//! What can become of a call to the control plane. Pure, so that the machine decides on it without a network.

use contract::{ErrorCode, ErrorMessage};
use std::error::Error as StdError;
use std::time::Duration;
use thiserror::Error;

/// What is shown of an error answer of the server.
const MESSAGE_CHARS_MAX: usize = 300;
const CAUSES_MAX: usize = 8;

/// Why a call brought no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallError {
    /// Nothing is known of what the server did.
    #[error("the control plane cannot be reached: {0}")]
    Unreachable(String),
    #[error("the control plane answered {status}: {message}")]
    Refused {
        status: u16,
        /// None: the answer is not one of ours, as when a proxy in between answers.
        code: Option<ErrorCode>,
        message: String,
        retry_after: Option<Duration>,
    },
    #[error("the control plane's answer cannot be used: {0}")]
    Malformed(String),
}

impl CallError {
    /// An error answer with the body's own code and text where it has them.
    pub fn refused(status: u16, body: &[u8], retry_after: Option<Duration>) -> CallError {
        let parsed = serde_json::from_slice::<serde_json::Value>(body).ok();
        let field = |name| parsed.as_ref().and_then(|body| body.get(name)).cloned();
        let code = field("code").and_then(|code| serde_json::from_value(code).ok());
        let message = match field("error").and_then(|error| serde_json::from_value(error).ok()) {
            Some(ErrorMessage::Text(text)) => text,
            Some(ErrorMessage::Fields(fields)) => fields.to_string(),
            None => "without an explanation".to_owned(),
        };
        CallError::Refused { status, code, message: printable(&message, MESSAGE_CHARS_MAX), retry_after }
    }

    /// With this code, if it has none yet.
    pub fn or_code(self, other: Option<ErrorCode>) -> CallError {
        match self {
            CallError::Refused { status, code, message, retry_after } => {
                CallError::Refused { status, code: code.or(other), message, retry_after }
            }
            error => error,
        }
    }

    /// The credential was not accepted.
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, CallError::Refused { status: 401, .. })
    }

    /// The same call again cannot succeed before somebody changes something.
    pub fn is_final(&self) -> bool {
        matches!(self, CallError::Refused { status: 300..=407 | 409..=428 | 430..=499, .. })
    }

    pub fn is_code(&self, wanted: ErrorCode) -> bool {
        matches!(self, CallError::Refused { code: Some(code), .. } if *code == wanted)
    }

    /// How long the server asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            CallError::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// The outermost error rarely says why; its causes do. One line, less what a cause repeats.
pub fn causes(error: &(dyn StdError + 'static)) -> String {
    let (mut texts, mut next) = (Vec::<String>::new(), Some(error));
    while let Some(error) = next.take_if(|_| texts.len() < CAUSES_MAX) {
        let text = error.to_string();
        if texts.last().is_none_or(|last| !last.ends_with(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}

/// The last `chars_max` characters of `text`, control characters replaced by spaces, ends trimmed.
pub fn printable(text: &str, chars_max: usize) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let clean = clean.trim();
    clean.chars().skip(clean.chars().count().saturating_sub(chars_max)).collect::<String>().trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_errors_are_read_and_strange_ones_survive() {
        let body = br#"{"error":"Token expired","code":"token_expired"}"#;
        let error = CallError::refused(401, body, None);
        assert!(error.is_unauthorized() && error.is_final() && error.is_code(ErrorCode::TokenExpired));
        assert_eq!(error.to_string(), "the control plane answered 401: Token expired");
        let body = br#"{"error":{"name":["has already been taken"]},"code":"validation_failed"}"#;
        assert!(CallError::refused(422, body, None).to_string().contains("name"));
        let strange = CallError::refused(502, b"<html>\x1b[31m", Some(Duration::from_secs(7)));
        assert_eq!(strange.retry_after(), Some(Duration::from_secs(7)));
        assert!(!strange.is_final() && strange.to_string().ends_with("without an explanation"));
    }

    #[test]
    fn waiting_cures_only_some_answers() {
        let is_final = |status| CallError::refused(status, b"", None).is_final();
        assert!([302, 400, 401, 403, 404, 409, 422].into_iter().all(is_final));
        assert!(![408, 429, 500, 502, 503, 504].into_iter().any(is_final));
    }

    #[test]
    fn text_of_others_is_made_harmless_from_its_end() {
        assert_eq!(printable(" a\n\x1b[1mb\u{0} ", 100), "a  [1mb");
        assert_eq!(printable("äöü-end", 5), "ü-end");
        assert_eq!(printable("", 5), "");
    }
}
