//! `pilothouse dev` on ports of its own, and the clients that talk to it: curl and the CLI.

use super::process::{Guarded, binary, children_of};
use super::{PATIENCE, eventually, within};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub struct Dev {
    pub dir: tempfile::TempDir,
    pub file: DevFile,
    process: Guarded,
}

/// `dev.json`
#[derive(Clone)]
pub struct DevFile(pub Value);

/// What curl got.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Value,
    pub text: String,
}

impl DevFile {
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_else(|| panic!("dev.json has no {name}"))
    }

    /// Port of an address such as `http://127.0.0.1:4000`.
    fn port(&self, name: &str) -> String {
        self.get(name).rsplit_once(':').unwrap().1.to_owned()
    }
}

impl Dev {
    pub fn start() -> Dev {
        Dev::start_with(&[])
    }

    /// `settings` are environment variables of the control plane.
    pub fn start_with(settings: &[(&str, &str)]) -> Dev {
        let dir = tempfile::tempdir().unwrap();
        let ports = ["127.0.0.1:0", "127.0.0.1:0", "0"].map(str::to_owned);
        let process = spawn(dir.path(), &ports, settings);
        let mut dev = Dev { dir, file: DevFile(Value::Null), process };
        dev.wait_ready();
        dev
    }

    /// Kills the control plane where it stands. Its nats-server goes with it.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Starts again on the same directory and ports.
    pub fn restart(&mut self, settings: &[(&str, &str)]) {
        let listen = |name| format!("127.0.0.1:{}", self.file.port(name));
        let ports = [listen("http_url"), listen("https_url"), self.file.port("nats_url")];
        std::fs::remove_file(self.data_dir().join("dev.json")).unwrap();
        self.process = spawn(self.dir.path(), &ports, settings);
        self.wait_ready();
    }

    /// SIGTERM, and the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.process.signal(rustix::process::Signal::TERM);
        self.process.wait().code()
    }

    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    /// The nats-server that this control plane started.
    pub fn nats_pid(&self) -> i32 {
        let is_nats = |pid: &i32| {
            std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("nats-server"))
        };
        eventually("a nats-server runs", || {
            children_of(self.pid()).into_iter().find(is_nats).ok_or_else(|| "no such child".to_owned())
        })
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.file.get("http_url"))
    }

    /// Runs curl with what every call has.
    pub fn curl(&self, arguments: &[&str], path: &str) -> Reply {
        curl(arguments, &self.url(path))
    }

    /// A call as an operator, with the API key.
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let bearer = format!("Authorization: Bearer {}", self.file.get("api_key"));
        let text = body.map(Value::to_string).unwrap_or_default();
        let mut arguments = vec!["-X", method, "-H", &bearer];
        if body.is_some() {
            arguments.extend(["-H", "Content-Type: application/json", "--data-binary", &text]);
        }
        self.curl(&arguments, path)
    }

    /// Runs `pilothouse …` as the first operator.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary("pilothouse"));
        command.args(arguments).env("HOME", self.dir.path()).current_dir(self.dir.path());
        command.arg("--dev-file").arg(self.data_dir().join("dev.json"));
        command.output().unwrap()
    }

    /// The CLI's JSON answer; panics unless the exit code is 0.
    pub fn cli_json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.extend(["-o", "json"]);
        let output = self.cli(&all);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {}\n{err}\n{}", output.status, self.log_tail());
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{arguments:?} printed no JSON ({e}): {out}"))
    }

    fn wait_ready(&mut self) {
        let path = self.data_dir().join("dev.json");
        let read = |process: &mut Guarded| {
            if let Some(status) = process.exited() {
                panic!("pilothouse dev ended ({status}):\n{}", process.log_tail());
            }
            let text = std::fs::read_to_string(&path).map_err(|e| format!("{e}\n{}", process.log_tail()))?;
            serde_json::from_str(&text).map_err(|e| e.to_string())
        };
        let process = &mut self.process;
        self.file = DevFile(within(PATIENCE, "dev.json", || read(process)));
        eventually("ready", || {
            let reply = self.curl(&[], "/ready");
            if reply.status == 200 { Ok(()) } else { Err(reply.text) }
        });
    }
}

fn spawn(dir: &Path, [http, https, nats_port]: &[String; 3], settings: &[(&str, &str)]) -> Guarded {
    let mut command = Command::new(binary("pilothouse"));
    command.args(["dev", "--http", http, "--https", https, "--nats-port", nats_port, "--data-dir"]);
    command.arg(dir.join("data")).envs(settings.iter().copied());
    command.stdout(std::fs::File::options().create(true).append(true).open(dir.join("dev.out")).unwrap());
    Guarded::spawn(&mut command, dir.join("dev.log"))
}

pub fn curl(arguments: &[&str], url: &str) -> Reply {
    let output = Command::new("curl")
        .args(["-sS", "-i", "--max-time", "30", "--path-as-is", "-H", "Expect:"])
        .args(arguments)
        .arg(url)
        .output()
        .expect("curl is needed: install it (Debian, Ubuntu: `apt-get install curl`)");
    let text = String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n");
    let (headers, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let status = headers.split_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Reply {
        status,
        body: serde_json::from_str(body).unwrap_or(Value::Null),
        text: format!("{body}{}", String::from_utf8_lossy(&output.stderr)),
    }
}
