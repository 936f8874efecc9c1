//! A real nats-server of the test's own, and a control plane on it that answers what the test says.

use super::{Root, console, creds_text};
use crate::exit::Exit;
use crate::globals::Output;
use crate::reference::words;
use crate::run::execute;
use crate::surroundings::Surroundings;
use async_nats::{ConnectOptions, HeaderMap, RequestErrorKind};
use clap::Parser;
use contract::{Answer, ApiError, Operation, Request};
use futures_util::StreamExt;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::JoinHandle;

const START_TIME_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);
const CREDS: &str = "admin.creds";
const PROBE: Duration = Duration::from_millis(50);

pub(crate) struct Server {
    child: Child,
    _dir: TempDir,
    pub url: String,
}

impl Server {
    /// `settings` are lines of the server's configuration.
    async fn start(settings: &str) -> Server {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let config = dir.path().join("server.conf");
        let ports = dir.path().display();
        std::fs::write(&config, format!("listen: \"127.0.0.1:-1\"\nports_file_dir: \"{ports}\"\n{settings}\n"))
            .expect("a configuration file");
        let mut command = std::process::Command::new(nats_server());
        command.arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("nats-server starts");
        let ports = dir.path().join(format!("nats-server_{}.ports", child.id()));
        let mut server = Server { child, _dir: dir, url: String::new() };
        let deadline = Instant::now() + START_TIME_MAX;
        while server.url.is_empty() {
            assert!(Instant::now() < deadline, "nats-server does not listen");
            server.url = read_url(&ports).unwrap_or_default();
            tokio::time::sleep(POLL).await;
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_url(ports: &Path) -> Option<String> {
    let ports: Value = serde_json::from_slice(&std::fs::read(ports).ok()?).ok()?;
    Some(ports["nats"][0].as_str()?.to_owned())
}

fn nats_server() -> PathBuf {
    if let Some(path) = std::env::var_os("PILOTHOUSE_NATS_SERVER") {
        return path.into();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("src/cli lies two below the root");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain([root.join(".tools")])
        .map(|dir| dir.join("nats-server"))
        .find(|file| file.is_file());
    found.expect("no nats-server found: run `cargo xtask fetch`")
}

/// Runs a test with a server that lets everybody do everything.
pub(crate) fn on_server(test: impl AsyncFnOnce(Server)) {
    on_server_with("", test);
}

pub(crate) fn on_server_with(settings: &str, test: impl AsyncFnOnce(Server)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { test(Server::start(settings).await).await });
}

/// What a command left behind.
pub(crate) struct Ran {
    pub exit: Exit,
    pub data: String,
    pub talk: String,
}

pub(crate) struct Fake {
    nats: async_nats::Client,
    url: String,
    /// The operator's credential, and the key that signs subscribers beside it.
    installation: TempDir,
    answering: JoinHandle<()>,
    /// Every request that came, in order.
    pub asked: Arc<Mutex<Vec<(String, Request)>>>,
    fact: Arc<Mutex<Option<(String, u64)>>>,
    /// Home and working directory of whoever types.
    pub home: Rc<TempDir>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

impl Fake {
    /// The handler gets the operation, the request, and how often the operation was asked before.
    pub async fn start(
        server: &Server,
        handler: impl Fn(Operation, &Request, usize) -> Answer + Send + 'static,
    ) -> Fake {
        Fake::start_as(server, ConnectOptions::new(), handler).await
    }

    /// `options` are what the control plane itself connects with.
    pub async fn start_as(
        server: &Server,
        options: ConnectOptions,
        handler: impl Fn(Operation, &Request, usize) -> Answer + Send + 'static,
    ) -> Fake {
        let nats = options.connect(&server.url).await.expect("the server answers");
        let mut requests = nats.subscribe("pilothouse.admin.v1.*.*.*").await.expect("a subscription");
        nats.flush().await.expect("the subscription is made");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let fact = Arc::new(Mutex::new(None));
        let (client, seen, next_fact) = (nats.clone(), asked.clone(), fact.clone());
        let answering = tokio::spawn(async move {
            let mut times = BTreeMap::new();
            while let Some(message) = requests.next().await {
                let name = message.subject.splitn(5, '.').nth(4).expect("a subject of five parts").to_owned();
                let operation = Operation::parse(&name).expect("a known operation");
                let request: Request = rmp_serde::from_slice(&message.payload).expect("a request");
                seen.lock().expect("no panic").push((message.subject.to_string(), request.clone()));
                let count = times.entry(name).or_insert(0);
                let answer = handler(operation, &request, *count);
                *count += 1;
                if answer.status != 0 {
                    let payload = rmp_serde::to_vec_named(&answer).expect("an answer");
                    let reply = message.reply.expect("somebody waits");
                    client.publish(reply, payload.into()).await.expect("sent");
                }
                let fact = next_fact.lock().expect("no panic").clone();
                if let Some((subject, position)) = fact {
                    client.publish_with_headers(subject, sequence(Some(position)), "{}".into()).await.expect("sent");
                }
            }
        });
        let installation = tempfile::tempdir().expect("a temporary directory");
        let role = nkeys::KeyPair::new_account().seed().expect("a new key has its seed");
        for (name, text) in [(CREDS, creds_text()), ("clients-subscribers.nk", role)] {
            std::fs::write(installation.path().join(name), text).expect("a file");
        }
        let home = Rc::new(tempfile::tempdir().expect("a temporary directory"));
        Fake { nats, url: server.url.clone(), installation, answering, asked, fact, home }
    }

    pub fn creds_path(&self) -> PathBuf {
        self.installation.path().join(CREDS)
    }

    pub fn ok(status: u16, body: Value, position: u64) -> Answer {
        Answer { status, body, position }
    }

    pub fn fail(error: ApiError) -> Answer {
        let body = serde_json::to_value(error.body()).expect("a body");
        Answer { status: error.code.status(), body, position: 0 }
    }

    /// The request is received and never answered.
    pub fn silence() -> Answer {
        Answer { status: 0, body: Value::Null, position: 0 }
    }

    /// Whoever follows facts is woken after every answer.
    pub fn commit_after_each(&mut self, subject: &str, position: u64) {
        *self.fact.lock().expect("no panic") = Some((subject.to_owned(), position));
    }

    /// From now on nobody answers.
    pub async fn stop(&mut self) {
        self.answering.abort();
        let _ = (&mut self.answering).await;
        self.nats.flush().await.expect("the subscription is ended");
    }

    /// Runs a command line while nobody answers.
    pub async fn run_alone(&self, line: &str) -> Ran {
        self.start_command(Output::Table, line, "").await
    }

    /// Runs a command line without its first word.
    pub async fn run(&mut self, output: Output, line: &str, stdin: &str) -> Ran {
        let running = self.start_command(output, line, stdin);
        tokio::select! {
            ran = running => ran,
            ended = &mut self.answering => panic!("the control plane of the test ended: {ended:?}"),
        }
    }

    fn start_command(&self, output: Output, line: &str, stdin: &str) -> impl Future<Output = Ran> + use<> {
        let words = std::iter::once("pilothouse".to_owned()).chain(words(line));
        let Root { mut globals, command } = Root::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
        globals.server = Some(self.url.clone());
        globals.creds = Some(self.creds_path());
        globals.output = output;
        let (console, data, talk) = console(output, stdin);
        let home = self.home.path();
        let around = Surroundings::of_test(home, &[("HOME", &home.to_string_lossy())]);
        async move {
            let exit = execute(command, &globals, &around, console).await;
            Ran { exit, data: data.text(), talk: talk.text() }
        }
    }

    /// Runs a command line, and publishes messages (subject, position, body) once it follows the first one's subject.
    pub async fn run_while_publishing(
        &mut self,
        output: Output,
        line: &str,
        messages: &[(&str, Option<u64>, &str)],
    ) -> Ran {
        let nats = self.nats.clone();
        let publishing = async move {
            let (subject, position, body) = messages[0];
            let deadline = Instant::now() + START_TIME_MAX;
            loop {
                assert!(Instant::now() < deadline, "nobody follows {subject}");
                let probe = async_nats::Request::new()
                    .headers(sequence(position))
                    .payload(body.to_owned().into())
                    .timeout(Some(PROBE));
                match nats.send_request(subject.to_owned(), probe).await.map_err(|error| error.kind()) {
                    Err(RequestErrorKind::NoResponders) => tokio::time::sleep(POLL).await,
                    _ => break,
                }
            }
            for (subject, position, body) in &messages[1..] {
                let sent =
                    nats.publish_with_headers((*subject).to_owned(), sequence(*position), (*body).to_owned().into());
                sent.await.expect("sent");
            }
        };
        let (ran, ()) = tokio::join!(self.run(output, line, ""), publishing);
        ran
    }
}

fn sequence(position: Option<u64>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("X-Test", "1");
    if let Some(position) = position {
        headers.insert("Nats-Sequence", position.to_string().as_str());
    }
    headers
}
