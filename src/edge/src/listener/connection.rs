//! One connection from its first byte to its last.

use super::Phase;
use super::watched::{Watch, Watched};
use crate::base_url::Peer;
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tower::Service;

/// The most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// The most bytes that are read or written at once.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// How many times a limit is looked at before it is over.
const LOOKS_PER_LIMIT: u32 = 4;
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(10);

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

pub(super) async fn drive<S>(stream: S, peer: Peer, router: Router, times: Times, mut phases: watch::Receiver<Phase>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let watch = Watch::new(times);
    let io = TokioIo::new(Watched::new(stream, watch.clone()));
    let service = {
        let watch = watch.clone();
        service_fn(move |mut request: hyper::Request<Incoming>| {
            watch.serving();
            request.extensions_mut().insert(peer);
            let answer = router.clone().call(request);
            let watch = watch.clone();
            async move {
                let answer = answer.await;
                watch.answered();
                answer
            }
        })
    };
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).max_buf_size(BUFFER_BYTES_MAX).max_header_size(HEAD_BYTES_MAX);
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut look = pin!(tokio::time::sleep(times.look_interval()));
    let mut draining = false;
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, peer = %peer.address, "connection ended");
                }
                return;
            }
            () = look.as_mut() => {
                if let Some(why) = watch.overdue() {
                    tracing::debug!(why, peer = %peer.address, "closing connection");
                    return;
                }
                look.as_mut().reset(tokio::time::Instant::now() + times.look_interval());
            }
            phase = next_phase(&mut phases, draining) => {
                if phase == Phase::Closed {
                    return;
                }
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// `Closed` also when nobody can tell any more.
async fn next_phase(phases: &mut watch::Receiver<Phase>, draining: bool) -> Phase {
    let news = |phase: &Phase| *phase == Phase::Closed || (*phase == Phase::Draining && !draining);
    phases.wait_for(news).await.map_or(Phase::Closed, |phase| *phase)
}
