//! Two replicas of `pilothouse serve` on one nats-server, made as an operator would: `init`, a server configuration, settings.

use super::dev::{Reply, curl};
use super::process::{Guarded, binary};
use super::{PATIENCE, eventually, within};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub struct Replicas {
    pub dir: tempfile::TempDir,
    nats: Guarded,
    nats_port: u16,
    pub replicas: Vec<Replica>,
    pub api_key: String,
}

pub struct Replica {
    process: Guarded,
    /// `127.0.0.1:<port>`, the same over restarts.
    pub http: String,
    config: PathBuf,
}

impl Replicas {
    /// `settings` are environment variables of every replica.
    pub fn start(count: usize, settings: &[(&str, &str)]) -> Replicas {
        let dir = tempfile::tempdir().unwrap();
        let installation = dir.path().join("installation");
        let init = Command::new(binary("pilothouse")).args(["init", "--dir"]).arg(&installation).output().unwrap();
        assert!(init.status.success(), "{init:?}");
        let (nats, nats_port) = start_nats(dir.path(), None);
        let replicas = (0..count).map(|i| Replica::start(dir.path(), i, nats_port, settings)).collect();
        let mut all = Replicas { dir, nats, nats_port, replicas, api_key: String::new() };
        let created = all.cli(&["project", "create", "demo", "-o", "json"]);
        assert!(created.status.success(), "{created:?}");
        let key = all.cli(&["apikey", "create", "--name", "test", "-o", "json"]);
        assert!(key.status.success(), "{key:?}");
        let key: Value = serde_json::from_slice(&key.stdout).unwrap();
        key["key"].as_str().unwrap().clone_into(&mut all.api_key);
        all
    }

    pub fn creds(&self) -> PathBuf {
        self.dir.path().join("installation/admin.creds")
    }

    pub fn nats_url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.nats_port)
    }

    /// Facts in the journal whose subject matches, asked of the stream itself.
    pub fn count_facts(&self, filter: &str) -> usize {
        let creds = std::fs::read_to_string(self.dir.path().join("installation/service.creds")).unwrap();
        let body = format!(r#"{{"subjects_filter": "{filter}"}}"#);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let reply = runtime.block_on(async {
            let options = async_nats::ConnectOptions::with_credentials(&creds).unwrap();
            let client = options.custom_inbox_prefix("_INBOX.runtime").connect(self.nats_url()).await.unwrap();
            client.request("$JS.API.STREAM.INFO.FLEET", body.into()).await.unwrap()
        });
        let info: Value = serde_json::from_slice(&reply.payload).unwrap();
        let by_subject = info["state"]["subjects"].as_object();
        by_subject.map_or(0, |subjects| subjects.values().filter_map(Value::as_u64).sum::<u64>() as usize)
    }

    pub fn kill_replica(&mut self, index: usize) {
        self.replicas[index].process.kill9();
    }

    pub fn restart_replica(&mut self, index: usize, settings: &[(&str, &str)]) {
        let replica = &mut self.replicas[index];
        replica.process = spawn(
            &replica.config,
            &replica.process.log.clone(),
            &[settings, &[("PILOTHOUSE_HTTP_LISTEN", &replica.http.clone())]].concat(),
        );
        self.replicas[index].wait_ready();
    }

    /// Runs a further replica with other settings, which are expected to end it.
    pub fn serve_once(&self, settings: &[(&str, &str)]) -> Output {
        let mut command = Command::new(binary("pilothouse"));
        command.args(["serve", "--config"]).arg(&self.replicas[0].config).envs(settings.iter().copied());
        let log = self.dir.path().join("once.log");
        let mut process = Guarded::spawn(command.stdout(std::process::Stdio::null()), log.clone());
        let status = process.wait();
        Output { status, stdout: Vec::new(), stderr: std::fs::read(log).unwrap() }
    }

    pub fn kill_nats(&mut self) {
        self.nats.kill9();
    }

    pub fn restart_nats(&mut self) {
        let (nats, port) = start_nats(self.dir.path(), Some(self.nats_port));
        (self.nats, self.nats_port) = (nats, port);
    }

    /// Runs `pilothouse …` as the first operator; any replica answers.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary("pilothouse"));
        command.args(arguments).args(["--server", &self.nats_url(), "--creds"]).arg(self.creds());
        // A key that is made with a project is confined to it.
        if arguments[0] != "apikey" {
            command.args(["--project", "demo"]);
        }
        command.env("HOME", self.dir.path()).current_dir(self.dir.path()).output().unwrap()
    }

    /// A call of one replica with the API key.
    pub fn api(&self, index: usize, method: &str, path: &str, headers: &[&str], body: Option<&Value>) -> Reply {
        let bearer = format!("Authorization: Bearer {}", self.api_key);
        let text = body.map(Value::to_string).unwrap_or_default();
        let mut arguments = vec!["-X", method, "-H", &bearer];
        headers.iter().for_each(|header| arguments.extend(["-H", header]));
        if body.is_some() {
            arguments.extend(["-H", "Content-Type: application/json", "--data-binary", &text]);
        }
        curl(&arguments, &self.replicas[index].url(path))
    }
}

impl Replica {
    fn start(dir: &Path, index: usize, nats_port: u16, settings: &[(&str, &str)]) -> Replica {
        let config = dir.join(format!("replica-{index}.toml"));
        let text = format!(
            "[http]\nlisten = \"127.0.0.1:0\"\n[https]\nlisten = \"\"\n[nats]\nservers = [\"nats://127.0.0.1:{nats_port}\"]\n\
             runtime_creds = \"installation/service.creds\"\nprovisioning_creds = \"installation/provisioning.creds\"\n\
             monitor_creds = \"installation/monitor.creds\"\n[keys]\nmaster_key = \"installation/master.key\"\n\
             [log]\nformat = \"json\"\n"
        );
        std::fs::write(&config, text).unwrap();
        let log = dir.join(format!("replica-{index}.log"));
        let mut process = spawn(&config, &log, settings);
        let http = within(PATIENCE, "the replica says where it serves", || {
            if let Some(status) = process.exited() {
                panic!("replica {index} ended ({status}):\n{}", process.log_tail());
            }
            let text = std::fs::read_to_string(&log).map_err(|e| e.to_string())?;
            let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut addresses = lines.filter_map(|line| Some(line["http"].as_str()?.to_owned()));
            addresses.next().ok_or(text)
        });
        let replica = Replica { process, http, config };
        replica.wait_ready();
        replica
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    pub fn ready(&self) -> Reply {
        curl(&[], &self.url("/ready"))
    }

    fn wait_ready(&self) {
        eventually("the replica is ready", || {
            let reply = self.ready();
            if reply.status == 200 { Ok(()) } else { Err(format!("{}\n{}", reply.text, self.log_tail())) }
        });
    }
}

fn spawn(config: &Path, log: &Path, settings: &[(&str, &str)]) -> Guarded {
    let mut command = Command::new(binary("pilothouse"));
    command.args(["serve", "--config"]).arg(config).envs(settings.iter().copied());
    Guarded::spawn(command.stdout(std::process::Stdio::null()), log.to_owned())
}

/// A nats-server with the installation's operator, on a port that the system chose the first time.
fn start_nats(dir: &Path, port: Option<u16>) -> (Guarded, u16) {
    let ports_dir = dir.join("ports");
    // Left by a server that was killed.
    let _ = std::fs::remove_dir_all(&ports_dir);
    std::fs::create_dir_all(&ports_dir).unwrap();
    let listen = port.map_or(-1, i32::from);
    let text = format!(
        "listen: \"127.0.0.1:{listen}\"\nserver_name: test\nmax_payload: 2MB\nports_file_dir: {ports:?}\n\
         jetstream {{ store_dir: {store:?}, sync_interval: always }}\ninclude installation/installation.conf\n",
        ports = ports_dir,
        store = dir.join("store"),
    );
    let config = dir.join("nats-server.conf");
    std::fs::write(&config, text).unwrap();
    let server = nats_server();
    let process = Guarded::spawn(Command::new(server).arg("-c").arg(&config), dir.join("nats.log"));
    let port = eventually("nats-server listens", || {
        let file = std::fs::read_dir(&ports_dir).unwrap().flatten().next().ok_or_else(|| process.log_tail())?;
        let text = std::fs::read_to_string(file.path()).map_err(|e| e.to_string())?;
        let ports: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        let url = ports["nats"][0].as_str().ok_or("no address")?.to_owned();
        url.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).ok_or(url)
    });
    (process, port)
}

fn nats_server() -> PathBuf {
    if let Some(path) = std::env::var_os("PILOTHOUSE_NATS_SERVER") {
        return path.into();
    }
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/nats-server");
    assert!(kept.is_file(), "no nats-server: run `cargo xtask fetch`, or name one in PILOTHOUSE_NATS_SERVER");
    kept
}
