//! Replicas of `pilothouse serve` on one nats-server or three, made as an operator would: `init`, a server configuration, settings.

use super::dev::{Reply, curl};
use super::nats::NatsServer;
use super::process::{Guarded, binary};
use super::{PATIENCE, eventually, within};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub struct Replicas {
    pub dir: tempfile::TempDir,
    pub nats: Vec<NatsServer>,
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
        Replicas::start_on(1, count, settings)
    }

    /// With this many nats-servers, and as many copies of each stream.
    pub fn start_on(servers: usize, count: usize, settings: &[(&str, &str)]) -> Replicas {
        let dir = tempfile::tempdir().unwrap();
        let installation = dir.path().join("installation");
        let init = Command::new(binary("pilothouse")).args(["init", "--dir"]).arg(&installation).output().unwrap();
        assert!(init.status.success(), "{init:?}");
        let nats = NatsServer::start(dir.path(), servers);
        let replicas = (0..count).map(|i| Replica::start(dir.path(), i, &nats, settings)).collect();
        let mut all = Replicas { dir, nats, replicas, api_key: String::new() };
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
        self.nats[0].url()
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

    /// Runs `pilothouse …` as the first operator; any replica answers.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        self.cli_at(0, arguments)
    }

    /// Connected to that nats-server.
    pub fn cli_at(&self, server: usize, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary("pilothouse"));
        command.args(arguments).args(["--server", &self.nats[server].url(), "--creds"]).arg(self.creds());
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
    fn start(dir: &Path, index: usize, nats: &[NatsServer], settings: &[(&str, &str)]) -> Replica {
        let (urls, copies) = (nats.iter().map(NatsServer::url).collect::<Vec<_>>(), nats.len());
        let config = dir.join(format!("replica-{index}.toml"));
        let text = format!(
            "[http]\nlisten = \"127.0.0.1:0\"\n[https]\nlisten = \"\"\n[nats]\nservers = {urls:?}\n\
             runtime_creds = \"installation/service.creds\"\nprovisioning_creds = \"installation/provisioning.creds\"\n\
             monitor_creds = \"installation/monitor.creds\"\n[keys]\nmaster_key = \"installation/master.key\"\n\
             [storage]\nreplicas = {copies}\n[log]\nformat = \"json\"\n"
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
