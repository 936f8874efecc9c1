//! The bundles on the disk: `bundles/<digest>/`, and the link `current` to one of them.
//!
//! Invariant: a directory `bundles/<digest>` is complete from the moment it has that name, and `current` names an old or a new
//! bundle at every moment, also after a power loss. What a crash leaves behind ends in `.tmp` or `.old`; [`Store::clean`]
//! removes it or puts it back. All calls block.

use bundle::{FileEntry, UnpackError, UnpackLimits};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use thiserror::Error;

const CURRENT: &str = "current";
const CURRENT_BESIDE: &str = ".current.tmp";
const BUNDLES: &str = "bundles";
const DOWNLOADS: &str = "downloads";
const DIGEST_CHARS: usize = 64;

#[derive(Debug, Error)]
pub enum StoreError {
    #[error("could not {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Unpack(#[from] UnpackError),
}

impl StoreError {
    fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + 'a {
        move |source| StoreError::Io { action, path: path.to_owned(), source }
    }

    /// The archive is at fault, not this host.
    pub fn is_archive(&self) -> bool {
        matches!(self, StoreError::Unpack(error) if !matches!(error, UnpackError::Io { .. } | UnpackError::NotEmpty { .. }))
    }
}

#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Makes the directories where they are missing.
    pub fn open(root: &Path) -> Result<Store, StoreError> {
        for name in [BUNDLES, DOWNLOADS] {
            let path = root.join(name);
            fs::create_dir_all(&path).map_err(StoreError::io("create", &path))?;
        }
        sync(root)?;
        Ok(Store { root: root.to_owned() })
    }

    pub fn bundle(&self, digest: &str) -> PathBuf {
        self.root.join(BUNDLES).join(digest)
    }

    /// Where a download of this archive is gathered.
    pub fn download(&self, digest: &str) -> PathBuf {
        self.root.join(DOWNLOADS).join(format!("{digest}.part"))
    }

    pub fn has(&self, digest: &str) -> bool {
        self.bundle(digest).is_dir()
    }

    /// The digest that `current` leads to.
    pub fn current(&self) -> Option<String> {
        let target = fs::read_link(self.root.join(CURRENT)).ok()?;
        target.strip_prefix(BUNDLES).ok()?.to_str().map(str::to_owned)
    }

    /// Unpacks a verified archive. What stands there under the same digest is kept when it is unchanged, because `current`
    /// may lead to it, and replaced when somebody changed it.
    pub fn install(&self, archive: &[u8], digest: &str, limits: &UnpackLimits) -> Result<(), StoreError> {
        let (place, beside, old) = (self.bundle(digest), self.beside(digest, "tmp"), self.beside(digest, "old"));
        remove(&beside)?;
        let files = bundle::unpack(archive, &beside, limits)?;
        if place.exists() {
            if holds(&place, &files) {
                return remove(&beside);
            }
            tracing::warn!(digest, "the unpacked bundle was changed; it is replaced");
            remove(&old)?;
            fs::rename(&place, &old).map_err(StoreError::io("rename", &place))?;
        }
        fs::rename(&beside, &place).map_err(StoreError::io("rename", &beside))?;
        sync(&self.root.join(BUNDLES))?;
        remove(&old)
    }

    /// Makes `current` lead to the bundle.
    pub fn point(&self, digest: &str) -> Result<(), StoreError> {
        let (beside, current) = (self.root.join(CURRENT_BESIDE), self.root.join(CURRENT));
        let target = Path::new(BUNDLES).join(digest);
        if !self.has(digest) {
            return Err(StoreError::io("find", &self.bundle(digest))(ErrorKind::NotFound.into()));
        }
        remove(&beside)?;
        symlink(&target, &beside).map_err(StoreError::io("create", &beside))?;
        fs::rename(&beside, &current).map_err(StoreError::io("replace", &current))?;
        sync(&self.root)
    }

    /// Takes `current` away: before the first bundle that works there is none.
    pub fn unpoint(&self) -> Result<(), StoreError> {
        let current = self.root.join(CURRENT);
        if self.current().is_none() {
            return Ok(());
        }
        fs::remove_file(&current).map_err(StoreError::io("remove", &current))?;
        sync(&self.root)
    }

    /// Removes what a crash left, and puts back a bundle that was about to be replaced.
    pub fn clean(&self) -> Result<(), StoreError> {
        remove(&self.root.join(CURRENT_BESIDE))?;
        let bundles = self.root.join(BUNDLES);
        for name in names(&bundles)? {
            let path = bundles.join(&name);
            match name.strip_suffix(".old").map(|digest| bundles.join(digest)) {
                Some(place) if !place.exists() => {
                    fs::rename(&path, &place).map_err(StoreError::io("put back", &path))?;
                }
                Some(_) => remove(&path)?,
                None if name.ends_with(".tmp") => remove(&path)?,
                None => {}
            }
        }
        sync(&bundles)
    }

    /// Removes bundles until `keep` are left, oldest first, and never one that is in use; and downloads that nobody resumes.
    pub fn prune(&self, keep: usize, in_use: &[&str]) -> Result<(), StoreError> {
        let bundles = self.root.join(BUNDLES);
        let mut found = Vec::new();
        for name in names(&bundles)?.into_iter().filter(|name| name.len() == DIGEST_CHARS) {
            let path = bundles.join(&name);
            let unpacked = fs::metadata(&path).and_then(|m| m.modified()).map_err(StoreError::io("look at", &path))?;
            found.push((unpacked, name));
        }
        found.sort();
        let mut excess = found.len().saturating_sub(keep);
        for (_, name) in found.iter().filter(|(_, name)| !in_use.contains(&name.as_str())) {
            if excess == 0 {
                break;
            }
            // Renamed first, so that a crash leaves no half bundle under a good name.
            let (place, beside) = (bundles.join(name), self.beside(name, "tmp"));
            fs::rename(&place, &beside).map_err(StoreError::io("rename", &place))?;
            remove(&beside)?;
            excess -= 1;
        }
        let downloads = self.root.join(DOWNLOADS);
        names(&downloads)?.iter().try_for_each(|name| remove(&downloads.join(name)))
    }

    fn beside(&self, digest: &str, ending: &str) -> PathBuf {
        self.root.join(BUNDLES).join(format!("{digest}.{ending}"))
    }
}

/// Every file of the archive is there, unchanged, and nothing else.
fn holds(directory: &Path, files: &[FileEntry]) -> bool {
    let same = |file: &FileEntry| {
        let path = directory.join(&file.path);
        let regular = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file() && found.len() == file.bytes);
        regular && fs::read(&path).is_ok_and(|bytes| HEXLOWER.encode(&Sha256::digest(&bytes)) == file.sha256)
    };
    count_files(directory).is_ok_and(|count| count == files.len()) && files.iter().all(same)
}

/// Links count as files: an archive has none.
fn count_files(directory: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        count += if entry.file_type()?.is_dir() { count_files(&entry.path())? } else { 1 };
    }
    Ok(count)
}

fn names(directory: &Path) -> Result<Vec<String>, StoreError> {
    let entries = fs::read_dir(directory).map_err(StoreError::io("list", directory))?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    names.collect::<Result<_, _>>().map_err(StoreError::io("list", directory))
}

/// A file, a link or a whole directory; none is fine.
fn remove(path: &Path) -> Result<(), StoreError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match removed {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(StoreError::io("remove", path)),
    }
}

fn sync(directory: &Path) -> Result<(), StoreError> {
    File::open(directory).and_then(|opened| opened.sync_all()).map_err(StoreError::io("sync", directory))
}

#[cfg(test)]
#[path = "store/tests.rs"]
mod tests;
