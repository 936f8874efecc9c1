//! Logs go to the standard error, never a secret in them: nothing that holds one can be printed.

use crate::settings::{Flags, LogFormat, SettingsError};
use tracing_subscriber::EnvFilter;

/// Sets the log of the process up. A second call changes nothing.
pub fn init_log(flags: &Flags) -> Result<(), SettingsError> {
    let (filter, format) = flags.log()?;
    let problem = |e: tracing_subscriber::filter::ParseError| SettingsError::Invalid {
        setting: "log_level",
        problem: format!("is {filter:?}, which is no filter: {e}"),
    };
    let filter = EnvFilter::builder().parse(&filter).map_err(problem)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _set_before = match format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    Ok(())
}
