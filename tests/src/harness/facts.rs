//! An independent NATS client that follows the fleet's facts as another service would: a plain subscription.

use super::dev::Dev;
use async_nats::{ConnectOptions, Message};
use futures_util::StreamExt;
use serde_json::Value;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Facts in order of arrival.
pub struct Facts {
    received: Receiver<(String, u64, Value)>,
    pub seen: Vec<(String, u64, Value)>,
    _runtime: tokio::runtime::Runtime,
}

impl Facts {
    pub fn subscribe(dev: &Dev) -> Facts {
        Facts::follow(dev.file.get("nats_url"), Path::new(dev.file.get("operator_creds")))
    }

    pub fn follow(url: &str, creds: &Path) -> Facts {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (sender, received) = channel();
        let creds = std::fs::read_to_string(creds).unwrap();
        let mut subscription = runtime.block_on(async {
            let nkey = operator_nkey(&creds);
            let options = ConnectOptions::with_credentials(&creds).unwrap();
            let client = options.custom_inbox_prefix(format!("_INBOX_{nkey}")).connect(url).await.unwrap();
            let subscription = client.subscribe("fleet.>").await.unwrap();
            // Whatever is answered after the subscription was sent proves that the server has it.
            client.request(format!("pilothouse.admin.v1.{nkey}.project.list"), "".into()).await.unwrap();
            subscription
        });
        runtime.spawn(async move {
            while let Some(message) = subscription.next().await {
                if sender.send(read(&message)).is_err() {
                    return;
                }
            }
        });
        Facts { received, seen: Vec::new(), _runtime: runtime }
    }

    /// Waits for a fact whose subject ends so; returns its data.
    pub fn wait_for(&mut self, ending: &str) -> Value {
        let began = Instant::now();
        loop {
            if let Some((_, _, body)) = self.seen.iter().find(|(subject, _, _)| subject.ends_with(ending)) {
                return body.clone();
            }
            match self.received.recv_timeout(Duration::from_millis(200)) {
                Ok(fact) => self.seen.push(fact),
                Err(RecvTimeoutError::Timeout) if began.elapsed() < super::PATIENCE => {}
                Err(e) => panic!("no fact {ending} ({e}); seen: {:?}", self.subjects()),
            }
        }
    }

    /// Takes in what has arrived.
    pub fn drain(&mut self) {
        self.seen.extend(self.received.try_iter());
    }

    pub fn subjects(&self) -> Vec<&str> {
        self.seen.iter().map(|(subject, _, _)| subject.as_str()).collect()
    }
}

fn read(message: &Message) -> (String, u64, Value) {
    let header = message.headers.as_ref().and_then(|headers| headers.get("Nats-Sequence"));
    let position = header.and_then(|value| value.as_str().parse().ok()).unwrap_or(0);
    let body = serde_json::from_slice(&message.payload).unwrap_or(Value::Null);
    (message.subject.to_string(), position, body)
}

/// The operator's public key, read from the JWT of a credentials file.
pub fn operator_nkey(creds: &str) -> String {
    let claims = creds.lines().nth(1).and_then(|jwt| jwt.split('.').nth(1)).unwrap();
    let read = "import base64,json,sys; t=sys.argv[1]+'==='; print(json.loads(base64.urlsafe_b64decode(t))['sub'])";
    let output = std::process::Command::new("python3").args(["-c", read, claims]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
