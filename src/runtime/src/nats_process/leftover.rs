//! Ending a server of an earlier run that outlived it.
//!
//! Two servers on one store destroy it, and nats-server itself does not lock its store. A process id alone proves nothing,
//! because it is given out again: only a process whose command line names our configuration file is ended, and it is held by
//! a pidfd from before that look on, so that the signal cannot reach another one.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::places::Places;
use super::{NatsError, conf};

const TERM_WAIT: Duration = Duration::from_secs(10);
const KILL_WAIT: Duration = Duration::from_secs(5);
/// A killed process frees its memory first and its port last.
const DYING_WAIT: Duration = Duration::from_secs(2);

enum Recorded {
    Ours,
    /// It has no command line any more, so nobody can say whose it was.
    Dying,
    Stranger,
}

/// Blocks for as long as the two waits together.
pub(super) fn end(places: &Places) -> Result<(), NatsError> {
    let Some(pid) = places.recorded_pid() else { return Ok(()) };
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(()) };
    match look_at(pid, &places.conf) {
        Recorded::Ours => {}
        Recorded::Dying => {
            // The one that died with its parent a moment ago; whatever it is, a port that stays taken is reported later.
            has_ended(&process, DYING_WAIT);
            return Ok(());
        }
        Recorded::Stranger => return Ok(()),
    }
    tracing::warn!(pid = pid.as_raw_pid(), "ending the nats-server of an earlier run");
    for (signal, wait) in [(Signal::TERM, TERM_WAIT), (Signal::KILL, KILL_WAIT)] {
        // A refused signal means that it has ended or that it is another user's; the wait tells which.
        let wait = if pidfd_send_signal(&process, signal).is_ok() { wait } else { Duration::ZERO };
        if has_ended(&process, wait) {
            return Ok(());
        }
    }
    Err(NatsError::LeftOver { pid: pid.as_raw_pid() })
}

/// A pidfd becomes readable when its process ends, also before anybody has waited for it.
fn has_ended(process: &OwnedFd, wait: Duration) -> bool {
    let wait = Timespec { tv_sec: wait.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: 0 };
    let readable = || poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&wait));
    retry_on_intr(readable).is_ok_and(|ready| ready > 0)
}

fn look_at(pid: Pid, conf: &Path) -> Recorded {
    let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_pid())).unwrap_or_default();
    if line.is_empty() {
        return Recorded::Dying;
    }
    let words: Vec<&OsStr> = line.split(|byte| *byte == 0).map(OsStr::from_bytes).collect();
    let ours = conf::arguments(conf);
    if words.windows(ours.len()).any(|window| window == ours) { Recorded::Ours } else { Recorded::Stranger }
}
