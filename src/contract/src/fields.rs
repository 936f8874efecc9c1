//! Reading a JSON object field by field, so that every problem is named with its field and all are told at once.

use crate::code::{ApiError, ErrorCode};
use domain::Labels;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;

/// Messages by field, as the `error` of a 422.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct FieldErrors(pub BTreeMap<String, Vec<String>>);

impl FieldErrors {
    pub fn one(field: &str, message: impl Into<String>) -> FieldErrors {
        FieldErrors(BTreeMap::from([(field.to_owned(), vec![message.into()])]))
    }

    pub fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.entry(field.into()).or_default().push(message.into());
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for FieldErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (field, messages)) in self.0.iter().enumerate() {
            write!(f, "{}{field} {}", if i == 0 { "" } else { "; " }, messages.join(", "))?;
        }
        Ok(())
    }
}

/// Reads a request body. Nesting is bounded by the parser (128 levels), size by the caller. An empty body is an empty object.
pub fn parse_json(bytes: &[u8]) -> Result<Value, ApiError> {
    if bytes.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|e| ApiError::new(ErrorCode::MalformedRequest, format!("the body is not valid JSON: {e}")))?;
    if !value.is_object() {
        return Err(ApiError::new(ErrorCode::MalformedRequest, "the body must be a JSON object"));
    }
    Ok(value)
}

/// A JSON object that is being read. `finish` tells all problems at once.
pub struct Fields {
    map: Map<String, Value>,
    prefix: String,
    errors: FieldErrors,
}

const BLANK: &str = "can't be blank";
const INVALID: &str = "is invalid";

impl Fields {
    pub fn new(value: Value) -> Fields {
        Fields::nested(value, "")
    }

    /// `prefix` stands before every field name in messages, as in `events[3].`.
    pub fn nested(value: Value, prefix: &str) -> Fields {
        let (map, errors) = match value {
            Value::Object(map) => (map, FieldErrors::default()),
            // No body at all, as a request over NATS may have: nothing was said.
            Value::Null if prefix.is_empty() => (Map::new(), FieldErrors::default()),
            _ => {
                let name = if prefix.is_empty() { "body" } else { prefix.trim_end_matches('.') };
                (Map::new(), FieldErrors::one(name, "must be an object"))
            }
        };
        Fields { map, prefix: prefix.to_owned(), errors }
    }

    pub fn error(&mut self, field: &str, message: impl Into<String>) {
        self.errors.add(format!("{}{field}", self.prefix), message);
    }

    /// The field is there and not null.
    pub fn has(&self, field: &str) -> bool {
        self.map.get(field).is_some_and(|value| !value.is_null())
    }

    /// Takes a field out; JSON null counts as absent.
    pub fn take(&mut self, field: &str) -> Option<Value> {
        self.map.remove(field).filter(|value| !value.is_null())
    }

    pub fn required(&mut self, field: &str) -> Option<Value> {
        let value = self.take(field);
        if value.is_none() {
            self.error(field, BLANK);
        }
        value
    }

    /// Optional text of at most `chars_max` characters without NUL.
    pub fn text(&mut self, field: &str, chars_max: usize) -> Option<String> {
        match self.take(field)? {
            Value::String(text) if text.contains('\0') => self.reject(field, "must not contain NUL characters"),
            Value::String(text) if text.chars().count() > chars_max => {
                self.reject(field, format!("should be at most {chars_max} character(s)"))
            }
            Value::String(text) => Some(text),
            _ => self.reject(field, "must be a string"),
        }
    }

    pub fn required_text(&mut self, field: &str, chars_max: usize) -> Option<String> {
        if self.map.get(field).is_some_and(|value| value.as_str() == Some("")) {
            self.map.remove(field);
        }
        if !self.has(field) {
            return self.missing(field);
        }
        self.text(field, chars_max)
    }

    /// Optional text that a checked type accepts; the message is the type's own.
    pub fn parsed<T>(&mut self, field: &str) -> Option<T>
    where
        T: TryFrom<String>,
        T::Error: fmt::Display,
    {
        match self.take(field)? {
            Value::String(text) => match T::try_from(text) {
                Ok(value) => Some(value),
                Err(e) => self.reject(field, e.to_string()),
            },
            _ => self.reject(field, "must be a string"),
        }
    }

    pub fn required_parsed<T>(&mut self, field: &str) -> Option<T>
    where
        T: TryFrom<String>,
        T::Error: fmt::Display,
    {
        if !self.has(field) {
            return self.missing(field);
        }
        self.parsed(field)
    }

    /// Anything that serde reads; `message` says what is expected.
    pub fn typed<T: DeserializeOwned>(&mut self, field: &str, message: &str) -> Option<T> {
        match serde_json::from_value(self.take(field)?) {
            Ok(value) => Some(value),
            Err(_) => self.reject(field, message),
        }
    }

    pub fn integer(&mut self, field: &str, min: u64, max: u64) -> Option<u64> {
        match self.take(field)?.as_u64() {
            Some(n) if n < min => self.reject(field, format!("must be greater than or equal to {min}")),
            Some(n) if n > max => self.reject(field, format!("must be less than or equal to {max}")),
            Some(n) => Some(n),
            None => self.reject(field, "must be a whole number that is not negative"),
        }
    }

    pub fn boolean(&mut self, field: &str) -> Option<bool> {
        match self.take(field)? {
            Value::Bool(value) => Some(value),
            _ => self.reject(field, "must be true or false"),
        }
    }

    /// An optional object of at most `bytes_max` bytes when written as JSON.
    pub fn object(&mut self, field: &str, bytes_max: usize) -> Option<Map<String, Value>> {
        match self.take(field)? {
            Value::Object(map) => {
                let size = serde_json::to_vec(&map).map_or(usize::MAX, |bytes| bytes.len());
                if size > bytes_max {
                    return self.reject(field, format!("should be at most {bytes_max} byte(s) of JSON"));
                }
                Some(map)
            }
            _ => self.reject(field, "must be an object"),
        }
    }

    pub fn list(&mut self, field: &str, entries_max: usize) -> Option<Vec<Value>> {
        match self.take(field)? {
            Value::Array(list) if list.len() > entries_max => {
                self.reject(field, format!("should have at most {entries_max} item(s)"))
            }
            Value::Array(list) => Some(list),
            _ => self.reject(field, "must be a list"),
        }
    }

    pub fn labels(&mut self, field: &str) -> Labels {
        let map = self.typed::<BTreeMap<String, String>>(field, "must be an object of strings");
        Labels::try_from(map.unwrap_or_default()).unwrap_or_else(|e| {
            self.error(field, e.to_string());
            Labels::default()
        })
    }

    /// One of a fixed set of words.
    pub fn one_of(&mut self, field: &str, words: &[&str]) -> Option<String> {
        match self.take(field)? {
            Value::String(word) if words.contains(&word.as_str()) => Some(word),
            _ => self.reject(field, format!("{INVALID}; must be one of: {}", words.join(", "))),
        }
    }

    /// Any RFC 3339 time.
    pub fn time(&mut self, field: &str) -> Option<jiff::Timestamp> {
        let parsed = match self.take(field)? {
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        parsed.or_else(|| self.reject(field, "must be an RFC 3339 time such as 2026-02-23T10:00:00Z"))
    }

    /// Refuses every field that was not read: `advice` names what is known.
    pub fn refuse_rest(&mut self, advice: &str) {
        let rest: Vec<String> = self.map.keys().take(10).cloned().collect();
        for field in rest {
            self.error(&field, format!("is not a known field; {advice}"));
        }
    }

    /// What is wrong with a nested object is wrong with this one.
    pub(crate) fn take_errors(&mut self, inner: Fields) {
        for (field, messages) in inner.errors.0 {
            messages.into_iter().for_each(|message| self.error(&field, message));
        }
    }

    pub fn errors(self) -> FieldErrors {
        self.errors
    }

    /// The value when nothing was refused. `None` without an error is a defect of the caller and told as such.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, FieldErrors> {
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            _ if self.errors.is_empty() => Err(FieldErrors::one("body", INVALID)),
            _ => Err(self.errors),
        }
    }

    /// Takes a null out too, so that it is not refused once more as unknown.
    fn missing<T>(&mut self, field: &str) -> Option<T> {
        self.map.remove(field);
        self.reject(field, BLANK)
    }

    fn reject<T>(&mut self, field: &str, message: impl Into<String>) -> Option<T> {
        self.error(field, message);
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
