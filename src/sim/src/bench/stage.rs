//! What the benchmark runs against: processes of its own, in a directory that is removed afterwards.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const START_TIME_MAX: Duration = Duration::from_secs(60);

/// A `pilothouse dev` of its own.
pub struct Dev {
    process: Child,
    pub file: DevFile,
}

#[derive(Deserialize)]
pub struct DevFile {
    pub https_url: String,
    pub ca_cert: PathBuf,
    pub api_key: String,
}

impl Dev {
    pub async fn start(data_dir: &Path) -> Result<Dev> {
        let process = Command::new(this_binary()?)
            .args(["dev", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--nats-port", "0", "--data-dir"])
            .arg(data_dir)
            // One client stands for a whole fleet here, which the limits are there to prevent.
            .envs(LIMITS_OFF.map(|name| (format!("PILOTHOUSE_LIMITS_{name}"), "100000")))
            .env("PILOTHOUSE_LOG_LEVEL", "warn")
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("could not start pilothouse dev")?;
        let mut dev = Dev { process, file: DevFile::empty() };
        let path = data_dir.join("dev.json");
        let began = Instant::now();
        while began.elapsed() < START_TIME_MAX {
            if let Ok(text) = std::fs::read(&path) {
                dev.file = serde_json::from_slice(&text).context("dev.json cannot be read")?;
                return Ok(dev);
            }
            if let Some(status) = dev.process.try_wait()? {
                bail!("pilothouse dev ended: {status}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("pilothouse dev was not ready after {} s", START_TIME_MAX.as_secs())
    }

    pub fn pid(&self) -> Result<u32> {
        self.process.id().context("pilothouse dev has ended")
    }

    pub async fn stop(mut self) -> Result<()> {
        if let Some(pid) = self.process.id() {
            Command::new("kill").arg(pid.to_string()).status().await?;
        }
        self.process.wait().await?;
        Ok(())
    }
}

impl DevFile {
    fn empty() -> DevFile {
        DevFile { https_url: String::new(), ca_cert: PathBuf::new(), api_key: String::new() }
    }
}

const LIMITS_OFF: [&str; 4] = ["NODE_PER_S", "NODE_BURST", "REGISTRATION_PER_S", "REGISTRATION_BURST"];

/// Starts the baseline server; returns it with its address.
pub async fn baseline(ca_file: &Path) -> Result<(Child, std::net::SocketAddr)> {
    let mut process = Command::new(this_binary()?)
        .args(["bench", "baseline", "--ca-file"])
        .arg(ca_file)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("could not start the baseline")?;
    let stdout = process.stdout.take().context("the baseline has no output")?;
    let line = BufReader::new(stdout).lines().next_line().await?.context("the baseline said nothing")?;
    Ok((process, line.parse().context("the baseline's address")?))
}

fn this_binary() -> Result<PathBuf> {
    std::env::current_exe().context("could not find this binary")
}

/// Processor time of a process so far, in microseconds (proc(5): fields 14 and 15, in ticks of 10 ms).
pub fn cpu_us(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("/proc/<pid>/stat has another form")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? * 10_000.0)
}
