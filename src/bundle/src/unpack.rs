//! An archive to a directory of a node. What stands there afterwards is complete, checked and on disk: the caller only has
//! to switch a link to it.

use crate::archive::{UnpackLimits, walk};
use crate::manifest::{FileEntry, parents};
use crate::unpack_error::UnpackError;
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// Unpacks into `into`, which is created, or is an empty directory (no link to one). Files get mode 0644 and directories
/// 0755, whatever the umask. Everything is synced, the directory that `into` is in included. After an error `into` does not
/// exist, unless it was refused for not being empty.
///
/// Answers the files, sorted by path; the manifest itself is not written.
pub fn unpack(archive: &[u8], into: &Path, limits: &UnpackLimits) -> Result<Vec<FileEntry>, UnpackError> {
    prepare(into)?;
    let done = fill(archive, into, limits);
    if done.is_err() {
        // The first error is the one to report; what is left, the next attempt refuses.
        let _ = fs::remove_dir_all(into);
    }
    done
}

fn fill(archive: &[u8], into: &Path, limits: &UnpackLimits) -> Result<Vec<FileEntry>, UnpackError> {
    let mut directories = BTreeSet::from([into.to_owned()]);
    let manifest = walk(archive, limits, |file, content| {
        for parent in parents(&file.path) {
            let directory = into.join(parent);
            if directories.insert(directory.clone()) {
                create_directory(&directory).map_err(failed("create", &directory))?;
            }
        }
        write(&into.join(&file.path), content)
    })?;
    // Innermost first: a directory that is on disk names only what is on disk.
    for directory in directories.iter().rev() {
        sync_directory(directory)?;
    }
    let beside = into.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_directory(beside.unwrap_or(Path::new(".")))?;
    Ok(manifest.files)
}

/// Creates the directory, or makes sure that it is an empty one.
fn prepare(into: &Path) -> Result<(), UnpackError> {
    let created = create_directory(into);
    let Err(error) = created else { return Ok(()) };
    if error.kind() != ErrorKind::AlreadyExists {
        return Err(failed("create", into)(error));
    }
    let found = fs::symlink_metadata(into).map_err(failed("look at", into))?;
    if !found.is_dir() || fs::read_dir(into).map_err(failed("list", into))?.next().is_some() {
        return Err(UnpackError::NotEmpty { path: into.to_owned() });
    }
    set_mode(into, DIRECTORY_MODE).map_err(failed("open", into))
}

fn create_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(DIRECTORY_MODE).create(path)?;
    set_mode(path, DIRECTORY_MODE)
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}

fn write(path: &Path, content: &mut dyn Read) -> Result<(), UnpackError> {
    let mut open = OpenOptions::new();
    // Never follows a link, and never meets a file of somebody else.
    let mut file = open.write(true).create_new(true).mode(FILE_MODE).open(path).map_err(failed("create", path))?;
    copy(content, &mut file, path)?;
    file.set_permissions(Permissions::from_mode(FILE_MODE)).map_err(failed("open", path))?;
    file.sync_all().map_err(failed("sync", path))
}

/// Tells apart which side failed.
fn copy(content: &mut dyn Read, file: &mut File, path: &Path) -> Result<(), UnpackError> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = content.read(&mut buffer).map_err(UnpackError::Zstd)?;
        if read == 0 {
            return Ok(());
        }
        io::Write::write_all(file, &buffer[..read]).map_err(failed("write", path))?;
    }
}

fn sync_directory(path: &Path) -> Result<(), UnpackError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(failed("sync", path))
}

fn failed<'p>(action: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> UnpackError + 'p {
    move |source| UnpackError::Io { action, path: PathBuf::from(path), source }
}

#[cfg(test)]
mod tests;
