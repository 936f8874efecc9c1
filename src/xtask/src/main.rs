//! `cargo xtask`: the two commands of the README, `dev` and `test`, and what they need on a fresh machine.
//!
//! Absent on purpose: every crate of the workspace and everything slow to compile, because this runs before anything else is
//! built. Nothing here is needed to use Pilothouse; it only fetches, builds and runs.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

mod fetch;
mod step;
mod version;

const USAGE: &str = "\
usage: cargo xtask <command>

  dev [flags]   fetch nats-server, build, then run `pilothouse dev` with the same flags
  test          fetch nats-server, then formatting, clippy and every test
  test long     the same, with the long runs (hours) instead of their short form
  ci            the same as `test`
  fetch         only make sure that a nats-server >= 2.15 is there";

fn main() -> ExitCode {
    match run(std::env::args_os().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<OsString>) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(|a| a.to_str().unwrap_or("")).collect();
    let root = workspace_root()?;
    match words.as_slice() {
        ["fetch"] => fetch::nats_server(&root).map(drop),
        ["dev", ..] => dev(&root, &arguments[1..]),
        ["test" | "ci"] => test(&root, false),
        ["test" | "ci", "long"] => test(&root, true),
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("there is no `{}`\n\n{USAGE}", words.join(" ")),
    }
}

/// Builds, then becomes `pilothouse dev`: signals reach it directly and its exit code is ours.
fn dev(root: &Path, flags: &[OsString]) -> Result<()> {
    let nats_server = fetch::nats_server(root)?;
    step::run(cargo(root).args(["build", "--package", "pilothouse", "--package", "agent"]))?;
    let pilothouse = built_binary("pilothouse")?;
    let error = Command::new(&pilothouse).arg("dev").args(flags).env("PILOTHOUSE_NATS_SERVER", nats_server).exec();
    Err(error).with_context(|| format!("could not start {}", pilothouse.display()))
}

/// Everything that a change must pass. All builds use the same package selection, hence the same features: nothing is
/// compiled a second time because another crate was left out.
fn test(root: &Path, long: bool) -> Result<()> {
    let nats_server = fetch::nats_server(root)?;
    step::run(cargo(root).args(["fmt", "--all", "--check"]))?;
    step::run(cargo(root).args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    // The end-to-end tests run the real binaries, which `cargo test` alone does not build.
    step::run(cargo(root).args(["build", "--workspace"]))?;
    let mut tests = cargo(root);
    tests.args(["test", "--workspace", "--no-fail-fast"]).env("PILOTHOUSE_NATS_SERVER", nats_server);
    if long {
        tests.env("PILOTHOUSE_TEST_LONG", "1");
    }
    step::run(&mut tests)
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// The binaries land beside this one, wherever the target directory is.
fn built_binary(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe().context("could not find the directory of the built binaries")?;
    Ok(this.with_file_name(name))
}

fn workspace_root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map(Path::to_path_buf).context("xtask does not lie in src/xtask of the workspace")
}
