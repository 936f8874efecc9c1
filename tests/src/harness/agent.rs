//! Agents: the real `pilothouse-agent`, each in a directory of its own.

use super::dev::Dev;
use super::process::{Guarded, binary};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A configuration of two routes, as an operator would write it.
pub const SAMPLE: &str = r#"// Two routes to one upstream, on loopback addresses.
system {
    worker-threads 1
}
listeners {
    listener "http" {
        address "127.0.0.1:8080"
        protocol "http"
    }
}
routes {
    route "api" {
        priority "high"
        matches {
            path-prefix "/api"
        }
        upstream "backend"
    }
    route "rest" {
        priority "low"
        matches {
            path-prefix "/"
        }
        upstream "backend"
    }
}
upstreams {
    upstream "backend" {
        target "127.0.0.1:9000"
    }
}
observability {
    metrics {
        address "127.0.0.1:9090"
    }
}
"#;

pub struct Agent {
    pub name: String,
    pub dir: PathBuf,
    process: Guarded,
    command: Vec<String>,
    url: String,
    /// Flags that say how often it asks.
    pace: &'static [&'static str],
}

/// Quick questions, each answered at once.
const POLLING: &[&str] = &["--poll-interval-s", "1"];

impl Agent {
    /// `command` is what the agent runs to activate a bundle.
    pub fn start(dev: &Dev, name: &str, command: &[&str]) -> Agent {
        Agent::start_at(dev.file.get("http_url"), dev.dir.path(), name, command)
    }

    /// The same against any control plane, in a directory below `parent`.
    pub fn start_at(url: &str, parent: &Path, name: &str, command: &[&str]) -> Agent {
        Agent::start_paced(url, parent, name, command, POLLING)
    }

    /// One that waits for its offers, as agents do where nothing else is said.
    pub fn start_waiting(dev: &Dev, name: &str, command: &[&str]) -> Agent {
        Agent::start_paced(dev.file.get("http_url"), dev.dir.path(), name, command, &[])
    }

    fn start_paced(url: &str, parent: &Path, name: &str, command: &[&str], pace: &'static [&'static str]) -> Agent {
        let dir = parent.join(name);
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let process = spawn(url, name, &dir, &command, pace);
        Agent { name: name.to_owned(), dir, process, command, url: url.to_owned(), pace }
    }

    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    pub fn restart(&mut self) {
        self.process = spawn(&self.url, &self.name, &self.dir, &self.command, self.pace);
    }

    /// What the agent keeps of its registration.
    pub fn credentials(&self) -> Value {
        let text = std::fs::read_to_string(self.dir.join("credentials.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// The configuration that `current` leads to.
    pub fn current_config(&self) -> Result<String, String> {
        let path = self.dir.join("current").join("zentinel.kdl");
        std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}\n{}", path.display(), self.process.log_tail()))
    }
}

fn spawn(url: &str, name: &str, dir: &PathBuf, command: &[String], pace: &[&str]) -> Guarded {
    std::fs::create_dir_all(dir).unwrap();
    let mut agent = Command::new(binary("pilothouse-agent"));
    agent.args(["run", "--server-url", url, "--project", "demo", "--name", name, "--label", "env=test"]);
    agent.args(pace).args(["--heartbeat-interval-s", "1", "--data-dir"]).arg(dir);
    if !command.is_empty() {
        agent.arg("--command").arg(serde_json::to_string(command).unwrap());
    }
    let log = dir.with_extension("log");
    Guarded::spawn(agent.stdout(std::process::Stdio::null()), log)
}
