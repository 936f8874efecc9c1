//! The directory that one running Pilothouse owns.
//!
//! Invariant: while a [`DataDir`] or a clone of it lives, no other process has one for the same directory. The lock is the
//! kernel's (`flock`), so it ends with the process however that ends; child processes do not inherit it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::files::{self, FileError};

const LOCK_FILE: &str = "lock";
/// A process id in decimal.
const HOLDER_BYTES_MAX: u64 = 20;

#[derive(Debug, Error)]
pub enum DataDirError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("could not lock {}", path.display())]
    Lock {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "the data directory {} is in use by another pilothouse{holder}: stop that one or choose another directory with --data-dir",
        path.display()
    )]
    InUse {
        path: PathBuf,
        /// ` (process 123)`, or empty.
        holder: String,
    },
}

/// An existing private directory, locked for this process.
#[derive(Debug, Clone)]
pub struct DataDir {
    path: PathBuf,
    _lock: Arc<File>,
}

impl DataDir {
    /// Creates the directory where it is missing (mode 0700) and locks it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        files::ensure_private_dir(path)?;
        let lock_error = |source| DataDirError::Lock { path: path.to_owned(), source };
        let path = path.canonicalize().map_err(lock_error)?;
        let lock_error = |source| DataDirError::Lock { path: path.clone(), source };
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK_FILE))
            .map_err(lock_error)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataDirError::InUse { holder: holder(&mut lock), path }),
            Err(TryLockError::Error(source)) => return Err(lock_error(source)),
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| lock.write_all(std::process::id().to_string().as_bytes()))
            .map_err(lock_error)?;
        Ok(Self { path, _lock: Arc::new(lock) })
    }

    /// The directory, absolute and free of links.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Who holds the lock, for the message alone.
fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    let read = lock.take(HOLDER_BYTES_MAX).read_to_string(&mut text);
    match (read, text.parse::<u32>()) {
        (Ok(_), Ok(pid)) => format!(" (process {pid})"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_second_one_is_told_who_was_first() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let first = DataDir::open(&path).unwrap();
        let text = DataDir::open(&path).unwrap_err().to_string();
        let expected = format!(
            "the data directory {} is in use by another pilothouse (process {}): stop that one or choose another directory \
             with --data-dir",
            first.path().display(),
            std::process::id()
        );
        assert_eq!(text, expected);
        let clone = first.clone();
        drop(first);
        assert!(matches!(DataDir::open(&path), Err(DataDirError::InUse { .. })), "a clone still holds it");
        drop(clone);
        DataDir::open(&path).unwrap();
    }
}
