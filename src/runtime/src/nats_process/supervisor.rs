//! The thread that starts the server, waits for its end and starts it again.
//!
//! A thread of its own rather than a task, because the server is bound to the thread that started it: a worker of somebody
//! else's runtime may end earlier. This thread ends only after the server has.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::conf::{self, Private};
use super::places::Places;
use super::{NatsConfig, NatsError, READY_DEADLINE};
use crate::data_dir::DataDir;
use crate::files;

const PORTS_POLL: Duration = Duration::from_millis(2);
const STOP_WAIT: Duration = Duration::from_secs(10);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A server that ran this long and dies is not one that dies at every start.
const STEADY: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub(super) enum State {
    Starting,
    Ready {
        address: SocketAddr,
        pid: u32,
    },
    /// It never listened.
    Failed(String),
    Stopped,
}

pub(super) struct Supervisor {
    config: NatsConfig,
    include: String,
    places: Places,
    state: watch::Sender<State>,
    /// A message: gracefully. Its sender gone: at once.
    stop: oneshot::Receiver<()>,
    listened: bool,
    /// Released after the server has ended.
    _locks: (DataDir, File),
}

/// How one run of the server ended.
enum Ended {
    /// As we wished.
    Stopped,
    Died(String),
}

impl Supervisor {
    pub fn new(
        config: NatsConfig,
        include: String,
        places: Places,
        state: watch::Sender<State>,
        stop: oneshot::Receiver<()>,
        locks: (DataDir, File),
    ) -> Self {
        Self { config, include, places, state, stop, listened: false, _locks: locks }
    }

    pub fn spawn(self) -> io::Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("nats-supervisor".to_owned()).spawn(move || runtime.block_on(self.supervise()))
    }

    async fn supervise(mut self) {
        let mut backoff = BACKOFF_MIN;
        let last = loop {
            let started = Instant::now();
            let reason = match self.run_once().await {
                Ended::Stopped => break State::Stopped,
                Ended::Died(reason) if !self.listened => break State::Failed(reason),
                Ended::Died(reason) => reason,
            };
            self.state.send_replace(State::Starting);
            if started.elapsed() >= STEADY {
                backoff = BACKOFF_MIN;
            }
            tracing::warn!(reason, wait_ms = backoff.as_millis(), "nats-server ended and is started again");
            if timeout(backoff, &mut self.stop).await.is_ok() {
                break State::Stopped;
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        };
        // The locks go first: who sees the last state may start another server.
        let Self { state, _locks, .. } = self;
        drop(_locks);
        state.send_replace(last);
    }

    async fn run_once(&mut self) -> Ended {
        let (mut child, stderr_from) = match self.launch() {
            Ok(launched) => launched,
            Err(error) => return Ended::Died(error.to_string()),
        };
        let Some(pid) = child.id() else { return Ended::Died("it ended at once".to_owned()) };
        let address = tokio::select! {
            address = timeout(READY_DEADLINE, listening(&self.places, pid)) => address.ok(),
            status = child.wait() => return Ended::Died(self.cause(pid, stderr_from, status)),
            stop = &mut self.stop => return end(&mut child, pid, stop.is_ok()).await,
        };
        let Some(address) = address else {
            end(&mut child, pid, false).await;
            return Ended::Died(format!("it did not listen within {} s", READY_DEADLINE.as_secs()));
        };
        // Clients reconnect to the address that they know, so a port that the system chose is kept.
        self.config.port = address.port();
        self.listened = true;
        tracing::debug!(pid, %address, "nats-server listens");
        self.state.send_replace(State::Ready { address, pid });
        tokio::select! {
            status = child.wait() => Ended::Died(self.cause(pid, stderr_from, status)),
            stop = &mut self.stop => end(&mut child, pid, stop.is_ok()).await,
        }
    }

    /// The server's process, and where in the file of its standard error its words begin.
    fn launch(&self) -> Result<(Child, u64), NatsError> {
        let NatsConfig { binary, launcher, port, sync_interval, max_payload_bytes, .. } = &self.config;
        let private = Private {
            places: &self.places,
            port: *port,
            sync_interval: *sync_interval,
            max_payload_bytes: *max_payload_bytes,
            include: &self.include,
        };
        self.places.clear_ports()?;
        files::write_secret(&self.places.conf, private.text()?.as_bytes())?;
        let (stderr, stderr_from) = self.places.open_stderr()?;
        let stdout = stderr.try_clone().map_err(NatsError::io("open", &self.places.stderr))?;
        let mut command = launcher.command(binary.path(), &conf::arguments(&self.places.conf));
        let child = command.stdout(stdout).stderr(stderr).spawn().map_err(NatsError::io("run", binary.path()))?;
        Ok((child, stderr_from))
    }

    fn cause(&self, pid: u32, stderr_from: u64, status: io::Result<ExitStatus>) -> String {
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        match self.places.complaint(pid, stderr_from) {
            Some(complaint) => format!("{complaint} ({status})"),
            None => format!("it ended with {status}"),
        }
    }
}

async fn listening(places: &Places, pid: u32) -> SocketAddr {
    loop {
        if let Some(address) = places.address_of(pid) {
            return address;
        }
        tokio::time::sleep(PORTS_POLL).await;
    }
}

/// Ends a server that has not been waited for, so that its process id is still its own.
async fn end(child: &mut Child, pid: u32, gracefully: bool) -> Ended {
    if gracefully {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            // Refused only when it has just ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        if timeout(STOP_WAIT, child.wait()).await.is_ok() {
            return Ended::Stopped;
        }
        tracing::warn!(pid, "nats-server did not end within {} s and is killed", STOP_WAIT.as_secs());
    }
    if let Err(error) = child.kill().await {
        tracing::warn!(pid, %error, "nats-server could not be killed");
    }
    Ended::Stopped
}
