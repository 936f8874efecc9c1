//! The files of a private server within a data directory.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::process::Pid;
use serde::Deserialize;

use super::NatsError;
use crate::data_dir::DataDir;
use crate::files;

/// What the server writes outside its log, such as a stack trace, is kept until it has this size.
const STDERR_BYTES_MAX: u64 = 1024 * 1024;
/// Enough for the last lines.
const TAIL_BYTES: u64 = 16 * 1024;

#[derive(Debug, Clone)]
pub(super) struct Places {
    /// `<data dir>/nats`: holds all of the below but the log, and the server's store.
    pub root: PathBuf,
    pub conf: PathBuf,
    /// The server writes a file with its addresses here when it listens.
    pub ports: PathBuf,
    pub pid: PathBuf,
    pub stderr: PathBuf,
    pub log: PathBuf,
}

#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
}

impl Places {
    pub fn create(data_dir: &DataDir) -> Result<Self, NatsError> {
        let root = data_dir.path().join("nats");
        files::ensure_private_dir(&root)?;
        Ok(Self {
            conf: root.join("nats-server.conf"),
            ports: root.join("ports"),
            pid: root.join("nats-server.pid"),
            stderr: root.join("stderr.log"),
            log: data_dir.path().join("nats-server.log"),
            root,
        })
    }

    /// Held as long as a server may run. The data directory's own lock keeps other processes away, this one a second server
    /// of the same process.
    pub fn lock(&self) -> Result<File, NatsError> {
        let path = self.root.join("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(NatsError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(NatsError::AlreadyRunning { path: self.root.clone() }),
            Err(TryLockError::Error(source)) => Err(NatsError::io("lock", &path)(source)),
        }
    }

    /// Forgets what an earlier server said about its addresses.
    pub fn clear_ports(&self) -> Result<(), NatsError> {
        match fs::remove_dir_all(&self.ports) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(NatsError::io("clear", &self.ports)(error));
            }
            _ => {}
        }
        files::ensure_private_dir(&self.ports).map_err(NatsError::from)
    }

    /// Where the server `pid` listens, once it does. A half-written file is the same as none.
    pub fn address_of(&self, pid: u32) -> Option<SocketAddr> {
        let ending = format!("_{pid}.ports");
        let mut entries = fs::read_dir(&self.ports).ok()?.filter_map(Result::ok);
        let file = entries.find(|entry| entry.file_name().to_string_lossy().ends_with(&ending))?;
        let ports: Ports = serde_json::from_slice(&fs::read(file.path()).ok()?).ok()?;
        ports.nats.iter().find_map(|url| url.strip_prefix("nats://")?.parse().ok())
    }

    /// The process that the last server said it was.
    pub fn recorded_pid(&self) -> Option<Pid> {
        Pid::from_raw(fs::read_to_string(&self.pid).ok()?.trim().parse().ok()?)
    }

    /// Opened for appending, with the length that it has now.
    pub fn open_stderr(&self) -> Result<(File, u64), NatsError> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.stderr);
        let file = file.map_err(NatsError::io("open", &self.stderr))?;
        let length = file.metadata().map_err(NatsError::io("look at", &self.stderr))?.len();
        if length <= STDERR_BYTES_MAX {
            return Ok((file, length));
        }
        file.set_len(0).map_err(NatsError::io("shorten", &self.stderr))?;
        Ok((file, 0))
    }

    /// Why the server `pid` ended, in its own words: what it wrote outside its log since `stderr_from`, else the last error
    /// in its log.
    pub fn complaint(&self, pid: u32, stderr_from: u64) -> Option<String> {
        let said = tail(&self.stderr, stderr_from);
        let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
        let first_of_trace = lines.clone().find(|line| line.starts_with("panic:") || line.starts_with("fatal error:"));
        let said = first_of_trace.or_else(|| lines.next_back());
        said.map(str::to_owned).or_else(|| last_error(&tail(&self.log, 0), pid))
    }
}

/// The end of a file, from `from` at the earliest; empty when it cannot be read.
fn tail(path: &Path, from: u64) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(length.saturating_sub(TAIL_BYTES))))?;
        file.take(TAIL_BYTES).read_to_end(&mut bytes)
    });
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}

/// `[123] 2026/01/02 03:04:05.6 [FTL] the reason`
fn last_error(log: &str, pid: u32) -> Option<String> {
    let ours = format!("[{pid}] ");
    let of_this_run = log.lines().rev().filter(|line| line.starts_with(&ours));
    let reason = |line: &str| ["[FTL] ", "[ERR] "].iter().find_map(|mark| Some(line.split_once(mark)?.1.to_owned()));
    of_this_run.filter_map(reason).next()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn places() -> (tempfile::TempDir, Places) {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(&dir.path().join("data")).unwrap();
        let places = Places::create(&data_dir).unwrap();
        (dir, places)
    }

    #[test]
    fn the_complaint_is_of_this_run_and_what_was_said_aloud_comes_first() {
        let (_dir, places) = places();
        assert_eq!(places.complaint(7, 0), None);
        let log = "[7] 2026/01/02 [ERR] first\n[7] 2026/01/02 [FTL] listen: taken\n[7] 2026/01/02 [INF] bye\n[8] x [ERR] other\n";
        fs::write(&places.log, log).unwrap();
        assert_eq!(places.complaint(7, 0).unwrap(), "listen: taken");
        assert_eq!(places.complaint(9, 0), None);
        fs::write(&places.stderr, "earlier run\n").unwrap();
        let (_, from) = places.open_stderr().unwrap();
        assert_eq!(places.complaint(7, from).unwrap(), "listen: taken");
        fs::write(&places.stderr, "earlier run\nunknown field \"foo\"\n\n").unwrap();
        assert_eq!(places.complaint(7, from).unwrap(), "unknown field \"foo\"");
        fs::write(&places.stderr, "earlier run\npanic: index out of range\n\ngoroutine 1:\nmain()\n").unwrap();
        assert_eq!(places.complaint(7, from).unwrap(), "panic: index out of range");
    }

    #[test]
    fn only_the_file_of_this_process_says_where_it_listens() {
        let (_dir, places) = places();
        places.clear_ports().unwrap();
        let write = |name: &str, text: &str| fs::write(places.ports.join(name), text).unwrap();
        write("nats-server_17.ports", r#"{"nats":["nats://127.0.0.1:1"]}"#);
        assert_eq!(places.address_of(7), None, "17 is another process");
        write("nats-server_7.ports", r#"{"nats":["nats://127.0."#);
        assert_eq!(places.address_of(7), None, "half written");
        write("nats-server_7.ports", r#"{"nats":["nats://127.0.0.1:4222"],"monitoring":["http://127.0.0.1:2"]}"#);
        assert_eq!(places.address_of(7), Some("127.0.0.1:4222".parse().unwrap()));
        places.clear_ports().unwrap();
        assert_eq!(places.address_of(7), None);
    }

    #[test]
    fn what_is_said_aloud_does_not_grow_without_end() {
        let (_dir, places) = places();
        fs::write(&places.stderr, vec![b'x'; STDERR_BYTES_MAX as usize + 1]).unwrap();
        let (_, from) = places.open_stderr().unwrap();
        assert_eq!((from, fs::metadata(&places.stderr).unwrap().len()), (0, 0));
    }
}
