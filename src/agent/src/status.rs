//! `pilothouse-agent status`: what the data directory says, without secrets and without asking anybody.

use crate::progress::{Bundle, Failed, Target};
use crate::state::{StateError, read_credentials, read_progress};
use clap::ValueEnum;
use serde::Serialize;
use std::fmt;
use std::path::Path;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Table,
    Json,
}

/// Absent parts are null: not registered, nothing active, nothing failed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    pub node_id: Option<String>,
    pub name: Option<String>,
    pub org: Option<String>,
    pub project: Option<String>,
    pub server_url: Option<String>,
    pub active: Option<Bundle>,
    pub previous: Option<Bundle>,
    /// The newest assignment that was accepted, with its counter.
    pub accepted: Option<Target>,
    /// An activation is under way, or was interrupted.
    pub switching: bool,
    pub failed: Option<Failed>,
}

impl Status {
    pub fn read(data_dir: &Path) -> Result<Status, StateError> {
        let known = read_credentials(data_dir)?;
        let progress = read_progress(data_dir)?.unwrap_or_default();
        let known = known.as_ref();
        Ok(Status {
            node_id: known.map(|known| known.node_id.clone()),
            name: known.map(|known| known.name.clone()),
            org: known.map(|known| known.org.clone()),
            project: known.map(|known| known.project.clone()),
            server_url: known.map(|known| known.server_url.clone()),
            active: progress.active,
            previous: progress.previous,
            accepted: progress.accepted,
            switching: progress.switching,
            failed: progress.failed,
        })
    }

    /// Text for the standard output, ending with a line break.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Table => self.to_string(),
            Format::Json => {
                let json = serde_json::to_string_pretty(self);
                json.expect("strings, integers and booleans under text keys are always JSON") + "\n"
            }
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bundle = |bundle: &Option<Bundle>| bundle.as_ref().map(|b| format!("{} ({})", b.version, b.id));
        let counter = self.accepted.as_ref().map(|a| format!("{}.{}", a.counter.epoch, a.counter.position));
        let failed =
            self.failed.as_ref().map(|f| format!("{} ({}): {}", f.target.bundle.version, f.target.bundle.id, f.error));
        let lines = [
            ("node", self.node_id.clone().or(Some("not registered".to_owned()))),
            ("name", self.name.clone()),
            ("org", self.org.clone()),
            ("project", self.project.clone()),
            ("server", self.server_url.clone()),
            ("active", bundle(&self.active).or(Some("none".to_owned()))),
            ("previous", bundle(&self.previous)),
            ("counter", counter),
            ("switching", self.switching.then(|| "yes".to_owned())),
            ("failed", failed),
        ];
        lines.iter().try_for_each(|(label, text)| match text {
            Some(text) => writeln!(f, "{label:<10}{text}"),
            None => Ok(()),
        })
    }
}

#[cfg(test)]
#[path = "status/tests.rs"]
mod tests;
