//! A private nats-server for tests: its own store directory and port, killed when dropped.
//!
//! Panics instead of returning errors: a test that cannot have its server has failed, and the text says what to do.

use crate::connection::{connect, connect_with};
use crate::permissions::Role;
use async_nats::{Client, ConnectOptions};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

const START_TIME_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(2);
/// Below the ports that the system gives to outgoing connections: a client that tries to reach a killed server must not be
/// given that server's own port.
const PORT_FIRST: u16 = 20_000;
const PORTS: u16 = 12_000;
/// Servers that are tried until one gets its port.
const STARTS_MAX: usize = 5;

pub struct TestServer {
    child: Child,
    port: u16,
    directory: PathBuf,
}

impl TestServer {
    /// One server with JetStream and no authentication.
    pub fn start() -> TestServer {
        TestServer::start_with("", "")
    }

    /// `jetstream` goes into the block of that name (`sync_interval: always`), `more` to the top of the configuration.
    pub fn start_with(jetstream: &str, more: &str) -> TestServer {
        let port = free_port();
        let directory = std::env::temp_dir().join(format!("pilothouse-nats-{}-{port}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
        let store = directory.join("store");
        let text = format!("jetstream {{ store_dir: {store:?}\n{jetstream}\n}}\n{more}\n");
        std::fs::write(directory.join("nats.conf"), text).expect("the test's own directory is writable");
        let mut starts = std::iter::once(port).chain(std::iter::repeat_with(free_port)).take(STARTS_MAX);
        let started = starts.find_map(|port| Some((spawn(&directory, port)?, port)));
        let Some((child, port)) = started else { panic!("nats-server does not start:\n{}", log(&directory)) };
        TestServer { child, port, directory }
    }

    /// Three servers of one cluster.
    pub fn start_cluster() -> Vec<TestServer> {
        let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let routes: Vec<String> = ports.iter().map(|port| format!("nats-route://127.0.0.1:{port}")).collect();
        let more = |n: usize| {
            let (port, routes) = (ports[n], routes.join(", "));
            format!("server_name: n{n}\ncluster {{ name: test, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}")
        };
        (0..3).map(|n| TestServer::start_with("", &more(n))).collect()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A connection to a server without authentication.
    pub async fn client(&self, role: Role) -> Client {
        connect(&[self.url()], None, role, START_TIME_MAX).await.expect("the server was just started")
    }

    /// A connection as a user of the configuration, whose password is its name.
    pub async fn client_as(&self, user: &str, role: Role) -> Client {
        let options = || Ok(ConnectOptions::with_user_and_password(user.to_owned(), user.to_owned()));
        connect_with(&[self.url()], options, role, START_TIME_MAX).await.expect("the user is in the configuration")
    }

    /// As kill -9 does: nothing is flushed, nobody is told.
    pub fn kill(&mut self) {
        // Fails only when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Kills it where it still runs, and starts it on the same port and store.
    pub fn restart(&mut self) {
        self.kill();
        let started = spawn(&self.directory, self.port);
        self.child = started.unwrap_or_else(|| panic!("nats-server does not start again:\n{}", log(&self.directory)));
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// `None` when the server ends at once, as it does when the port is taken.
fn spawn(directory: &Path, port: u16) -> Option<Child> {
    let log_file = std::fs::File::create(directory.join("nats.log")).expect("the test's own directory is writable");
    let mut command = Command::new(binary());
    command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-c"]).arg(directory.join("nats.conf"));
    command.arg("--ports_file_dir").arg(directory);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log_file);
    let mut child = command.spawn().expect("the file was found and is executable");
    // Written by this very process once it listens; an open port could be somebody else's.
    let ports = directory.join(format!("nats-server_{}.ports", child.id()));
    let deadline = Instant::now() + START_TIME_MAX;
    while !ports.exists() {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return None;
        }
        assert!(Instant::now() < deadline, "nats-server did not start in time:\n{}", log(directory));
        std::thread::sleep(POLL);
    }
    Some(child)
}

fn log(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("nats.log")).unwrap_or_default()
}

fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("PILOTHOUSE_NATS_SERVER") {
        return path.into();
    }
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&on_path).collect();
    places.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools"));
    let mut found = places.into_iter().map(|place| place.join("nats-server")).filter(|path| path.is_file());
    found.next().expect("no nats-server found: run `cargo xtask fetch`, or set PILOTHOUSE_NATS_SERVER to one")
}

fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run at the same time begin at different places.
    let start = (std::process::id().wrapping_mul(97) % u32::from(PORTS)) as u16;
    let mut candidates = std::iter::repeat_with(|| {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % PORTS;
        PORT_FIRST + (start + step) % PORTS
    });
    let free =
        candidates.by_ref().take(usize::from(PORTS)).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.expect("one of thousands of ports is free")
}
