//! The configuration of a private server: the text of `nats-server.conf`, in which only places are replaced.
//!
//! Whatever else that file says (limits, durability, logging) therefore holds for a private server too.

use std::ffi::OsStr;
use std::path::Path;

use super::places::Places;
use super::{NatsError, SyncInterval};

/// `nats-server.conf`, as a production server uses it.
pub const NATS_SERVER_CONF: &str = include_str!("../../../../nats-server.conf");
/// What [`NATS_SERVER_CONF`] says.
pub const MAX_PAYLOAD_BYTES: u32 = 2 * 1024 * 1024;

// Each is a whole line there, once; a test holds them together.
const LISTEN: &str = "listen: 127.0.0.1:4222";
const MONITORING: &str = "http: 127.0.0.1:8222";
const MAX_PAYLOAD: &str = "max_payload: 2MB";
const STORE: &str = "  store_dir: \"/var/lib/pilothouse/nats\"";
const SYNC: &str = "  sync_interval: always";
const INCLUDE: &str = "include installation.conf";

pub(super) struct Private<'a> {
    pub places: &'a Places,
    /// 0: any free one.
    pub port: u16,
    pub sync_interval: SyncInterval,
    pub max_payload_bytes: u32,
    /// The installation's part, or empty.
    pub include: &'a str,
}

impl Private<'_> {
    /// No monitoring port: whoever needs those figures asks over the system account.
    pub fn text(&self) -> Result<String, NatsError> {
        let port = if self.port == 0 { -1 } else { i32::from(self.port) };
        let sync = match self.sync_interval {
            SyncInterval::Always => "always".to_owned(),
            SyncInterval::Every(time) => format!("\"{}ms\"", time.as_millis().max(1)),
        };
        let Places { root, ports, pid, log, .. } = self.places;
        let own = format!(
            "server_name: pilothouse\nports_file_dir: {}\npid_file: {}\nlog_file: {}\n{}",
            quoted(ports)?,
            quoted(pid)?,
            quoted(log)?,
            self.include
        );
        let replaced = [
            (LISTEN, format!("listen: \"127.0.0.1:{port}\"")),
            (MONITORING, String::new()),
            (MAX_PAYLOAD, format!("max_payload: {}", self.max_payload_bytes)),
            (STORE, format!("  store_dir: {}", quoted(root)?)),
            (SYNC, format!("  sync_interval: {sync}")),
            (INCLUDE, own),
        ];
        let mut text = String::with_capacity(NATS_SERVER_CONF.len() + self.include.len());
        for line in NATS_SERVER_CONF.lines() {
            let other = replaced.iter().find(|(original, _)| *original == line).map(|(_, other)| other.as_str());
            text.push_str(other.unwrap_or(line));
            text.push('\n');
        }
        Ok(text)
    }
}

/// The server's whole command line after its name; it also tells a left-over of ours from other processes.
pub(super) fn arguments(conf: &Path) -> [&OsStr; 2] {
    [OsStr::new("-c"), conf.as_os_str()]
}

fn quoted(path: &Path) -> Result<String, NatsError> {
    match path.to_str() {
        Some(text) if !text.contains(char::is_control) => {
            Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
        }
        _ => Err(NatsError::Name { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;
    use crate::data_dir::DataDir;

    #[test]
    fn each_replaced_line_stands_once_in_the_file_and_the_constants_say_the_same() {
        for line in [LISTEN, MONITORING, MAX_PAYLOAD, STORE, SYNC, INCLUDE] {
            assert_eq!(NATS_SERVER_CONF.lines().filter(|l| *l == line).count(), 1, "{line}");
        }
        assert_eq!(MAX_PAYLOAD, format!("max_payload: {}MB", MAX_PAYLOAD_BYTES / 1024 / 1024));
    }

    #[test]
    fn a_private_server_differs_in_its_places_alone() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(&dir.path().join("a \"quoted\" name")).unwrap();
        let places = Places::create(&data_dir).unwrap();
        let private = Private {
            places: &places,
            port: 0,
            sync_interval: SyncInterval::Every(Duration::from_secs(2)),
            max_payload_bytes: 4096,
            include: "operator: x\n",
        };
        let text = private.text().unwrap();
        let same: Vec<&str> = NATS_SERVER_CONF.lines().collect();
        let base = data_dir.path().to_str().unwrap().replace('"', "\\\"");
        let differing: Vec<String> = text
            .lines()
            .filter(|line| !line.is_empty() && !same.contains(line))
            .map(|line| line.replace(&base, "D"))
            .collect();
        let expected = [
            "listen: \"127.0.0.1:-1\"",
            "max_payload: 4096",
            "  store_dir: \"D/nats\"",
            "  sync_interval: \"2000ms\"",
            "server_name: pilothouse",
            "ports_file_dir: \"D/nats/ports\"",
            "pid_file: \"D/nats/nats-server.pid\"",
            "log_file: \"D/nats-server.log\"",
            "operator: x",
        ];
        assert_eq!(differing, expected);
        assert!(!text.contains("8222\n"), "no monitoring port");
        let fixed = Private { port: 4000, ..private }.text().unwrap();
        assert!(fixed.contains("listen: \"127.0.0.1:4000\"\n"));
    }

    #[test]
    fn a_path_that_would_end_its_line_is_refused() {
        assert!(matches!(quoted(Path::new("/a\nport: 1")), Err(NatsError::Name { .. })));
    }
}
