//! Server-sent events (WHATWG HTML §9.2) of one response, read piece by piece.
//!
//! Invariant: whatever a server sends, for however long, a line, a stream and a silence have an end. Absent: repeating.

use super::{CALL_TIMEOUT, Call, Client, refused, unreachable};
use crate::call::{CallError, causes};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use std::collections::VecDeque;
use std::time::Duration;
use thiserror::Error;
use tokio::time::{Instant, timeout, timeout_at};

const MEDIA_TYPE: &str = "text/event-stream";
/// Servers send a comment every 30 s.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// Servers end a stream after 30 minutes.
const STREAM_MAX: Duration = Duration::from_secs(35 * 60);
const LINE_BYTES_MAX: usize = 16 * 1024;
const STREAM_BYTES_MAX: usize = 1024 * 1024;

#[derive(Debug, Error)]
pub enum EventsError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the answer is no stream of events")]
    NoStream,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub kind: String,
    pub data: String,
}

/// An open stream.
pub struct Events {
    body: Incoming,
    parser: Parser,
    ends: Instant,
}

impl Client {
    /// Opens a stream. The answer must be one.
    pub async fn events(&self, call: Call<'_>) -> Result<Events, EventsError> {
        let mut request = self.request(call)?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(MEDIA_TYPE));
        let answered = timeout(CALL_TIMEOUT, self.http.request(request)).await;
        let late = |_| CallError::Unreachable(format!("no answer within {} s", CALL_TIMEOUT.as_secs()));
        let response = answered.map_err(late)?.map_err(unreachable)?;
        let (head, body) = response.into_parts();
        if !head.status.is_success() {
            let error = timeout(CALL_TIMEOUT, refused(head.status, &head.headers, body)).await;
            return Err(error.unwrap_or_else(|_| CallError::refused(head.status.as_u16(), b"", None)).into());
        }
        let is_stream =
            head.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(MEDIA_TYPE.as_bytes()));
        if head.status != StatusCode::OK || !is_stream {
            return Err(EventsError::NoStream);
        }
        Ok(Events { body, parser: Parser::default(), ends: Instant::now() + STREAM_MAX })
    }
}

impl Events {
    /// The next event; None at the end. An error ends the stream.
    pub async fn next(&mut self) -> Result<Option<Event>, CallError> {
        let broken = |why: &str| CallError::Unreachable(format!("the stream of events {why}"));
        loop {
            if let Some(event) = self.parser.take() {
                return Ok(Some(event));
            }
            let until = self.ends.min(Instant::now() + SILENCE_MAX);
            let frame = timeout_at(until, self.body.frame()).await.map_err(|_| broken("fell silent"))?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|e| broken(&format!("broke off: {}", causes(&e))))?;
            let bytes = frame.into_data().unwrap_or_else(|_trailers| Bytes::new());
            self.parser.feed(&bytes).map_err(|TooLong| CallError::Malformed(broken("is too long").to_string()))?;
        }
    }
}

/// A line or a stream beyond its bound.
#[derive(Debug, PartialEq, Eq)]
struct TooLong;

#[derive(Default)]
struct Parser {
    line: Vec<u8>,
    /// The last byte ended a line as CR, so an LF belongs to it.
    after_cr: bool,
    seen: usize,
    event: Event,
    has_data: bool,
    ready: VecDeque<Event>,
}

impl Parser {
    fn take(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        self.seen = self.seen.saturating_add(bytes.len());
        if self.seen > STREAM_BYTES_MAX {
            return Err(TooLong);
        }
        for &byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => self.end_line(),
                _ if self.line.len() >= LINE_BYTES_MAX => return Err(TooLong),
                _ => self.line.push(byte),
            }
        }
        Ok(())
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            return self.end_event();
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.event.kind = value.to_owned(),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.has_data = true;
                self.event.data.push_str(value);
            }
            // Comments, and fields that mean nothing here.
            _ => {}
        }
    }

    fn end_event(&mut self) {
        let event = std::mem::take(&mut self.event);
        if std::mem::take(&mut self.has_data) {
            self.ready.push_back(event);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn parse(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut parser = Parser::default();
        pieces.iter().for_each(|piece| parser.feed(piece).unwrap());
        std::iter::from_fn(|| parser.take()).map(|event| (event.kind, event.data)).collect()
    }

    fn event(kind: &str, data: &str) -> (String, String) {
        (kind.to_owned(), data.to_owned())
    }

    #[test]
    fn events_comments_and_all_line_ends() {
        let text = b": heartbeat\n\nevent: state\ndata: {\"a\":1}\n\nevent:timeout\r\ndata:x\r\ndata: y\r\n\r\nid: 1\rdata\r\rdata: lost";
        assert_eq!(parse(&[text]), [event("state", "{\"a\":1}"), event("timeout", "x\ny"), event("", "")]);
        assert_eq!(parse(&[b"event: state\n\ndata: 1\n\n"]), [event("", "1")], "a kind without data is forgotten");
    }

    #[test]
    fn lines_and_streams_are_bounded() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(&vec![b'x'; LINE_BYTES_MAX + 1]), Err(TooLong));
        let mut parser = Parser::default();
        let piece = b": heartbeat\n".repeat(1024);
        let fed = (0..1000).take_while(|_| parser.feed(&piece).is_ok()).count();
        assert!(fed * piece.len() <= STREAM_BYTES_MAX, "{fed}");
        let mut parser = Parser::default();
        let fed = (0..1_000_000).take_while(|_| parser.feed(b"data: xxxxxxxxxxxxxxxxxxxx\n").is_ok()).count();
        assert!(fed < 100_000 && parser.event.data.len() <= STREAM_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_does_not_matter(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), Just(b'd'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(1..20usize, 0..50),
        ) {
            let prefixed: Vec<u8> = [b"data: a\n".as_slice(), &text, b"\n\n"].concat();
            let (mut pieces, mut rest) = (Vec::new(), prefixed.as_slice());
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            prop_assert_eq!(parse(&pieces), parse(&[&prefixed]));
        }
    }
}
