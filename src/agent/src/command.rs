//! Programs of the operator: with a time limit, in a process group of their own.
//!
//! Invariant: when the future ends or is dropped before the program succeeded, its whole group is killed. What a program that
//! succeeded left running (a proxy it started) is left alone. Absent: a shell, and any input.

use crate::call::printable;
use crate::progress::Bundle;
use crate::settings::CommandLine;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

/// What is kept of the error output, from its end.
const TAIL_BYTES_MAX: usize = 4096;
const REASON_CHARS_MAX: usize = 500;
const READ_BYTES: usize = 4096;
/// More than a pipe holds: what an ended program wrote is read in one turn, and one that writes for ever does not keep it.
const TURN_READS_MAX: usize = 64;

/// Runs the program for a bundle. The error is a sentence for operators with the end of the error output.
pub async fn run(line: &CommandLine, bundle: &Bundle, directory: &Path, limit: Duration) -> Result<(), String> {
    let Some((program, arguments)) = line.split() else { return Ok(()) };
    let failed = |what: &str, e: io::Error| format!("could not {what} {program}: {e}");
    let (errors, writer) = io::pipe().map_err(|e| failed("watch", e))?;
    let mut errors = receiver(errors).map_err(|e| failed("watch", e))?;
    let child = Command::new(program)
        .args(arguments)
        .env("PILOTHOUSE_BUNDLE_DIR", directory)
        .env("PILOTHOUSE_BUNDLE_ID", bundle.id.to_string())
        .env("PILOTHOUSE_BUNDLE_VERSION", bundle.version.as_str())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(writer)
        .process_group(0)
        .spawn()
        .map_err(|e| failed("start", e))?;
    let mut group = Group::of(child);
    let mut tail = Tail::default();
    let ended = tokio::time::timeout(limit, tail.read_until_exit(&mut group.child, &mut errors)).await;
    let Ok(status) = ended else {
        group.kill();
        return Err(with_tail(format!("{program} did not end within {} s", limit.as_secs_f64()), &tail));
    };
    let status = status.map_err(|e| failed("wait for", e))?;
    tail.drain(&mut errors);
    if status.success() {
        group.disarm();
        return Ok(());
    }
    Err(with_tail(format!("{program} failed ({status})"), &tail))
}

fn receiver(reader: PipeReader) -> io::Result<pipe::Receiver> {
    pipe::Receiver::from_owned_fd(OwnedFd::from(reader))
}

fn with_tail(sentence: String, tail: &Tail) -> String {
    let said = printable(&String::from_utf8_lossy(&tail.0), REASON_CHARS_MAX);
    if said.is_empty() { sentence } else { format!("{sentence}: {said}") }
}

/// A child and what it started, killed together unless disarmed.
struct Group {
    child: Child,
    id: Option<Pid>,
}

impl Group {
    fn of(child: Child) -> Group {
        let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Group { child, id }
    }

    fn disarm(&mut self) {
        self.id = None;
    }

    fn kill(&mut self) {
        if let Some(id) = self.id.take() {
            // An empty group is what is wanted.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    async fn read_until_exit(&mut self, child: &mut Child, errors: &mut pipe::Receiver) -> io::Result<ExitStatus> {
        let mut open = true;
        loop {
            tokio::select! {
                status = child.wait() => return status,
                ready = errors.readable(), if open => {
                    ready?;
                    open = self.drain(errors);
                }
            }
        }
    }

    /// Reads what is there; false at the end.
    fn drain(&mut self, errors: &mut pipe::Receiver) -> bool {
        let mut buffer = [0; READ_BYTES];
        for _ in 0..TURN_READS_MAX {
            match errors.try_read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => self.push(&buffer[..count]),
                Err(e) => return e.kind() == io::ErrorKind::WouldBlock,
            }
        }
        true
    }

    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        let excess = self.0.len().saturating_sub(TAIL_BYTES_MAX);
        self.0.drain(..excess);
    }
}

#[cfg(test)]
#[path = "command/tests.rs"]
mod tests;
