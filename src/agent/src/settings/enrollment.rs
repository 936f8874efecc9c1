//! What enrolling this host needs to know.

use super::file::Said;
use super::{DATA_DIR, SettingsError, bounded, hostname, invalid, server, trust, trusts_nobody};
use crate::client::Trust;
use crate::enroll::{host_id, host_id_from_name};
use crate::settings::Flags;
use domain::HostId;
use hyper::Uri;
use std::path::PathBuf;
use std::time::Duration;

const TIMEOUT_S_MAX: u64 = 30 * 86_400;
const URLS_MAX: usize = 16;

#[derive(Clone, Debug)]
pub struct EnrollSettings {
    /// At least one; https, without a path, no two alike.
    pub urls: Vec<Uri>,
    pub trust: Trust,
    pub data_dir: PathBuf,
    /// None: what the data directory remembers, else [`EnrollSettings::host_from_name`].
    pub host: Option<HostId>,
    /// The host name as an id; the error is why it cannot serve as one.
    pub host_from_name: Result<HostId, String>,
    pub hostname: Option<String>,
    pub join_token_file: Option<PathBuf>,
    /// Once more after an operator's refusal.
    pub again: bool,
    /// None: as long as it takes.
    pub timeout: Option<Duration>,
}

impl EnrollSettings {
    pub fn resolve(flags: Flags) -> Result<EnrollSettings, SettingsError> {
        EnrollSettings::of(&flags.over_file()?)
    }

    pub(super) fn of(said: &Said) -> Result<EnrollSettings, SettingsError> {
        let timeout_s = bounded("enroll_timeout_s", said.enroll_timeout_s, 0, 0..=TIMEOUT_S_MAX)?;
        let wrong = |problem| invalid("host_id", problem);
        let hostname = hostname();
        Ok(EnrollSettings {
            urls: urls(&said.enroll_urls)?,
            trust: trust(said)?.ok_or_else(trusts_nobody)?,
            data_dir: said.data_dir.clone().unwrap_or_else(|| PathBuf::from(DATA_DIR)),
            host: said.host_id.as_deref().map(|id| host_id(id).map_err(wrong)).transpose()?,
            host_from_name: host_id_from_name(hostname.as_deref().unwrap_or_default()),
            hostname,
            join_token_file: said.join_token_file.clone(),
            again: said.enroll_again.unwrap_or(false),
            timeout: (timeout_s > 0).then(|| Duration::from_secs(timeout_s)),
        })
    }
}

fn urls(said: &[String]) -> Result<Vec<Uri>, SettingsError> {
    let mut urls: Vec<Uri> = Vec::new();
    for text in said.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
        let url = server("enroll_urls", text, false)?;
        if url.scheme_str() != Some("https") {
            return Err(invalid("enroll_urls", "has a URL of plain http: hosts enroll over https alone"));
        }
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    match urls.len() {
        0 => Err(SettingsError::Missing { setting: "enroll_urls" }),
        1..=URLS_MAX => Ok(urls),
        _ => Err(invalid("enroll_urls", format!("has more than {URLS_MAX} URLs"))),
    }
}
