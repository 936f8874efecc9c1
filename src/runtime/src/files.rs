//! Files that outlive a crash and secrets that nobody else reads.
//!
//! Invariant: a reader sees the old content or the new one, never a part, also after a power loss: write beside the target,
//! fsync, rename, fsync the directory. A secret has mode 0600 from its first byte on. Contents never appear in an error.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use thiserror::Error;

/// Keys, credentials and master keys are far smaller; anything larger is the wrong file.
pub const SECRET_BYTES_MAX: u64 = 64 * 1024;

const SECRET_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;
const PRIVATE_DIR_MODE: u32 = 0o700;
const OTHERS: u32 = 0o077;

#[derive(Debug, Error)]
pub enum FileError {
    #[error("could not {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} can be read by other users (mode {mode:03o}): run `chmod 600 {}`", path.display(), path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{} is open to other users (mode {mode:03o}): run `chmod 700 {}` or choose another directory", path.display(), path.display())]
    OpenDirectory { path: PathBuf, mode: u32 },
    #[error("{} belongs to another user: choose a directory of your own", path.display())]
    ForeignDirectory { path: PathBuf },
    #[error("{} is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error("{} is not a directory", path.display())]
    NotADirectory { path: PathBuf },
    #[error("{} is larger than {SECRET_BYTES_MAX} bytes, which no key or credential is", path.display())]
    TooLarge { path: PathBuf },
}

impl FileError {
    fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// The error kind of the operating system, where it was the one to refuse.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } => Some(source.kind()),
            _ => None,
        }
    }
}

/// Replaces `path` by a file of mode 0600. A symbolic link at `path` is replaced, not followed.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write(path, bytes, SECRET_MODE)
}

/// Replaces `path` by a file that everybody may read (0644, less the umask), for certificates and the like.
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write(path, bytes, PUBLIC_MODE)
}

/// Reads a secret of at most [`SECRET_BYTES_MAX`]; refuses a file that its group or the world can open.
pub fn read_secret(path: &Path) -> Result<Vec<u8>, FileError> {
    // Asked before opening, because opening a pipe would wait for its writer.
    let found = fs::metadata(path).map_err(FileError::io("read", path))?;
    if !found.is_file() {
        return Err(FileError::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(FileError::io("read", path))?;
    let mode = file.metadata().map_err(FileError::io("read", path))?.mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(FileError::Exposed { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(FileError::io("read", path))?;
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        return Err(FileError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

/// Makes sure that `path` is a directory of mode 0700 of ours, parents included.
///
/// An existing empty directory of ours is tightened; one that holds something and is open to others is refused rather than
/// changed, because `--data-dir /srv` must not close `/srv`.
pub fn ensure_private_dir(path: &Path) -> Result<(), FileError> {
    let create = DirBuilder::new().recursive(true).mode(PRIVATE_DIR_MODE).create(path);
    if let Err(error) = create
        && !path.exists()
    {
        return Err(FileError::io("create the directory", path)(error));
    }
    let found = fs::metadata(path).map_err(FileError::io("look at", path))?;
    if !found.is_dir() {
        return Err(FileError::NotADirectory { path: path.to_owned() });
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(FileError::ForeignDirectory { path: path.to_owned() });
    }
    let mode = found.mode() & 0o777;
    if mode & OTHERS == 0 {
        return Ok(());
    }
    let empty = fs::read_dir(path).map_err(FileError::io("list", path))?.next().is_none();
    if !empty {
        return Err(FileError::OpenDirectory { path: path.to_owned(), mode });
    }
    fs::set_permissions(path, fs::Permissions::from_mode(PRIVATE_DIR_MODE)).map_err(FileError::io("close", path))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let beside = directory.join(temporary_name(path));
    let written = write_synced(&beside, bytes, mode).and_then(|()| fs::rename(&beside, path));
    if let Err(error) = written {
        // The first error is the one to report; a leftover has the mode of the target and hurts nobody.
        let _ = fs::remove_file(&beside);
        return Err(FileError::io("write", path)(error));
    }
    File::open(directory).and_then(|opened| opened.sync_all()).map_err(FileError::io("sync", directory))
}

fn write_synced(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Not used by any other writer, also not by an earlier process of the same id.
fn temporary_name(path: &Path) -> String {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let write = WRITES.fetch_add(1, Ordering::Relaxed);
    format!(".{name}.{}.{now:x}.{write}.tmp", std::process::id())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_secret_is_private_replaced_whole_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("operator.creds");
        write_secret(&path, b"first").unwrap();
        write_secret(&path, b"second").unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(read_secret(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_link_at_the_target_is_replaced_and_what_it_names_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, path) = (dir.path().join("victim"), dir.path().join("key"));
        fs::write(&victim, b"untouched").unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        write_secret(&path, b"key").unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"untouched");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused_with_the_cure() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        for exposed in [0o640, 0o604, 0o660] {
            fs::write(&path, b"k").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(exposed)).unwrap();
            let text = read_secret(&path).unwrap_err().to_string();
            let shown = path.display();
            assert_eq!(
                text,
                format!("{shown} can be read by other users (mode {exposed:03o}): run `chmod 600 {shown}`")
            );
        }
    }

    #[test]
    fn what_is_no_secret_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(read_secret(dir.path()), Err(FileError::NotAFile { .. })));
        let missing = read_secret(&dir.path().join("missing")).unwrap_err();
        assert_eq!(missing.io_kind(), Some(io::ErrorKind::NotFound));
        let large = dir.path().join("large");
        write_secret(&large, &vec![0; SECRET_BYTES_MAX as usize + 1]).unwrap();
        assert!(matches!(read_secret(&large), Err(FileError::TooLarge { .. })));
    }

    #[test]
    fn a_failed_write_leaves_the_old_content_and_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), b"kept").unwrap();
        assert!(write_secret(&path, b"x").is_err());
        assert_eq!(fs::read(path.join("inside")).unwrap(), b"kept");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_public_file_is_readable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        write_public(&path, b"pem").unwrap();
        assert_eq!(mode(&path) & 0o600, 0o600);
        assert_eq!(mode(&path) & 0o022, 0, "never writable by others");
    }

    #[test]
    fn private_directories_are_made_tightened_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let made = dir.path().join("a/b");
        ensure_private_dir(&made).unwrap();
        assert_eq!((mode(&made), mode(made.parent().unwrap())), (0o700, 0o700));
        fs::set_permissions(&made, fs::Permissions::from_mode(0o755)).unwrap();
        ensure_private_dir(&made).unwrap();
        assert_eq!(mode(&made), 0o700, "an empty one is tightened");
        fs::write(made.join("something"), b"").unwrap();
        fs::set_permissions(&made, fs::Permissions::from_mode(0o755)).unwrap();
        let refused = ensure_private_dir(&made).unwrap_err().to_string();
        assert!(refused.contains("chmod 700"), "{refused}");
        assert_eq!(mode(&made), 0o755, "a directory in use is not changed");
        assert!(matches!(ensure_private_dir(&made.join("something")), Err(FileError::NotADirectory { .. })));
    }
}
