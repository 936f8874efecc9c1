//! Both listeners: plain HTTP on one address, HTTPS on another, the same router behind both. HTTP/1.1 only.
//!
//! A listener accepts no further connection while one waits for room, so that a flood waits in the system's backlog and not
//! in our memory.

mod connection;
mod own_answers;
mod tls;
mod watched;

use crate::base_url::{Peer, Scheme};
use crate::config::ListenConfig;
use crate::router::Edge;
use connection::{Host, Times};
pub(crate) use own_answers::Dropped;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tls::Certificate;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(20);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

#[derive(Debug, Error)]
pub enum ListenError {
    /// `setting` is the section of the settings file: `http` or `https`.
    #[error("cannot listen on {address:?} ({cause}): choose another address in the setting {setting}.listen")]
    Bind { setting: &'static str, address: String, cause: String },
    #[error("cannot use {path}: {cause}; see the settings https.certificate and https.private_key")]
    Tls { path: String, cause: String },
    #[error("https.listen is set, so https.certificate and https.private_key must be set too")]
    NoCertificate,
}

/// What a connection is told about the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Finish the request in progress, take no other.
    Draining,
    /// Drop everything.
    Closed,
}

/// Bound sockets that nobody serves yet.
pub struct Listeners {
    http: Option<TcpListener>,
    https: Option<(TcpListener, Arc<Certificate>, TlsAcceptor)>,
    times: Times,
    connections_max: u32,
    shutdown_timeout: Duration,
}

impl Listeners {
    /// Binds both addresses; either may be off.
    pub async fn bind(config: &ListenConfig) -> Result<Listeners, ListenError> {
        let https = match (config.https.is_empty(), &config.tls) {
            (true, _) => None,
            (false, None) => return Err(ListenError::NoCertificate),
            (false, Some(files)) => {
                let certificate = Arc::new(Certificate::load(files)?);
                let acceptor = certificate.acceptor()?;
                Some((bind("https", &config.https).await?, certificate, acceptor))
            }
        };
        let http = match config.http.is_empty() {
            true => None,
            false => Some(bind("http", &config.http).await?),
        };
        let times = Times { header: config.header_timeout, idle: config.idle_timeout, write: config.write_timeout };
        let connections_max = config.connections_max.max(1);
        Ok(Listeners { http, https, times, connections_max, shutdown_timeout: config.shutdown_timeout })
    }

    /// The address of plain HTTP with the port that the system chose.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    pub fn https_address(&self) -> Option<SocketAddr> {
        self.https.as_ref().and_then(|(listener, ..)| listener.local_addr().ok())
    }
}

/// Serves until `shutdown` is done; then requests in progress get `shutdown_timeout` to finish.
pub async fn serve(edge: Edge, listeners: Listeners, shutdown: impl Future<Output = ()>) {
    let (phase, phases) = watch::channel(Phase::Serving);
    let room = Arc::new(Semaphore::new(listeners.connections_max as usize));
    let (metrics, control) = (edge.shared.metrics.clone(), edge.shared.control.clone());
    let host = Host { router: edge.router(), times: listeners.times, metrics, phases };
    let door = Door { host, room: room.clone() };
    let accepting = async {
        tokio::join!(
            async {
                if let Some(listener) = listeners.http {
                    door.accept(listener, None).await;
                }
            },
            async {
                if let Some((listener, certificate, acceptor)) = listeners.https {
                    tokio::join!(door.accept(listener, Some(acceptor)), certificate.keep_fresh());
                }
            },
        );
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = accepting => {}
        () = shutdown => {}
    }
    // Those who wait are requests in progress that would not finish by themselves.
    control.stop_waiting();
    // Nobody listens for phases when no connection is open.
    let _ = phase.send(Phase::Draining);
    let all_closed = room.acquire_many(listeners.connections_max);
    if tokio::time::timeout(listeners.shutdown_timeout, all_closed).await.is_err() {
        tracing::warn!("closing connections whose requests did not finish in time");
        let _ = phase.send(Phase::Closed);
    }
}

async fn bind(setting: &'static str, address: &str) -> Result<TcpListener, ListenError> {
    let refused = |cause: io::Error| {
        let cause = match cause.kind() {
            io::ErrorKind::AddrInUse => "another process uses the port".to_owned(),
            _ => cause.to_string(),
        };
        ListenError::Bind { setting, address: address.to_owned(), cause }
    };
    TcpListener::bind(address).await.map_err(refused)
}

/// What accepting a connection needs.
struct Door {
    host: Host,
    room: Arc<Semaphore>,
}

impl Door {
    async fn accept(&self, listener: TcpListener, tls: Option<TlsAcceptor>) {
        let Ok(local) = listener.local_addr() else { return };
        let scheme = if tls.is_some() { Scheme::Https } else { Scheme::Http };
        let mut pause = ACCEPT_PAUSE_MIN;
        loop {
            match listener.accept().await {
                Ok((stream, address)) => {
                    pause = ACCEPT_PAUSE_MIN;
                    let Ok(place) = self.room.clone().acquire_owned().await else { return };
                    let work = self.connection(stream, Peer { address, local, scheme }, tls.clone());
                    tokio::spawn(async move {
                        work.await;
                        drop(place);
                    });
                }
                Err(e) if concerns_one_connection(&e) => {}
                // Out of file descriptors or memory: what is open must end before anything new can begin.
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections; pausing");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
                }
            }
        }
    }

    fn connection(
        &self,
        stream: TcpStream,
        peer: Peer,
        tls: Option<TlsAcceptor>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let mut host = self.host.clone();
        let open = host.metrics.connection(peer.scheme);
        async move {
            // An answer is written at once and whole; waiting to fill a segment only delays it.
            let _ = stream.set_nodelay(true);
            match tls {
                None => connection::drive(stream, peer, host).await,
                Some(acceptor) => {
                    let handshake = tokio::time::timeout(host.times.header, acceptor.accept(stream));
                    let stopping = async { host.phases.wait_for(|phase| *phase != Phase::Serving).await.map(drop) };
                    let shaken = tokio::select! {
                        shaken = handshake => shaken,
                        _ = stopping => return,
                    };
                    match shaken {
                        Ok(Ok(stream)) => connection::drive(stream, peer, host).await,
                        Ok(Err(error)) => {
                            host.metrics.dropped(Dropped::Tls);
                            tracing::debug!(%error, peer = %peer.address, "TLS handshake failed");
                        }
                        Err(_) => {
                            host.metrics.dropped(Dropped::Tls);
                            tracing::debug!(peer = %peer.address, "TLS handshake took too long");
                        }
                    }
                }
            }
            drop(open);
        }
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
