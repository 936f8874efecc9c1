//! Which control plane is meant, and who asks. The places, in the order in which they are looked at: options, environment,
//! context, dev file. A context or dev file that an option names stands before the environment where the connection is
//! concerned: whoever names one on the command line means that installation.

mod places;

use crate::credential::Credential;
use crate::error::CliError;
use crate::files::read_small;
use crate::globals::Globals;
use crate::surroundings::Surroundings;
use domain::Slug;
use places::Places;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) struct Target {
    pub url: String,
    pub credential: Credential,
    /// Where the credential was read from.
    pub creds_file: PathBuf,
    /// Who must have issued the server's certificate.
    pub ca_file: Option<PathBuf>,
    pub timeout: Duration,
    project: Option<Slug>,
    /// The project was given by option or environment, not by a context or the dev file.
    pub project_is_explicit: bool,
    /// Where a project could have been named.
    looked_for_project: String,
}

impl Target {
    pub fn resolve(globals: &Globals, around: &Surroundings) -> Result<Target, CliError> {
        let found = Places::look(globals, around)?;
        let (url, creds) = match (found.server, found.creds) {
            (Some(url), Some(creds)) => (url, creds),
            (Some(_), None) => return Err(usage("--server needs --creds FILE (or PILOTHOUSE_CREDS)")),
            (None, Some(_)) => return Err(usage("--creds needs --server URL (or PILOTHOUSE_SERVER)")),
            (None, None) => return Err(usage(found.advice)),
        };
        let project = found.project.map(|text| match text.parse::<Slug>() {
            Ok(slug) => Ok(slug),
            Err(error) => Err(usage(format!("the project {text:?} {error}"))),
        });
        if let Some(path) = &found.ca_file {
            // Told here, where the path is known; the client would speak of a failed connection.
            File::open(path).map_err(|error| usage(format!("could not read {} ({error})", path.display())))?;
        }
        Ok(Target {
            credential: read_credential(&creds)?,
            creds_file: creds,
            url,
            ca_file: found.ca_file,
            timeout: Duration::from_secs(globals.timeout.max(1)),
            project: project.transpose()?,
            project_is_explicit: found.project_is_explicit,
            looked_for_project: found.looked_for_project,
        })
    }

    pub fn project(&self) -> Result<&Slug, CliError> {
        self.project.as_ref().ok_or_else(|| {
            usage(format!("no project given: looked at {}; use --project SLUG", self.looked_for_project))
        })
    }

    /// The URL without a user or password that may stand in it.
    pub fn shown_url(&self) -> String {
        without_user(&self.url)
    }
}

/// A URL without a user or password that may stand in it.
pub(crate) fn without_user(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or(rest)),
        None => url.rsplit('@').next().unwrap_or(url).to_owned(),
    }
}

pub(crate) fn read_credential(path: &Path) -> Result<Credential, CliError> {
    let text = read_small(path)
        .map_err(|error| CliError::Credential(format!("could not read the credential {} ({error})", path.display())))?;
    text.parse().map_err(|error| CliError::Credential(format!("{} {error}", path.display())))
}

fn usage(message: impl Into<String>) -> CliError {
    CliError::Usage(message.into())
}

#[cfg(test)]
mod tests;
