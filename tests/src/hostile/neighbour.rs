//! Somebody who uses the same control plane properly, all the time.

use super::raw::{connect, listen};
use super::stage::{Stage, register};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// However short the attack, it met a neighbour.
const REQUESTS_MIN: u32 = 20;
/// Debug builds of everything share two cores with the attack.
const QUICK: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(10);

pub struct Neighbour {
    /// Dropped when it is time to leave.
    staying: Sender<()>,
    living: JoinHandle<Duration>,
}

impl Neighbour {
    pub fn move_in(stage: &Stage) -> Neighbour {
        let name = "neighbour";
        let listed = stage.dev.api("GET", &format!("/api/v1/projects/demo/nodes/{name}"), None);
        assert_eq!(listed.status, 404, "one neighbour a stage");
        let node = register(&stage.dev, name);
        let beat = format!(
            "POST /api/v1/nodes/{}/heartbeat HTTP/1.1\r\nHost: x\r\nX-Zentinel-Node-Key: {}\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}",
            node.id, node.key
        );
        let list = format!(
            "GET /api/v1/projects/demo/nodes?limit=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
            stage.dev.file.get("api_key")
        );
        let (http, (staying, leaving)) = (stage.http, channel());
        let living = std::thread::spawn(move || live(http, &[beat, list], &leaving));
        Neighbour { staying, living }
    }

    /// Everything was answered, and quickly.
    pub fn move_out(self) {
        drop(self.staying);
        let slowest = self.living.join().expect("the neighbour was served");
        assert!(slowest < QUICK, "the neighbour waited {slowest:?}");
    }
}

fn live(http: SocketAddr, requests: &[String], leaving: &Receiver<()>) -> Duration {
    let (mut kept, mut count, mut slowest) = (connect(http), 0, Duration::ZERO);
    while count < REQUESTS_MIN || leaving.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
        for request in requests {
            // One on the kept connection, one on a new one.
            for new in [false, true] {
                let mut fresh = new.then(|| connect(http));
                let stream = fresh.as_mut().unwrap_or(&mut kept);
                slowest = slowest.max(ask(stream, request));
                count += 1;
            }
        }
    }
    slowest
}

fn ask(stream: &mut TcpStream, request: &str) -> Duration {
    let began = Instant::now();
    stream.write_all(request.as_bytes()).unwrap();
    let talk = listen(stream, false, |talk| !talk.answers.is_empty(), |_| {});
    let answer = talk.answers.first().expect("the neighbour is answered");
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    began.elapsed()
}
