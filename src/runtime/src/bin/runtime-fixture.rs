//! Stands in for `pilothouse` in the tests of the supervised nats-server; it is never installed.
//!
//! `runtime-fixture run <data dir> <port>` starts a server, prints `<pid> <address>` and waits to be killed;
//! `runtime-fixture nats-child …` is the hidden subcommand that becomes the server.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use runtime::{DataDir, Launcher, NatsBinary, NatsConfig, NatsProcess};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let verb = arguments.next().unwrap_or_default();
    let result = match verb.to_str() {
        Some("nats-child") => Err(runtime::exec_bound_to_parent(arguments).into()),
        Some("run") => run(&arguments.map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>()),
        _ => Err("usage: runtime-fixture run <data dir> <port>".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("runtime-fixture: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [data_dir, port] = arguments else { return Err("two arguments are needed".into()) };
    let data_dir = DataDir::open(Path::new(data_dir))?;
    let config = NatsConfig {
        port: port.parse()?,
        ..NatsConfig::new(NatsBinary::find().await?, Launcher::this_binary("nats-child"))
    };
    let nats = NatsProcess::start(&data_dir, config).await?;
    let address = nats.wait_ready().await?;
    println!("{} {address}", nats.pid().ok_or("it was ready a moment ago")?);
    std::future::pending().await
}
