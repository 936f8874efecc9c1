//! Values by name, each with the place that it came from: the defaults, a file, the environment.
//!
//! Invariant: the names are those of `config/default.toml`, and a value has the kind of its default. Ranges are the reader's.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::{DEFAULTS, SettingsError};

/// The defaults with all their comments are a tenth of it; anything larger is the wrong file.
const FILE_BYTES_MAX: u64 = 256 * 1024;
const PREFIX: &str = "PILOTHOUSE_";
/// Variables of our own that begin like a setting and are none.
const OTHER_VARIABLES: [&str; 1] = ["PILOTHOUSE_NATS_SERVER"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Integer(i64),
    Text(String),
    List(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Variable(String),
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub value: Value,
    pub origin: Origin,
}

/// `section.key` to its value; ordered, so that the first problem found is always the same one.
pub(super) struct Layers(BTreeMap<String, Entry>);

impl Layers {
    pub fn defaults() -> Result<Self, SettingsError> {
        let given = parse(Path::new("config/default.toml"), DEFAULTS)?;
        Ok(Self(given.into_iter().map(|g| (g.name, Entry { value: g.value, origin: Origin::Default })).collect()))
    }

    pub fn overlay_file(&mut self, path: &Path) -> Result<(), SettingsError> {
        let text = read(path).map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
        self.overlay_text(path, &text)
    }

    pub fn overlay_text(&mut self, path: &Path, text: &str) -> Result<(), SettingsError> {
        for Given { name, value, line } in parse(path, text)? {
            let origin = Origin::File { path: path.to_owned(), line };
            let Some(entry) = self.0.get_mut(&name) else {
                let advice = self.advice(&name);
                return Err(SettingsError::Unknown { place: origin.to_string(), name, advice });
            };
            if std::mem::discriminant(&entry.value) != std::mem::discriminant(&value) {
                let problem = format!("is {} where {} is expected", value.kind(), entry.value.kind());
                return Err(SettingsError::Value { place: origin.to_string(), name, problem });
            }
            *entry = Entry { value, origin };
        }
        Ok(())
    }

    /// A variable that begins with a section's name, or nearly has the name of a setting, must be one; all others are ignored,
    /// also those that Kubernetes sets for a service named `pilothouse`.
    pub fn overlay_environment(
        &mut self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), SettingsError> {
        let names: BTreeMap<String, String> = self.0.keys().map(|name| (variable(name), name.clone())).collect();
        let ours = environment.into_iter().filter(|(name, _)| name.starts_with(PREFIX));
        for (given, text) in ours.collect::<BTreeMap<_, _>>() {
            let Some(entry) = names.get(&given).and_then(|name| self.0.get_mut(name)) else {
                self.refuse_misspelt(&given, names.keys())?;
                continue;
            };
            let origin = Origin::Variable(given.clone());
            let value = match &entry.value {
                Value::Text(_) => Value::Text(text),
                Value::List(_) => Value::List(
                    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect(),
                ),
                Value::Integer(_) => match text.trim().parse() {
                    Ok(number) => Value::Integer(number),
                    Err(_) => {
                        let problem = format!("is {text:?} where a number is expected");
                        return Err(SettingsError::Value {
                            place: origin.to_string(),
                            name: names[&given].clone(),
                            problem,
                        });
                    }
                },
            };
            *entry = Entry { value, origin };
        }
        Ok(())
    }

    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.0.get(name)
    }

    #[cfg(test)]
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    fn has_section(&self, section: &str) -> bool {
        self.0.keys().any(|name| name.split_once('.').is_some_and(|(s, _)| s == section))
    }

    fn refuse_misspelt<'a>(&self, given: &str, names: impl Iterator<Item = &'a String>) -> Result<(), SettingsError> {
        if OTHER_VARIABLES.contains(&given) || is_service_link(given) {
            return Ok(());
        }
        let nearest = nearest(given, names.map(String::as_str));
        let section = given[PREFIX.len()..].split('_').next().unwrap_or_default().to_lowercase();
        if nearest.is_none() && !self.has_section(&section) {
            return Ok(());
        }
        let advice = nearest.map(did_you_mean).unwrap_or_else(|| " in config/default.toml".to_owned());
        Err(SettingsError::Unknown { place: "the environment".to_owned(), name: given.to_owned(), advice })
    }

    fn advice(&self, unknown: &str) -> String {
        if let Some(found) = nearest(unknown, self.0.keys().map(String::as_str)) {
            return did_you_mean(found);
        }
        let (section, key) = unknown.split_once('.').unwrap_or(("", unknown));
        // The right key under the wrong heading, or under none.
        if let Some(found) = self.0.keys().find(|name| name.split_once('.').is_some_and(|(_, k)| k == key)) {
            return did_you_mean(found);
        }
        let of_section: Vec<&str> =
            self.0.keys().filter_map(|name| name.strip_prefix(section)?.strip_prefix('.')).collect();
        match of_section.as_slice() {
            [] => " in config/default.toml".to_owned(),
            keys => format!(": [{section}] has {}", keys.join(", ")),
        }
    }
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Integer(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list of texts",
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("the defaults"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

struct Given {
    name: String,
    value: Value,
    line: usize,
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// All values of a file, in the order of their lines.
fn parse(path: &Path, text: &str) -> Result<Vec<Given>, SettingsError> {
    let line_of = |offset: usize| text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1;
    let place = |line: usize| Origin::File { path: path.to_owned(), line }.to_string();
    let document = DeTable::parse(text).map_err(|error| SettingsError::Syntax {
        place: place(error.span().map_or(1, |span| line_of(span.start))),
        message: error.message().to_owned(),
    })?;
    let mut given = Vec::new();
    for (section, content) in document.get_ref() {
        let line = line_of(section.span().start);
        let section = section.get_ref();
        let Some(keys) = content.get_ref().as_table() else {
            // Reported as unknown with the section that has it, if one does.
            given.push(Given { name: section.to_string(), value: Value::Text(String::new()), line });
            continue;
        };
        for (key, value) in keys {
            let line = line_of(key.span().start);
            let name = format!("{section}.{}", key.get_ref());
            let value = read_value(value.get_ref()).map_err(|found| SettingsError::Value {
                place: place(line),
                name: name.clone(),
                problem: format!("is {found}, which no setting is"),
            })?;
            given.push(Given { name, value, line });
        }
    }
    given.sort_by_key(|g| g.line);
    Ok(given)
}

fn read_value(value: &DeValue<'_>) -> Result<Value, String> {
    match value {
        DeValue::String(text) => Ok(Value::Text(text.to_string())),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(Value::Integer)
            .map_err(|_| "a number beyond 64 bits".to_owned()),
        DeValue::Array(entries) => entries
            .iter()
            .map(|entry| entry.get_ref().as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .map(Value::List)
            .ok_or_else(|| "a list of something else than texts".to_owned()),
        other => Err(format!("a {}", other.type_str())),
    }
}

fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.replace('.', "_").to_uppercase())
}

/// `PILOTHOUSE_NATS_SERVICE_HOST`, `PILOTHOUSE_NATS_PORT_4222_TCP_ADDR`: set by Kubernetes for a service `pilothouse-nats`.
fn is_service_link(variable: &str) -> bool {
    ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT_"].iter().any(|mark| variable.contains(mark))
        || variable.ends_with("_PORT")
}

/// The name that differs by no more than a slip of the hand.
fn nearest<'a>(unknown: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (strsim::damerau_levenshtein(unknown, name), name))
        .min()
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 6))
        .map(|(_, name)| name)
}

fn did_you_mean(name: &str) -> String {
    format!(": did you mean `{name}`?")
}
