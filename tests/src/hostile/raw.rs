//! HTTP as bytes on a socket.

use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// What takes longer hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(50);

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

/// All that came back on a connection.
#[derive(Debug, Default)]
pub struct Talk {
    pub answers: Vec<Answer>,
    /// The server ended the connection.
    pub closed: bool,
    pub took: Duration,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Success, or a 4xx in the contract's shape.
    pub fn check(&self, what: &str) {
        let shown = || format!("{what}: {}\n{:.300}", self.head, String::from_utf8_lossy(&self.body));
        if (200..300).contains(&self.status) {
            return;
        }
        assert!((400..500).contains(&self.status), "{}", shown());
        // Enrollment has its code in a header and nothing but the text in its body.
        let code = self.header("x-error-code");
        let media = if code.is_some() { "application/json" } else { "application/json; charset=utf-8" };
        assert_eq!(self.header("content-type"), Some(media), "{}", shown());
        // The answer to a HEAD has none.
        if !self.body.is_empty() {
            let body = self.json();
            assert!(body["error"].is_string() || body["error"].is_object(), "{}", shown());
            assert!(code.is_some() != body["code"].is_string(), "{}", shown());
        }
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends all of it and takes the first answer, with whatever came along.
pub fn talk(address: SocketAddr, bytes: &[u8]) -> Talk {
    let mut stream = connect(address);
    let mut sender = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        // A server that has heard enough may close before it has read all.
        scope.spawn(move || sender.write_all(bytes));
        let is_head = bytes.starts_with(b"HEAD ");
        let talk = listen(&mut stream, is_head, |talk| !talk.answers.is_empty(), |_| {});
        // Ends the sender too.
        let _ = stream.shutdown(std::net::Shutdown::Both);
        talk
    })
}

/// Sends all of it and listens until the server ends the connection.
pub fn talk_to_end(address: SocketAddr, bytes: &[u8]) -> Talk {
    let mut stream = connect(address);
    // As above.
    let _ = stream.write_all(bytes);
    listen(&mut stream, false, |_| false, |_| {})
}

/// Listens until the end, or until `enough`; `between` runs whenever nothing came for a moment.
pub fn listen(
    stream: &mut TcpStream,
    is_head: bool,
    enough: impl Fn(&Talk) -> bool,
    mut between: impl FnMut(&mut TcpStream),
) -> Talk {
    let began = Instant::now();
    stream.set_read_timeout(Some(LOOK)).unwrap();
    let (mut talk, mut got, mut piece) = (Talk::default(), Vec::new(), vec![0; 64 * 1024]);
    while !talk.closed && !enough(&talk) {
        assert!(
            began.elapsed() < PATIENCE,
            "no end after {PATIENCE:?}; so far {talk:?} {:?}",
            String::from_utf8_lossy(&got)
        );
        match stream.read(&mut piece) {
            Ok(0) => talk.closed = true,
            Ok(n) => got.extend_from_slice(&piece[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => between(stream),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => talk.closed = true,
        }
        while let Some(answer) = take(&mut got, is_head) {
            // 100 Continue is none.
            if answer.status >= 200 {
                talk.answers.push(answer);
            }
        }
    }
    talk.took = began.elapsed();
    talk
}

/// Takes a whole answer off the front.
fn take(got: &mut Vec<u8>, is_head: bool) -> Option<Answer> {
    let end = got.windows(4).position(|part| part == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&got[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let mut answer = Answer { status, head, body: Vec::new() };
    let bodiless = is_head || status < 200 || status == 204;
    let length = answer.header("content-length").and_then(|n| n.parse().ok()).filter(|_| !bodiless).unwrap_or(0);
    if got.len() < end + length {
        return None;
    }
    answer.body = got[end..end + length].to_vec();
    got.drain(..end + length);
    Some(answer)
}
