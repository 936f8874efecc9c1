//! Where the nats-server program is.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::NatsError;

pub(super) const VARIABLE: &str = "PILOTHOUSE_NATS_SERVER";
/// Atomic batches and the settings that the streams rely on are there from this version on.
pub(super) const OLDEST: Version = Version { major: 2, minor: 15, patch: 0 };
const NAME: &str = "nats-server";
const VERSION_WAIT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Version {
    /// Reads `nats-server: v2.15.1`; a suffix such as `-beta.2` is not looked at.
    fn parse(output: &str) -> Option<Self> {
        let numbers = output.trim().strip_prefix("nats-server: v")?.split(['-', '+']).next()?;
        let mut parts = numbers.split('.').map(|part| part.parse().ok());
        let version = Self { major: parts.next()??, minor: parts.next()??, patch: parts.next()?? };
        parts.next().is_none().then_some(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A nats-server that was run once and said a version that is new enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsBinary {
    path: PathBuf,
    version: Version,
}

impl NatsBinary {
    /// The one that `PILOTHOUSE_NATS_SERVER` names; else on the PATH; else `.tools/nats-server` in the working directory, in
    /// the directory of this executable, or in one above either.
    pub async fn find() -> Result<Self, NatsError> {
        Search {
            named: std::env::var_os(VARIABLE).filter(|name| !name.is_empty()),
            path: std::env::var_os("PATH").unwrap_or_default(),
            directory: std::env::current_dir().ok(),
            executable: std::env::current_exe().ok(),
        }
        .run()
        .await
    }

    /// Absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Such as `2.15.1`.
    pub fn version(&self) -> String {
        self.version.to_string()
    }
}

/// What the search depends on, so that a test can say it.
struct Search {
    named: Option<OsString>,
    path: OsString,
    directory: Option<PathBuf>,
    executable: Option<PathBuf>,
}

impl Search {
    async fn run(&self) -> Result<NatsBinary, NatsError> {
        if let Some(named) = &self.named {
            let path = PathBuf::from(named);
            return inspect(&path).await.map_err(|reason| NatsError::Unusable { path, reason });
        }
        let mut rejected = Vec::new();
        for candidate in self.candidates() {
            match inspect(&candidate).await {
                Ok(found) => return Ok(found),
                Err(reason) => rejected.push(format!("{} {reason}", candidate.display())),
            }
        }
        let rejected = if rejected.is_empty() { String::new() } else { format!(" ({})", rejected.join(", ")) };
        Err(NatsError::NotFound { rejected })
    }

    fn candidates(&self) -> Vec<PathBuf> {
        let on_path = std::env::split_paths(&self.path).map(|directory| directory.join(NAME));
        let tools = [&self.directory, &self.executable].into_iter().flatten().flat_map(|from| from.ancestors());
        let tools = tools.map(|directory| directory.join(".tools").join(NAME)).filter(|path| self.is_trusted(path));
        let mut candidates: Vec<PathBuf> = Vec::new();
        for candidate in on_path.chain(tools).filter(|path| path.is_file()) {
            if !candidates.contains(&candidate) {
                candidates.push(candidate);
            }
        }
        candidates
    }

    /// A directory above may be open to everybody, like `/tmp`: what lies there is run only when it belongs to somebody whose
    /// programs run here anyway, which are we, root, and the owner of this executable.
    fn is_trusted(&self, path: &Path) -> bool {
        let owner = |path: &Path| std::fs::metadata(path).map(|found| found.uid()).ok();
        let ours = rustix::process::geteuid().as_raw();
        let of_executable = self.executable.as_deref().and_then(owner);
        owner(path).is_some_and(|uid| uid == 0 || uid == ours || Some(uid) == of_executable)
    }
}

/// Runs `<path> --version`. The error continues a sentence that begins with the path.
async fn inspect(path: &Path) -> Result<NatsBinary, String> {
    let path = std::path::absolute(path).map_err(|error| format!("has no absolute path: {error}"))?;
    let mut command = tokio::process::Command::new(&path);
    command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(VERSION_WAIT, command.output()).await {
        Err(_) => return Err(format!("says no version within {} s", VERSION_WAIT.as_secs())),
        Ok(Err(error)) => return Err(format!("cannot be run: {error}")),
        Ok(Ok(output)) => output,
    };
    match Version::parse(&String::from_utf8_lossy(&output.stdout)) {
        None => Err("is no nats-server".to_owned()),
        Some(version) if version < OLDEST => Err(format!("is version {version}")),
        Some(version) => Ok(NatsBinary { path, version }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn program(path: &Path, says: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn search(root: &Path) -> Search {
        Search {
            named: None,
            path: root.join("bin").into(),
            directory: Some(root.join("work/deep/down")),
            executable: Some(root.join("workspace/target/debug/pilothouse")),
        }
    }

    /// One test: a program that another thread is still writing while this one forks could not be run.
    #[tokio::test]
    async fn the_first_usable_one_in_the_promised_order_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let nothing = search(root).run().await.unwrap_err().to_string();
        assert_eq!(nothing, "there is no nats-server >= 2.15.0: run `cargo xtask fetch`, or put one on the PATH");

        let old = root.join("bin/nats-server");
        program(&old, "nats-server: v2.10.7");
        let too_old = search(root).run().await.unwrap_err().to_string();
        assert_eq!(
            too_old,
            format!(
                "there is no nats-server >= 2.15.0 ({} is version 2.10.7): run `cargo xtask fetch`, or put one on the PATH",
                old.display()
            )
        );

        let by_executable = root.join("workspace/.tools/nats-server");
        program(&by_executable, "nats-server: v2.15.0");
        assert_eq!(search(root).run().await.unwrap().path(), by_executable);
        let by_directory = root.join("work/.tools/nats-server");
        program(&by_directory, "nats-server: v2.16.0-RC.1");
        assert_eq!(search(root).run().await.unwrap().path(), by_directory);
        program(&old, "nats-server: v2.15.1");
        let found = search(root).run().await.unwrap();
        assert_eq!((found.path(), found.version().as_str()), (old.as_path(), "2.15.1"));

        let named = root.join("named");
        program(&named, "something else");
        let wrong = Search { named: Some(named.clone().into()), ..search(root) }.run().await.unwrap_err().to_string();
        assert_eq!(
            wrong,
            format!(
                "PILOTHOUSE_NATS_SERVER names {}, which is no nats-server: run `cargo xtask fetch`, or name a nats-server >= \
                 2.15.0",
                named.display()
            )
        );
        let missing = Search { named: Some(root.join("missing").into()), ..search(root) }.run().await.unwrap_err();
        assert!(
            matches!(missing, NatsError::Unusable { .. }),
            "what was named is never replaced by another: {missing}"
        );
    }

    #[test]
    fn versions_are_compared_as_numbers_and_other_texts_are_none() {
        let parse = |text: &str| Version::parse(text);
        assert!(parse("nats-server: v2.9.25").unwrap() < OLDEST);
        assert!(parse("nats-server: v10.0.0").unwrap() > OLDEST);
        for text in ["", "nats-server: v2.15", "nats-server: v2.15.1.4", "nats-server: v2.x.1", "2.15.1"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
