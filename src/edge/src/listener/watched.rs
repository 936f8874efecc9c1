//! A connection's stream with a watch over it: how long it has been idle, how long a request's head is taking, how long the
//! client has left an answer unread. hyper's own head timer also runs between requests and would close connections that are
//! kept open on purpose.
//!
//! An answer of hyper's own leaves with a body (`own_answers`).
//!
//! Closing lingers: what the client still sends is read and thrown away for a moment, because closing a socket with unread
//! bytes resets it, and the client would lose the answer that says why (a 413, say).

use super::connection::Times;
use super::own_answers;
use crate::metrics::Metrics;
use hyper::body::{Body, Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long, and for how many bytes, a closing connection is read.
const LINGER_MAX: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: u64 = 64 * 1024 * 1024;
const LINGER_PIECE_BYTES: usize = 16 * 1024;

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const SERVING: u8 = 2;
const CLOSING: u8 = 3;

/// Why a connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// The client does not take its answer.
    Unread,
    Idle,
    /// The head of a request did not arrive in time. `begun`: some of it did.
    Head {
        begun: bool,
    },
    /// It has lingered long enough.
    Closed,
}

/// Shared by the stream, the service and the task that drives both. One task touches it, so nothing needs an order.
pub(super) struct Watch {
    started: Instant,
    times: Times,
    phase: AtomicU8,
    /// When the phase began, in milliseconds since the start.
    since_ms: AtomicU64,
    /// When the client stopped taking bytes, plus one; 0: it takes them.
    blocked_ms: AtomicU64,
    /// A byte has come since the connection began.
    heard: AtomicBool,
}

impl Watch {
    /// A new connection owes us a head.
    pub fn new(times: Times) -> Arc<Watch> {
        let started = Instant::now();
        let (phase, since_ms, blocked_ms) = (AtomicU8::new(HEAD), AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Watch { started, times, phase, since_ms, blocked_ms, heard: AtomicBool::new(false) })
    }

    /// A head was read: the request has time limits of its own.
    pub fn serving(&self) {
        self.enter(SERVING);
    }

    /// hyper has taken over the last of the answer.
    pub fn answered(&self) {
        self.enter(IDLE);
    }

    /// Why the connection must end, if it must.
    pub fn overdue(&self) -> Option<Overdue> {
        let now = self.now_ms();
        let past = |since: u64, limit: Duration| u128::from(now.saturating_sub(since)) >= limit.as_millis();
        let blocked = self.blocked_ms.load(Ordering::Relaxed);
        if blocked > 0 && past(blocked - 1, self.times.write) {
            return Some(Overdue::Unread);
        }
        let since = self.since_ms.load(Ordering::Relaxed);
        match self.phase.load(Ordering::Relaxed) {
            IDLE if past(since, self.times.idle) => Some(Overdue::Idle),
            HEAD if past(since, self.times.header) => {
                Some(Overdue::Head { begun: blocked == 0 && self.heard.load(Ordering::Relaxed) })
            }
            CLOSING if past(since, LINGER_MAX) => Some(Overdue::Closed),
            _ => None,
        }
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn enter(&self, phase: u8) {
        self.phase.store(phase, Ordering::Relaxed);
        self.since_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    fn received(&self) {
        self.heard.store(true, Ordering::Relaxed);
        if self.phase.load(Ordering::Relaxed) == IDLE {
            self.enter(HEAD);
        }
    }

    /// Whether the client takes bytes. hyper flushes at every wake, so this alone says nothing about idleness.
    fn takes(&self, ready: bool) {
        if ready {
            self.blocked_ms.store(0, Ordering::Relaxed);
        } else if self.blocked_ms.load(Ordering::Relaxed) == 0 {
            self.blocked_ms.store(self.now_ms() + 1, Ordering::Relaxed);
        }
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        self.takes(result.is_ready());
        // A long answer that makes progress is not idleness.
        if matches!(result, Poll::Ready(Ok(_))) && self.phase.load(Ordering::Relaxed) == IDLE {
            self.since_ms.store(self.now_ms(), Ordering::Relaxed);
        }
    }
}

pub(super) struct Watched<S> {
    stream: S,
    watch: Arc<Watch>,
    /// Bytes thrown away since the write side was closed; none before.
    lingered: Option<u64>,
    metrics: Arc<Metrics>,
    /// What is written instead of an answer of hyper's own, and how much of it has been.
    instead: Option<(Vec<u8>, usize)>,
}

impl<S> Watched<S> {
    pub fn new(stream: S, watch: Arc<Watch>, metrics: Arc<Metrics>) -> Watched<S> {
        Watched { stream, watch, lingered: None, metrics, instead: None }
    }
}

impl<S: AsyncWrite + Unpin> Watched<S> {
    /// Puts something else in the place of an answer of hyper's own. Ready once all of it is written.
    fn poll_instead(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Option<Poll<io::Result<usize>>> {
        if self.instead.is_none() {
            let (why, answer) = own_answers::replacement(buf)?;
            self.metrics.dropped(why);
            self.instead = Some((answer, 0));
        }
        let (answer, written) = self.instead.as_mut()?;
        while *written < answer.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &answer[*written..]) {
                Poll::Ready(Ok(0)) => return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
                Poll::Ready(Ok(n)) => *written += n,
                other => return Some(other),
            }
        }
        self.instead = None;
        Some(Poll::Ready(Ok(buf.len())))
    }
}

/// A body that tells the watch when hyper is done with it.
pub(super) struct Tracked<B> {
    body: B,
    watch: Arc<Watch>,
}

impl<B> Tracked<B> {
    pub fn new(body: B, watch: Arc<Watch>) -> Tracked<B> {
        Tracked { body, watch }
    }
}

impl<B> Drop for Tracked<B> {
    fn drop(&mut self) {
        self.watch.answered();
    }
}

impl<B: Body + Unpin> Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.watch.received();
        }
        result
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = match self.poll_instead(cx, buf) {
            Some(result) => result,
            None => Pin::new(&mut self.stream).poll_write(cx, buf),
        };
        self.watch.wrote(&result);
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch.takes(result.is_ready());
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut lingered = match self.lingered {
            Some(lingered) => lingered,
            None => {
                ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
                self.watch.enter(CLOSING);
                self.lingered = Some(0);
                0
            }
        };
        let mut piece = [0; LINGER_PIECE_BYTES];
        while lingered < LINGER_BYTES_MAX {
            let mut buf = ReadBuf::new(&mut piece);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => lingered += buf.filled().len() as u64,
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    self.lingered = Some(lingered);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = bufs {
            return self.poll_write(cx, only);
        }
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
