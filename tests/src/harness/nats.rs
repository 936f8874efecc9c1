//! nats-servers of an installation that `pilothouse init` made: one, or three that are a cluster.

use super::eventually;
use super::process::Guarded;
use serde_json::Value;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct NatsServer {
    process: Guarded,
    /// All of this server's own.
    dir: PathBuf,
    port: u16,
}

impl NatsServer {
    /// On ports that the system chooses. `dir` holds `installation`.
    pub fn start(dir: &Path, count: usize) -> Vec<NatsServer> {
        let cluster = if count > 1 { routes(count) } else { Vec::new() };
        let server = |n: usize| {
            let own = dir.join(format!("nats-{n}"));
            std::fs::create_dir_all(&own).unwrap();
            let written = std::fs::read_to_string(dir.join("installation/installation.conf")).unwrap();
            // Each server keeps account JWTs of its own.
            let (shared, kept) = (dir.join("installation/jwt"), own.join("jwt"));
            let installation = written.replace(&format!("{shared:?}"), &format!("{kept:?}"));
            assert_ne!(installation, written, "the resolver's directory");
            std::fs::write(own.join("installation.conf"), installation).unwrap();
            let cluster = cluster.get(n).map(String::as_str).unwrap_or_default();
            let text = |listen: i32| {
                format!(
                    "listen: \"127.0.0.1:{listen}\"\nserver_name: nats-{n}\nmax_payload: 2MB\nports_file_dir: {ports:?}\n\
                     jetstream {{ store_dir: {store:?}, sync_interval: always }}\n{cluster}\ninclude installation.conf\n",
                    ports = own.join("ports"),
                    store = own.join("store"),
                )
            };
            std::fs::write(own.join("nats-server.conf"), text(-1)).unwrap();
            let (process, port) = spawn(&own);
            // The same over restarts.
            std::fs::write(own.join("nats-server.conf"), text(port.into())).unwrap();
            NatsServer { process, dir: own, port }
        };
        (0..count).map(server).collect()
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    pub fn restart(&mut self) {
        (self.process, self.port) = spawn(&self.dir);
    }
}

/// The servers' parts of their configurations. The ports were free a moment ago.
fn routes(count: usize) -> Vec<String> {
    let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let ports: Vec<u16> = held.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
    let routes: Vec<String> = ports.iter().map(|port| format!("nats-route://127.0.0.1:{port}")).collect();
    let routes = routes.join(", ");
    let one = |port: &u16| format!("cluster {{ name: test, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}");
    ports.iter().map(one).collect()
}

fn spawn(dir: &Path) -> (Guarded, u16) {
    let ports_dir = dir.join("ports");
    // Left by a server that was killed.
    let _ = std::fs::remove_dir_all(&ports_dir);
    std::fs::create_dir_all(&ports_dir).unwrap();
    let mut command = Command::new(binary());
    let process = Guarded::spawn(command.arg("-c").arg(dir.join("nats-server.conf")), dir.join("nats.log"));
    let port = eventually("nats-server listens", || {
        let file = std::fs::read_dir(&ports_dir).unwrap().flatten().next().ok_or_else(|| process.log_tail())?;
        let text = std::fs::read_to_string(file.path()).map_err(|e| e.to_string())?;
        let ports: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        let url = ports["nats"][0].as_str().ok_or("no address")?.to_owned();
        url.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).ok_or(url)
    });
    (process, port)
}

fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("PILOTHOUSE_NATS_SERVER") {
        return path.into();
    }
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/nats-server");
    assert!(kept.is_file(), "no nats-server: run `cargo xtask fetch`, or name one in PILOTHOUSE_NATS_SERVER");
    kept
}
