//! Where server, credential and project can be named, and what is found there.
//!
//! Server and credential belong together. A place that nobody named (the context in use, the dev file of the directory) is
//! looked at only when neither is given, so that no server is ever asked with the credential of another by accident.

use super::usage;
use crate::contexts::Contexts;
use crate::error::CliError;
use crate::files::read_small;
use crate::globals::Globals;
use crate::surroundings::{CA_FILE, CONTEXT, CREDS, PROJECT, SERVER, Surroundings};
use serde::Deserialize;
use std::path::{Path, PathBuf};

pub(super) const DEV_FILE: &str = ".pilothouse/dev.json";

/// What all places together say.
#[derive(Default)]
pub(super) struct Places {
    pub server: Option<String>,
    pub creds: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub project: Option<String>,
    pub project_is_explicit: bool,
    /// The places that could name a project, as a sentence lists them.
    pub looked_for_project: String,
    /// What to do where nothing names a server.
    pub advice: String,
}

/// A context or a dev file.
struct Place {
    name: String,
    server: String,
    creds: PathBuf,
    ca_file: Option<PathBuf>,
    project: Option<String>,
}

/// What a `dev.json` is read for; it holds more.
#[derive(Deserialize)]
struct DevFile {
    nats_url: String,
    /// Relative to the dev file.
    operator_creds: PathBuf,
    project: Option<String>,
}

impl Places {
    pub fn look(globals: &Globals, around: &Surroundings) -> Result<Places, CliError> {
        let mut found = Places {
            server: globals.server.clone().filter(|url| !url.is_empty()),
            creds: globals.creds.clone(),
            ca_file: globals.ca_file.clone(),
            ..Places::default()
        };
        let mut place = match (&globals.context, &globals.dev_file) {
            (Some(_), Some(_)) => return Err(usage("--context and --dev-file cannot both say where to connect")),
            (Some(name), None) => Some(context(name, &Contexts::load(around)?)?),
            (None, Some(path)) => Some(dev_file(&around.here.join(path), path)?),
            (None, None) => None,
        };
        if let Some(place) = &place {
            found.connect_to(place);
        }
        found.server = found.server.or_else(|| around.text(SERVER));
        found.creds = found.creds.or_else(|| around.path(CREDS));
        found.ca_file = found.ca_file.or_else(|| around.path(CA_FILE));
        if place.is_none()
            && let Some(name) = around.text(CONTEXT)
        {
            let named = context(&name, &Contexts::load(around)?)?;
            found.connect_to(&named);
            place = Some(named);
        }
        if found.server.is_none() && found.creds.is_none() {
            place = found.look_where_nobody_pointed(around)?;
        }
        found.look_for_project(globals, around, place);
        Ok(found)
    }

    fn connect_to(&mut self, place: &Place) {
        self.server.get_or_insert_with(|| place.server.clone());
        self.creds.get_or_insert_with(|| place.creds.clone());
        if self.ca_file.is_none() {
            self.ca_file.clone_from(&place.ca_file);
        }
    }

    fn look_where_nobody_pointed(&mut self, around: &Surroundings) -> Result<Option<Place>, CliError> {
        let contexts = Contexts::load(around)?;
        let path = around.here.join(DEV_FILE);
        let place = match &contexts.current {
            Some(name) => context(name, &contexts)?,
            None if path.exists() => dev_file(&path, Path::new(DEV_FILE))?,
            None => {
                let file = Contexts::path(around).map_or_else(String::new, |path| format!(" in {}", path.display()));
                self.advice = format!(
                    "no server given: looked at --server, {SERVER}, the contexts{file} (none is in use) and {DEV_FILE} \
                    (not there); use --server and --creds, `pilothouse context use NAME`, or run this where `pilothouse dev` runs"
                );
                return Ok(None);
            }
        };
        self.connect_to(&place);
        Ok(Some(place))
    }

    fn look_for_project(&mut self, globals: &Globals, around: &Surroundings, place: Option<Place>) {
        let explicit = globals.project.clone().filter(|slug| !slug.is_empty()).or_else(|| around.text(PROJECT));
        self.project_is_explicit = explicit.is_some();
        self.looked_for_project = match &place {
            Some(place) => format!("--project, {PROJECT} and {}", place.name),
            None => format!("--project and {PROJECT}"),
        };
        self.project = explicit.or_else(|| place?.project);
    }
}

fn context(name: &str, contexts: &Contexts) -> Result<Place, CliError> {
    let context = contexts.get(name)?.clone();
    Ok(Place {
        name: format!("the context {name}"),
        server: context.server,
        creds: context.creds,
        ca_file: context.ca_file,
        project: context.project,
    })
}

/// `shown` is the path as it was typed.
fn dev_file(path: &Path, shown: &Path) -> Result<Place, CliError> {
    let shown = shown.display();
    let text = read_small(path).map_err(|error| usage(format!("could not read the dev file {shown} ({error})")))?;
    // The reason is not repeated: it could quote the file, which holds an API key.
    let dev: DevFile = serde_json::from_str(&text)
        .map_err(|_| usage(format!("{shown} is not a dev file: nats_url and operator_creds are needed")))?;
    Ok(Place {
        name: format!("the dev file {shown}"),
        server: dev.nats_url,
        creds: path.parent().unwrap_or(Path::new("")).join(dev.operator_creds),
        ca_file: None,
        project: dev.project,
    })
}
