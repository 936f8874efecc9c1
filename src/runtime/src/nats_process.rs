//! A private nats-server, supervised: started, restarted when it dies, stopped, and never left behind.
//!
//! Invariants: the server that answers on [`NatsProcess`]'s address is the one that this process started, never somebody
//! else's; one data directory has at most one server; the server dies with this process, however that dies (the kernel
//! sends it SIGKILL); a server that dies alone comes back on the same address with the same store.
//! Absent: connecting to it. Its configuration is `nats-server.conf` with only the places replaced (see [`conf`]).

mod binary;
pub mod conf;
mod launcher;
mod leftover;
mod places;
mod supervisor;

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{oneshot, watch};

use crate::data_dir::DataDir;
use crate::files::FileError;

pub use binary::NatsBinary;
pub use launcher::{Launcher, exec_bound_to_parent};

use places::Places;
use supervisor::{State, Supervisor};

/// A server with a large store reads it before it listens; a million facts take a fraction of a second.
const READY_DEADLINE: Duration = Duration::from_secs(120);
const GREETING_WAIT: Duration = Duration::from_millis(300);
const INCLUDE_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Debug, Error)]
pub enum NatsError {
    #[error("there is no nats-server >= {oldest}{rejected}: run `cargo xtask fetch`, or put one on the PATH", oldest = binary::OLDEST)]
    NotFound {
        /// ` (<path> is version 2.10.1)`, or empty.
        rejected: String,
    },
    #[error(
        "{variable} names {}, which {reason}: run `cargo xtask fetch`, or name a nats-server >= {oldest}",
        path.display(), variable = binary::VARIABLE, oldest = binary::OLDEST
    )]
    Unusable { path: PathBuf, reason: String },
    #[error("port {port} on 127.0.0.1 is in use by {holder}: stop that one or choose another port with --nats-port")]
    PortInUse { port: u16, holder: &'static str },
    #[error("the data directory {} already has a running nats-server of this process", path.display())]
    AlreadyRunning { path: PathBuf },
    #[error("the nats-server of an earlier run (process {pid}) does not end: stop it, then start again")]
    LeftOver { pid: i32 },
    #[error("nats-server did not start: {reason} (its log is {})", log.display())]
    Start { reason: String, log: PathBuf },
    #[error("nats-server does not listen after {} s (its log is {})", READY_DEADLINE.as_secs(), log.display())]
    NotReady { log: PathBuf },
    #[error("nats-server was stopped")]
    Stopped,
    #[error("{} cannot be written into a configuration of nats-server: choose a directory with a plain name", path.display())]
    Name { path: PathBuf },
    #[error("could not {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the hidden subcommand that starts nats-server {0}")]
    Child(String),
}

impl NatsError {
    fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// When the server syncs its writes to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncInterval {
    /// Before each acknowledgement.
    #[default]
    Always,
    /// Every so often; a power cut loses what was acknowledged since. Whole milliseconds, at least one.
    Every(Duration),
}

#[derive(Debug, Clone)]
pub struct NatsConfig {
    pub binary: NatsBinary,
    pub launcher: Launcher,
    /// On 127.0.0.1; 0 lets the system choose one at the first start, kept over restarts within this process.
    pub port: u16,
    pub sync_interval: SyncInterval,
    /// A file with the installation's part (operator, accounts, resolver), read once at the start.
    pub include: Option<PathBuf>,
    /// Largest message in bytes.
    pub max_payload_bytes: u32,
}

impl NatsConfig {
    /// Any free port, synced always, no accounts, the payload limit of `nats-server.conf`.
    pub fn new(binary: NatsBinary, launcher: Launcher) -> Self {
        Self {
            binary,
            launcher,
            port: 0,
            sync_interval: SyncInterval::default(),
            include: None,
            max_payload_bytes: conf::MAX_PAYLOAD_BYTES,
        }
    }
}

/// A running server. Dropping it kills the server at once and waits for its end; [`NatsProcess::stop`] asks it to end first.
#[derive(Debug)]
pub struct NatsProcess {
    state: watch::Receiver<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    log: PathBuf,
}

impl NatsProcess {
    /// Ends a left-over server of an earlier run on this data directory, starts one and waits until it listens.
    ///
    /// Its files are in `<data dir>/nats`, its log is `<data dir>/nats-server.log`.
    pub async fn start(data_dir: &DataDir, config: NatsConfig) -> Result<Self, NatsError> {
        let places = Places::create(data_dir)?;
        let lock = places.lock()?;
        end_left_over(places.clone()).await?;
        refuse_port_in_use(config.port).await?;
        let include = config.include.as_deref().map(read_include).transpose()?.unwrap_or_default();

        let log = places.log.clone();
        let (state_sender, state) = watch::channel(State::Starting);
        let (stop, stopped) = oneshot::channel();
        let supervisor = Supervisor::new(config, include, places, state_sender, stopped, (data_dir.clone(), lock));
        let thread = supervisor.spawn().map_err(NatsError::io("start a thread for", &log))?;
        let process = Self { state, stop: Some(stop), thread: Some(thread), log };
        process.wait_ready().await?;
        Ok(process)
    }

    /// Waits until the server listens, also while it is being restarted.
    pub async fn wait_ready(&self) -> Result<SocketAddr, NatsError> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| !matches!(state, State::Starting));
        match tokio::time::timeout(READY_DEADLINE, settled).await {
            Err(_) => Err(NatsError::NotReady { log: self.log.clone() }),
            // The supervisor's thread is gone without a last word.
            Ok(Err(_)) => Err(NatsError::Stopped),
            Ok(Ok(state)) => match &*state {
                State::Ready { address, .. } => Ok(*address),
                State::Failed(reason) => Err(NatsError::Start { reason: reason.clone(), log: self.log.clone() }),
                State::Starting | State::Stopped => Err(NatsError::Stopped),
            },
        }
    }

    /// The process id of the server while it listens.
    pub fn pid(&self) -> Option<u32> {
        match *self.state.borrow() {
            State::Ready { pid, .. } => Some(pid),
            _ => None,
        }
    }

    /// Asks the server to end (SIGTERM), waits, and kills it after a deadline of ten seconds.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            // Refused only when the supervisor has already ended.
            let _ = stop.send(());
        }
        let ended = self.state.wait_for(|state| matches!(state, State::Stopped | State::Failed(_)));
        // The supervisor has a deadline of its own; an error means that its thread has ended.
        let _ = ended.await;
    }
}

impl Drop for NatsProcess {
    fn drop(&mut self) {
        // Without a word: at once.
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // It ends within milliseconds, because SIGKILL cannot be refused; a panic there has already been printed.
            let _ = thread.join();
        }
    }
}

async fn end_left_over(places: Places) -> Result<(), NatsError> {
    match tokio::task::spawn_blocking(move || leftover::end(&places)).await {
        Ok(ended) => ended,
        // Cancelled with the runtime, or a panic that has already been printed.
        Err(_) => Err(NatsError::Stopped),
    }
}

/// A port that is taken between this look and the server's own attempt makes the server end, which is reported as well.
async fn refuse_port_in_use(port: u16) -> Result<(), NatsError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let nats = tokio::time::timeout(GREETING_WAIT, greets_like_nats(address)).await.unwrap_or(false);
            let holder = if nats { "another nats-server, which is left alone" } else { "another program" };
            Err(NatsError::PortInUse { port, holder })
        }
        Err(source) => Err(NatsError::Io { action: "listen on", path: address.to_string().into(), source }),
    }
}

async fn greets_like_nats(address: SocketAddr) -> bool {
    use tokio::io::AsyncReadExt;
    let mut greeting = [0; 5];
    match tokio::net::TcpStream::connect(address).await {
        Ok(mut stream) => stream.read_exact(&mut greeting).await.is_ok() && &greeting == b"INFO ",
        Err(_) => false,
    }
}

fn read_include(path: &Path) -> Result<String, NatsError> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(INCLUDE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(NatsError::io("read", path))?;
    if text.len() as u64 > INCLUDE_BYTES_MAX {
        return Err(NatsError::io("read", path)(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(text)
}
