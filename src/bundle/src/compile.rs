//! From a configuration to an archive, or to the list of what is wrong with it.
//!
//! The proxy's configuration library recurses and, on some inputs, panics; it therefore runs behind the guard, on a thread
//! of its own with a large stack, and its panics end that thread only.

use crate::guard;
use crate::manifest::FileEntry;
use crate::pack::pack;
use crate::problem::{Problem, bounded};
use crate::validate::{Findings, validate};
use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// The name of the configuration in the archive.
pub const CONFIG_FILE: &str = "zentinel.kdl";

/// Blocks nested as deep as the guard allows need a hundredth of it, also without optimisation.
const STACK_BYTES: usize = 64 * 1024 * 1024;
const THREAD_NAME: &str = "bundle-validate";
/// A megabyte of the worst valid configuration takes seconds.
const VALIDATE_TIME_MAX: Duration = Duration::from_secs(60);

/// How large a configuration may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub source_bytes_max: usize,
    /// Of blocks, and apart from that of comments. More than 64 count as 64.
    pub nesting_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { source_bytes_max: 1024 * 1024, nesting_max: 32 }
    }
}

/// A configuration that the proxy accepts, packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// A `.tar.zst` that holds `manifest.json` and `zentinel.kdl`.
    pub archive: Vec<u8>,
    /// SHA-256 of the archive, lower-case hex.
    pub digest: String,
    /// What is in the archive, without the manifest itself.
    pub files: Vec<FileEntry>,
    /// At most 100, in the order of the file.
    pub warnings: Vec<Problem>,
}

/// Validates a configuration and packs it, exactly as given. Blocks for up to a minute on hostile input, normally for
/// milliseconds. The answer depends on nothing but the arguments.
///
/// Errors: 1 to 100 problems, in the order of the file.
pub fn compile(source: &str, limits: &Limits) -> Result<Compiled, Vec<Problem>> {
    guard::check(source, limits).map_err(|problem| vec![problem])?;
    let text = source.to_owned();
    let Findings { errors, warnings } = isolated(move || validate(&text)).map_err(|problem| vec![problem])?;
    if !errors.is_empty() {
        return Err(bounded(errors));
    }
    let files = BTreeMap::from([(CONFIG_FILE.to_owned(), source.as_bytes().to_vec())]);
    let packed = pack(&files);
    Ok(Compiled { archive: packed.archive, digest: packed.digest, files: packed.files, warnings: bounded(warnings) })
}

/// Runs `work` where neither its recursion, nor its panics, nor its duration hurt the caller.
fn isolated<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    silence_panics();
    let (answer, answers) = mpsc::sync_channel(1);
    let run = move || {
        let result = panic::catch_unwind(AssertUnwindSafe(work));
        // Nobody listens any more only when the time was over.
        let _ = answer.send(result);
    };
    let spawned = thread::Builder::new().name(THREAD_NAME.to_owned()).stack_size(STACK_BYTES).spawn(run);
    if let Err(error) = spawned {
        return Err(Problem::new("validator_unavailable", format!("the validator could not be started: {error}")));
    }
    match answers.recv_timeout(VALIDATE_TIME_MAX) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(panic)) => Err(parser_panic(panic.as_ref())),
        Err(RecvTimeoutError::Disconnected) => Err(parser_panic(&"")),
        Err(RecvTimeoutError::Timeout) => {
            let seconds = VALIDATE_TIME_MAX.as_secs();
            Err(Problem::new("too_slow", format!("the configuration could not be validated within {seconds} seconds")))
        }
    }
}

fn parser_panic(panic: &(dyn Any + Send)) -> Problem {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let cause = text.filter(|text| !text.is_empty()).unwrap_or("for no stated reason");
    let message = format!("the proxy's configuration parser panics on this configuration: {cause}");
    Problem::new("parser_panic", message)
        .help("the proxy itself would panic as well; look for durations with a wrong unit")
}

/// Keeps the validator's panics out of the log; all others go to the hook that was there before.
fn silence_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if thread::current().name() != Some(THREAD_NAME) {
                before(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests;
