//! Which control plane is meant, and who asks: from options, environment and the dev file, in this order.

use crate::credential::Credential;
use crate::error::CliError;
use crate::globals::Globals;
use domain::Slug;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

const DEV_FILE: &str = ".pilothouse/dev.json";
/// Credentials and dev files are far smaller; anything larger is the wrong file.
const FILE_BYTES_MAX: u64 = 64 * 1024;
const NO_PROJECT: &str = "no project given: use --project SLUG or set PILOTHOUSE_PROJECT";
const NO_SERVER: &str = "no server given: use --server and --creds (or PILOTHOUSE_SERVER and PILOTHOUSE_CREDS), or run this \
    where `pilothouse dev` keeps .pilothouse/dev.json";

pub(crate) struct Target {
    pub url: String,
    pub credential: Credential,
    pub timeout: Duration,
    project: Option<Slug>,
    /// The project was given by option or environment, not by the dev file.
    pub project_is_explicit: bool,
}

/// What a `dev.json` is read for; it holds more.
#[derive(Deserialize)]
struct DevFile {
    nats_url: String,
    /// Relative to the dev file.
    operator_creds: PathBuf,
    project: Option<String>,
}

impl Target {
    pub fn resolve(globals: &Globals) -> Result<Target, CliError> {
        Target::resolve_in(Path::new(""), globals)
    }

    /// `here` is the directory in which the default dev file is looked for.
    fn resolve_in(here: &Path, globals: &Globals) -> Result<Target, CliError> {
        let server = globals.server.clone().filter(|url| !url.is_empty());
        let (mut url, mut creds, mut fallback) = (server, globals.creds.clone(), None);
        let wanted = match &globals.dev_file {
            Some(path) => Some(path.clone()),
            None if url.is_none() && creds.is_none() => Some(here.join(DEV_FILE)),
            None => None,
        };
        if let Some(path) = wanted {
            let dev = read_dev_file(&path, globals.dev_file.is_some())?;
            url.get_or_insert(dev.nats_url);
            creds.get_or_insert_with(|| path.parent().unwrap_or(Path::new("")).join(dev.operator_creds));
            fallback = dev.project;
        }
        let (url, creds) = match (url, creds) {
            (Some(url), Some(creds)) => (url, creds),
            (Some(_), None) => return Err(usage("--server needs --creds FILE (or PILOTHOUSE_CREDS)")),
            (None, _) => return Err(usage("--creds needs --server URL (or PILOTHOUSE_SERVER)")),
        };
        let explicit = globals.project.clone().filter(|slug| !slug.is_empty());
        let project_is_explicit = explicit.is_some();
        let project = explicit.or(fallback).map(|text| match text.parse::<Slug>() {
            Ok(slug) => Ok(slug),
            Err(error) => Err(usage(format!("the project {text:?} {error}"))),
        });
        Ok(Target {
            credential: read_credential(&creds)?,
            url,
            timeout: Duration::from_secs(globals.timeout.max(1)),
            project: project.transpose()?,
            project_is_explicit,
        })
    }

    pub fn project(&self) -> Result<&Slug, CliError> {
        self.project.as_ref().ok_or_else(|| usage(NO_PROJECT))
    }

    /// The URL without a user or password that may stand in it.
    pub fn shown_url(&self) -> String {
        match self.url.split_once("://") {
            Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or(rest)),
            None => self.url.rsplit('@').next().unwrap_or(&self.url).to_owned(),
        }
    }
}

fn usage(message: impl Into<String>) -> CliError {
    CliError::Usage(message.into())
}

fn read_dev_file(path: &Path, named: bool) -> Result<DevFile, CliError> {
    let text = read_small(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if !named => usage(NO_SERVER),
        _ => usage(format!("could not read the dev file {} ({error})", path.display())),
    })?;
    // The reason is not repeated: it could quote the file, which holds an API key.
    serde_json::from_str(&text)
        .map_err(|_| usage(format!("{} is not a dev file: nats_url and operator_creds are needed", path.display())))
}

fn read_credential(path: &Path) -> Result<Credential, CliError> {
    let text = read_small(path)
        .map_err(|error| CliError::Credential(format!("could not read the credential {} ({error})", path.display())))?;
    text.parse().map_err(|error| CliError::Credential(format!("{} {error}", path.display())))
}

fn read_small(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is too large to be one"));
    }
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::{self, globals};
    use std::fs;

    fn dev_dir() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".pilothouse")).unwrap();
        fs::write(dir.path().join(".pilothouse/admin.creds"), testing::creds_text()).unwrap();
        let dev =
            r#"{"nats_url":"nats://127.0.0.1:4222","operator_creds":"admin.creds","project":"demo","api_key":"x"}"#;
        fs::write(dir.path().join(DEV_FILE), dev).unwrap();
        dir
    }

    fn error(result: Result<Target, CliError>) -> String {
        result.err().unwrap().to_string()
    }

    #[test]
    fn the_dev_file_stands_in_when_nothing_is_given() {
        let dir = dev_dir();
        let target = Target::resolve_in(dir.path(), &globals()).unwrap();
        assert_eq!((target.url.as_str(), target.project().unwrap().as_str()), ("nats://127.0.0.1:4222", "demo"));
        assert!(!target.project_is_explicit);
        let given = Globals { project: Some("edge".to_owned()), ..globals() };
        let target = Target::resolve_in(dir.path(), &given).unwrap();
        assert_eq!((target.project().unwrap().as_str(), target.project_is_explicit), ("edge", true));
    }

    #[test]
    fn a_named_server_is_never_asked_with_the_dev_credential_by_accident() {
        let dir = dev_dir();
        let server = Some("nats://control.example".to_owned());
        let alone = Globals { server: server.clone(), ..globals() };
        assert_eq!(error(Target::resolve_in(dir.path(), &alone)), "--server needs --creds FILE (or PILOTHOUSE_CREDS)");
        let both = Globals { dev_file: Some(dir.path().join(DEV_FILE)), server, ..globals() };
        assert_eq!(Target::resolve_in(dir.path(), &both).unwrap().url, "nats://control.example");
    }

    #[test]
    fn what_is_missing_is_named() {
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(error(Target::resolve_in(empty.path(), &globals())), NO_SERVER);
        let given = Globals { project: Some("No.Slug".to_owned()), ..globals() };
        let message = error(Target::resolve_in(dev_dir().path(), &given));
        assert_eq!(message, "the project \"No.Slug\" must be lowercase letters, digits and inner hyphens");
        fs::create_dir(empty.path().join(".pilothouse")).unwrap();
        fs::write(empty.path().join(DEV_FILE), "{\"api_key\": secret").unwrap();
        assert!(!error(Target::resolve_in(empty.path(), &globals())).contains("secret"));
    }

    #[test]
    fn a_password_in_the_url_is_not_shown() {
        let mut target = Target::resolve_in(dev_dir().path(), &globals()).unwrap();
        target.url = "nats://me:pass@control.example:4222".to_owned();
        assert_eq!(target.shown_url(), "nats://control.example:4222");
    }
}
