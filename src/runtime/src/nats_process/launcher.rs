//! Starting the server so that the kernel ends it with us.
//!
//! A process can ask to be killed when its parent dies, but only for itself. So we start a hidden subcommand of our own
//! program, which asks and then becomes nats-server: the process id stays, and the wish survives the change of program.
//! The kernel means the parent's *thread*: the one that starts the server must live as long as the server (`supervisor`).

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use super::NatsError;

/// How our own program is called again.
#[derive(Debug, Clone)]
pub struct Launcher {
    program: PathBuf,
    subcommand: String,
}

impl Launcher {
    /// The running program, which must hand the arguments after `subcommand` to [`exec_bound_to_parent`].
    pub fn this_binary(subcommand: &str) -> Self {
        // Names the program that runs, also after its file was replaced by a newer build.
        Self::of(Path::new("/proc/self/exe"), subcommand)
    }

    /// Another program with such a subcommand.
    pub fn of(program: &Path, subcommand: &str) -> Self {
        Self { program: program.to_owned(), subcommand: subcommand.to_owned() }
    }

    /// `server` with `arguments`, in a process group of its own: Ctrl-C is for us, and the server stops when we say so.
    pub(super) fn command(&self, server: &Path, arguments: &[&OsStr]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.program);
        command
            .arg(&self.subcommand)
            .arg(std::process::id().to_string())
            .arg(server)
            .args(arguments)
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

/// What the hidden subcommand does with the arguments that follow it: binds this process to its parent and becomes the server.
/// Returns only when that was not possible.
pub fn exec_bound_to_parent(arguments: impl IntoIterator<Item = OsString>) -> NatsError {
    let mut arguments = arguments.into_iter();
    let parent = arguments.next().and_then(|text| text.to_str()?.parse().ok()).and_then(Pid::from_raw);
    let (Some(parent), Some(server)) = (parent, arguments.next()) else {
        return NatsError::Child("is for pilothouse itself: it takes a process id and a command".to_owned());
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return NatsError::Child(format!("could not bind it to its parent: {error}"));
    }
    // The parent may have died before it was asked for: then no signal will come.
    if getppid() != Some(parent) {
        return NatsError::Child("has lost its parent".to_owned());
    }
    let error = std::process::Command::new(&server).args(arguments).exec();
    NatsError::Child(format!("could not run {}: {error}", server.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_who_calls_the_hidden_subcommand_is_told_so() {
        for arguments in [vec![], vec!["12"], vec!["x", "/bin/true"], vec!["0", "/bin/true"]] {
            let error = exec_bound_to_parent(arguments.into_iter().map(OsString::from));
            assert!(
                error.to_string().ends_with("is for pilothouse itself: it takes a process id and a command"),
                "{error}"
            );
        }
    }
}
