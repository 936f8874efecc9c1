//! Logs go to standard error: text for people, JSON for machines. No secret is ever a field.

use anyhow::{Result, anyhow};
use runtime::settings::{Log, LogFormat};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// The NATS client tells every connection twice; ours is told by the journal.
const QUIETER: &str = "async_nats=warn";

pub fn start(settings: &Log) -> Result<()> {
    let level = &settings.level;
    let filter = EnvFilter::try_new(format!("{QUIETER},{level}"));
    let filter = filter.map_err(|e| anyhow!("log.level {level:?} is not a log filter: {e}"))?;
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let started = match settings.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.try_init(),
    };
    started.map_err(|e| anyhow!("the log could not be started: {e}"))
}
