//! One step of a task: says what it runs, runs it, says how long it took.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// Runs `command` with our own input and output. A failure names the command, so that it can be run alone.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    eprintln!("xtask: {shown}");
    let started = Instant::now();
    let status = command.status().with_context(|| format!("could not run `{shown}`"))?;
    let seconds = started.elapsed().as_secs_f64();
    if !status.success() {
        bail!("`{shown}` failed after {seconds:.1} s ({status})");
    }
    eprintln!("xtask: {shown}: {seconds:.1} s");
    Ok(())
}

/// The command line as a person would type it; the program by its name alone.
fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(name)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_step_names_the_command_to_repeat() {
        let error = run(Command::new("/bin/sh").args(["-c", "exit 3"])).expect_err("exit code 3");
        let text = format!("{error:#}");
        assert!(text.starts_with("`sh -c exit 3` failed after "), "{text}");
        assert!(text.ends_with("(exit status: 3)"), "{text}");
    }
}
