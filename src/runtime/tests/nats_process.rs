//! The supervised nats-server against the real one, with `runtime-fixture` in the place of `pilothouse`.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, stream};
use runtime::{DataDir, Launcher, NatsBinary, NatsConfig, NatsError, NatsProcess};
use rustix::process::{Pid, Signal, getpgid, kill_process};
use tempfile::TempDir;

const FIXTURE: &str = env!("CARGO_BIN_EXE_runtime-fixture");
const DEADLINE: Duration = Duration::from_secs(20);

/// Killed with the test, whatever becomes of it.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn data_dir() -> (TempDir, DataDir) {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = DataDir::open(&dir.path().join("data")).unwrap();
    (dir, data_dir)
}

async fn config() -> NatsConfig {
    let binary = NatsBinary::find().await.unwrap_or_else(|error| panic!("{error}"));
    NatsConfig::new(binary, Launcher::of(Path::new(FIXTURE), "nats-child"))
}

async fn start(data_dir: &DataDir) -> NatsProcess {
    NatsProcess::start(data_dir, config().await).await.unwrap()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {} s", DEADLINE.as_secs());
        tick.tick().await;
    }
}

/// A process that nobody waits for counts as ended.
fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn kill_9(pid: u32) {
    kill_process(as_pid(pid), Signal::KILL).unwrap();
}

fn as_pid(pid: u32) -> Pid {
    Pid::from_raw(pid.try_into().unwrap()).unwrap()
}

async fn connect(address: SocketAddr) -> jetstream::Context {
    jetstream::new(async_nats::connect(address.to_string()).await.unwrap())
}

fn kept_stream() -> stream::Config {
    stream::Config { name: "KEPT".to_owned(), subjects: vec!["kept".to_owned()], ..Default::default() }
}

#[tokio::test]
async fn kill_9_of_the_parent_leaves_no_server_and_the_next_start_finds_its_data() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let mut parent =
        Killed(Command::new(FIXTURE).arg("run").arg(&path).arg("0").stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(parent.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let (pid, address) = line.trim().split_once(' ').unwrap_or_else(|| panic!("the fixture said {line:?}"));
    let (pid, address): (u32, SocketAddr) = (pid.parse().unwrap(), address.parse().unwrap());
    let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    assert!(program.ends_with("nats-server"), "{}", program.display());

    let stream = kept_stream();
    let jetstream = connect(address).await;
    jetstream.create_stream(stream).await.unwrap();
    jetstream.publish("kept", "one".into()).await.unwrap().await.unwrap();

    kill_9(parent.0.id());
    parent.0.wait().unwrap();

    // At once and on the same port: the server may still be dying.
    let data_dir = DataDir::open(&path).unwrap();
    let again = NatsConfig { port: address.port(), ..config().await };
    let again = NatsProcess::start(&data_dir, again).await.unwrap();
    until("the server ends with its parent", || !runs(pid)).await;
    let log = fs::read_to_string(path.join("nats-server.log")).unwrap();
    assert!(!log.contains("Server Exiting"), "the kernel ended it, not the next start: {log}");
    let jetstream = connect(again.wait_ready().await.unwrap()).await;
    let mut kept = jetstream.get_stream("KEPT").await.unwrap();
    assert_eq!(kept.info().await.unwrap().state.messages, 1);
}

#[tokio::test]
async fn kill_9_of_the_server_is_mended_on_the_same_address_with_the_data_kept() {
    let (_dir, data_dir) = data_dir();
    let nats = start(&data_dir).await;
    let address = nats.wait_ready().await.unwrap();
    let jetstream = connect(address).await;
    let stream = kept_stream();
    jetstream.create_stream(stream).await.unwrap();
    for round in 1..=2 {
        let ack = jetstream.publish("kept", "fact".into()).await.unwrap().await.unwrap();
        assert_eq!(ack.sequence, round);
        let killed = nats.pid().unwrap();
        kill_9(killed);
        until("another server listens", || nats.pid().is_some_and(|pid| pid != killed)).await;
        assert_eq!(nats.wait_ready().await.unwrap(), address);
    }
    let mut kept = jetstream.get_stream("KEPT").await.unwrap();
    assert_eq!(kept.info().await.unwrap().state.messages, 2);
}

#[tokio::test]
async fn a_port_in_use_is_refused_in_one_sentence_whoever_has_it() {
    let (_dir, data_dir) = data_dir();
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = stranger.local_addr().unwrap().port();
    let refused = NatsProcess::start(&data_dir, NatsConfig { port, ..config().await }).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "port {port} on 127.0.0.1 is in use by another program: stop that one or choose another port with --nats-port"
        )
    );

    let (_other_dir, other_data_dir) = self::data_dir();
    let other = start(&other_data_dir).await;
    let port = other.wait_ready().await.unwrap().port();
    let refused = NatsProcess::start(&data_dir, NatsConfig { port, ..config().await }).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "port {port} on 127.0.0.1 is in use by another nats-server, which is left alone: stop that one or choose another \
             port with --nats-port"
        )
    );
    assert!(other.pid().is_some_and(runs), "the other one is untouched");

    start(&data_dir).await; // A refusal leaves nothing locked.
}

#[tokio::test]
async fn a_second_server_on_the_same_data_directory_is_refused_and_the_first_runs_on() {
    let (_dir, data_dir) = data_dir();
    let first = start(&data_dir).await;
    let pid = first.pid().unwrap();
    let refused = NatsProcess::start(&data_dir.clone(), config().await).await.unwrap_err();
    assert!(matches!(refused, NatsError::AlreadyRunning { .. }), "{refused}");
    assert!(runs(pid));

    let output = Command::new(FIXTURE).arg("run").arg(data_dir.path()).arg("0").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("is in use by another pilothouse (process "), "{said}");
    assert!(runs(pid));

    drop(first);
    assert!(!runs(pid), "dropping it waits for its end");
    start(&data_dir).await;
}

#[tokio::test]
async fn stop_lets_the_server_end_by_itself() {
    let (_dir, data_dir) = data_dir();
    let nats = start(&data_dir).await;
    let pid = nats.pid().unwrap();
    let group = getpgid(Some(as_pid(pid))).unwrap();
    assert_eq!(group, as_pid(pid), "a Ctrl-C for us is not one for the server");
    nats.stop().await;
    assert!(!runs(pid));
    let log = fs::read_to_string(data_dir.path().join("nats-server.log")).unwrap();
    assert!(log.contains("Server Exiting"), "{log}");
    start(&data_dir).await;
}

#[tokio::test]
async fn the_server_outlives_the_thread_that_asked_for_it() {
    let (_dir, data_dir) = data_dir();
    let config = config().await;
    let nats = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(NatsProcess::start(&data_dir, config)).unwrap()
    })
    .join()
    .unwrap();
    let pid = nats.pid().unwrap();
    async_nats::connect(nats.wait_ready().await.unwrap().to_string()).await.unwrap();
    assert_eq!(nats.pid(), Some(pid), "not a restarted one");
}

#[tokio::test]
async fn a_left_over_server_of_ours_is_ended_and_a_stranger_with_its_process_id_is_not() {
    let (_dir, data_dir) = data_dir();
    start(&data_dir).await.stop().await;
    let (conf, pid_file) =
        (data_dir.path().join("nats/nats-server.conf"), data_dir.path().join("nats/nats-server.pid"));

    let binary = config().await.binary;
    let left_over = Killed(Command::new(binary.path()).arg("-c").arg(&conf).spawn().unwrap());
    let pid = left_over.0.id();
    until("it says who it is", || fs::read_to_string(&pid_file).is_ok_and(|text| text == pid.to_string())).await;
    let nats = start(&data_dir).await;
    assert!(!runs(pid), "it ended before the new one was started");
    nats.stop().await;

    // The shell keeps its command line, which names the file too, but not as a server of ours would.
    let stranger =
        Killed(Command::new("/bin/sh").arg("-c").arg("read wait").arg(&conf).stdin(Stdio::piped()).spawn().unwrap());
    fs::write(&pid_file, stranger.0.id().to_string()).unwrap();
    let nats = start(&data_dir).await;
    assert!(runs(stranger.0.id()));
    nats.stop().await;
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let (dir, data_dir) = data_dir();
    let include = dir.path().join("installation.conf");
    fs::write(&include, "no_such_setting: 1\n").unwrap();
    let broken = NatsConfig { include: Some(include.clone()), ..config().await };
    let error = NatsProcess::start(&data_dir, broken).await.unwrap_err().to_string();
    assert!(error.starts_with("nats-server did not start: "), "{error}");
    assert!(error.contains("unknown field \"no_such_setting\" (exit status: 1)"), "{error}");

    fs::remove_file(&include).unwrap();
    let missing = NatsConfig { include: Some(include), ..config().await };
    let error = NatsProcess::start(&data_dir, missing).await.unwrap_err();
    assert!(matches!(error, NatsError::Io { action: "read", .. }), "{error}");
    start(&data_dir).await;
}

#[tokio::test]
async fn the_server_has_the_settings_of_the_file_and_the_part_of_the_installation() {
    let (dir, data_dir) = data_dir();
    let include = dir.path().join("installation.conf");
    fs::write(&include, "authorization { user: somebody, password: secret }\n").unwrap();
    let nats = NatsProcess::start(&data_dir, NatsConfig { include: Some(include), ..config().await }).await.unwrap();
    let address = nats.wait_ready().await.unwrap().to_string();
    assert!(async_nats::connect(&address).await.is_err(), "the installation's part asks for credentials");
    let options = async_nats::ConnectOptions::with_user_and_password("somebody".to_owned(), "secret".to_owned());
    let client = options.connect(&address).await.unwrap();
    assert_eq!(client.server_info().max_payload, runtime::nats_process::conf::MAX_PAYLOAD_BYTES as usize);
}

#[tokio::test]
async fn the_file_at_the_root_is_valid_with_any_installation() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("nats-server.conf"), runtime::nats_process::conf::NATS_SERVER_CONF).unwrap();
    fs::write(dir.path().join("installation.conf"), "# nothing\n").unwrap();
    let binary = config().await.binary;
    let output =
        Command::new(binary.path()).arg("-t").arg("-c").arg(dir.path().join("nats-server.conf")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
