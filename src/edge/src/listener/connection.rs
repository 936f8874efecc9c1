//! One connection from its first byte to its last.

use super::Phase;
use super::own_answers::{self, Dropped};
use super::watched::{Overdue, Tracked, Watch, Watched};
use crate::base_url::Peer;
use crate::metrics::Metrics;
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tower::Service;

/// The most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// The most bytes that are read or written at once.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// How many times a limit is looked at before it is over.
const LOOKS_PER_LIMIT: u32 = 4;
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// How long it may take to tell a client why its connection ends.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub header: Duration,
    pub idle: Duration,
    pub write: Duration,
}

impl Times {
    fn look_interval(&self) -> Duration {
        (self.header.min(self.idle).min(self.write) / LOOKS_PER_LIMIT).max(LOOK_INTERVAL_MIN)
    }
}

/// What the connections of a listener share.
#[derive(Clone)]
pub(super) struct Host {
    pub router: Router,
    pub times: Times,
    pub metrics: Arc<Metrics>,
    pub phases: watch::Receiver<Phase>,
}

pub(super) async fn drive<S>(stream: S, peer: Peer, host: Host)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Host { router, times, metrics, mut phases } = host;
    let watch = Watch::new(times);
    let io = TokioIo::new(Watched::new(stream, watch.clone(), metrics.clone()));
    let service = {
        let watch = watch.clone();
        service_fn(move |mut request: hyper::Request<Incoming>| {
            watch.serving();
            request.extensions_mut().insert(peer);
            let answer = router.clone().call(request);
            let watch = watch.clone();
            async move { answer.await.map(|answer| answer.map(|body| Tracked::new(body, watch))) }
        })
    };
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).max_buf_size(BUFFER_BYTES_MAX).max_header_size(HEAD_BYTES_MAX);
    let mut connection = builder.serve_connection(io, service);
    let mut look = pin!(tokio::time::sleep(times.look_interval()));
    let mut draining = false;
    let overdue = loop {
        tokio::select! {
            biased;
            // First, so that no answer leaves without saying that the connection ends with it.
            phase = next_phase(&mut phases, draining) => {
                if phase == Phase::Closed {
                    return;
                }
                draining = true;
                std::pin::Pin::new(&mut connection).graceful_shutdown();
            }
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%error, peer = %peer.address, "connection ended");
                }
                return;
            }
            () = look.as_mut() => {
                if let Some(overdue) = watch.overdue() {
                    break overdue;
                }
                look.as_mut().reset(tokio::time::Instant::now() + times.look_interval());
            }
        }
    };
    tracing::debug!(why = ?overdue, peer = %peer.address, "closing connection");
    match overdue {
        Overdue::Unread => metrics.dropped(Dropped::SlowReader),
        Overdue::Head { begun } => {
            metrics.dropped(Dropped::SlowHead);
            if begun {
                // No answer is on its way while a head is read, so this one stands alone.
                let mut stream = connection.into_parts().io.into_inner();
                let farewell = async {
                    stream.write_all(&own_answers::slow_head()).await?;
                    stream.shutdown().await
                };
                // Whoever sends this slowly may be gone.
                let _ = tokio::time::timeout(FAREWELL_MAX, farewell).await;
            }
        }
        Overdue::Idle | Overdue::Closed => {}
    }
}

/// `Closed` also when nobody can tell any more.
async fn next_phase(phases: &mut watch::Receiver<Phase>, draining: bool) -> Phase {
    let news = |phase: &Phase| *phase == Phase::Closed || (*phase == Phase::Draining && !draining);
    phases.wait_for(news).await.map_or(Phase::Closed, |phase| *phase)
}
