//! An archive to its files, in memory.

use crate::archive::{UnpackLimits, walk};
use crate::manifest::Manifest;
use crate::unpack_error::UnpackError;
use std::collections::BTreeMap;

/// What an archive holds; every file matches the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// By path, without the manifest.
    pub files: BTreeMap<String, Vec<u8>>,
    pub manifest: Manifest,
}

/// Checks an archive and answers its content. Memory is bounded by `limits`, whatever the archive claims.
pub fn read(archive: &[u8], limits: &UnpackLimits) -> Result<Contents, UnpackError> {
    let mut files = BTreeMap::new();
    let manifest = walk(archive, limits, |file, content| {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).map_err(UnpackError::Zstd)?;
        files.insert(file.path.clone(), bytes);
        Ok(())
    })?;
    Ok(Contents { files, manifest })
}

#[cfg(test)]
mod tests;
