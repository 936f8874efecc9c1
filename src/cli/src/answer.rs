//! Reading the bodies of answers. A resource comes flat or wrapped (`{"node": {…}}`), depending on the operation; both are read.

use crate::error::CliError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The resource `name` in a body.
pub(crate) fn read<T: DeserializeOwned>(body: &Value, name: &str) -> Result<T, CliError> {
    let inner = body.get(name).filter(|value| value.is_object()).unwrap_or(body);
    T::deserialize(inner).map_err(|error| CliError::Unreadable(format!("{name}: {error}")))
}

/// The resources of a list answer.
pub(crate) fn read_list<T: DeserializeOwned>(body: &Value, name: &str) -> Result<Vec<T>, CliError> {
    let list = body.get(name).ok_or_else(|| CliError::Unreadable(format!("no {name}")))?;
    Vec::<T>::deserialize(list).map_err(|error| CliError::Unreadable(format!("{name}: {error}")))
}
