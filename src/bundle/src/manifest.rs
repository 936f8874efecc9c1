//! What an archive says of itself: the name, size and digest of every file, and nothing that could differ between two
//! archives of the same files (no id, version, time or author).

use crate::unpack_error::UnpackError;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// The first entry of every archive.
pub const MANIFEST_FILE: &str = "manifest.json";

pub(crate) const FORMAT: &str = "pilothouse.bundle.v1";
/// What fits into the name field of a tar header, so that no extension of the format is needed.
const PATH_BYTES_MAX: usize = 100;

/// One file of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Relative, with `/` between its parts; see [`check_path`].
    pub path: String,
    /// Lower-case hex.
    pub sha256: String,
    pub bytes: u64,
}

/// The content of `manifest.json`: compact JSON, the files sorted by path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always `pilothouse.bundle.v1`.
    pub format: String,
    pub files: Vec<FileEntry>,
}

/// Why a path cannot be in an archive.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PathError {
    #[error("it is empty or longer than {PATH_BYTES_MAX} bytes")]
    Length,
    #[error("it is absolute, or has an empty part, or one that is . or ..")]
    Part,
    #[error("it holds a backslash or a control character")]
    Character,
    #[error("the name belongs to the manifest")]
    Reserved,
}

/// Whether a file of this path can be in an archive: relative, 1 to 100 bytes, no part empty or `.` or `..`, no backslash,
/// no control character, not `manifest.json`.
pub fn check_path(path: &str) -> Result<(), PathError> {
    if path.is_empty() || path.len() > PATH_BYTES_MAX {
        return Err(PathError::Length);
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(PathError::Part);
    }
    if path.chars().any(|c| c.is_control() || c == '\\') {
        return Err(PathError::Character);
    }
    let first = path.split('/').next().unwrap_or(path);
    if first == MANIFEST_FILE { Err(PathError::Reserved) } else { Ok(()) }
}

impl Manifest {
    pub(crate) fn of(files: &BTreeMap<String, Vec<u8>>) -> Manifest {
        let entry = |(path, content): (&String, &Vec<u8>)| FileEntry {
            path: path.clone(),
            sha256: hex_sha256(content),
            bytes: content.len() as u64,
        };
        Manifest { format: FORMAT.to_owned(), files: files.iter().map(entry).collect() }
    }

    /// The one way to write it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers are always JSON")
    }

    /// Accepts only what [`Manifest::to_bytes`] writes, of at most `files_max` files.
    pub(crate) fn parse(bytes: &[u8], files_max: usize) -> Result<Manifest, UnpackError> {
        let manifest: Manifest =
            serde_json::from_slice(bytes).map_err(|_| UnpackError::Manifest("is not valid JSON"))?;
        if manifest.format != FORMAT {
            return Err(UnpackError::Manifest("has an unknown format"));
        }
        if manifest.files.len() > files_max {
            return Err(UnpackError::TooManyFiles { max: files_max });
        }
        if manifest.to_bytes() != bytes {
            return Err(UnpackError::Manifest("is not in its one normal form"));
        }
        if !manifest.files.is_sorted_by(|a, b| a.path < b.path) {
            return Err(UnpackError::Manifest("is not sorted, or names a file twice"));
        }
        let mut directories = BTreeSet::new();
        for file in &manifest.files {
            check_path(&file.path).map_err(|source| UnpackError::Path { path: file.path.clone(), source })?;
            let digest_ok =
                file.sha256.len() == 64 && file.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            if !digest_ok {
                return Err(UnpackError::Manifest("holds a digest that is not one"));
            }
            directories.extend(parents(&file.path));
        }
        if manifest.files.iter().any(|file| directories.contains(file.path.as_str())) {
            return Err(UnpackError::Manifest("names a file that is also a directory"));
        }
        Ok(manifest)
    }
}

/// The directories that a file is in, outermost first, without the root.
pub(crate) fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

pub(crate) fn hex_sha256(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}
