//! Files to an archive. The same files give the same bytes: sorted entries, fixed metadata, one thread, fixed settings of
//! the compressor. A test holds the bytes, because a new compressor could change them.

use crate::manifest::{FileEntry, MANIFEST_FILE, Manifest, hex_sha256};
use std::collections::BTreeMap;
use tar::{EntryType, Header};
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

pub(crate) const BLOCK_BYTES: usize = 512;
/// The reader allows no more, so that unpacking needs little memory.
pub(crate) const WINDOW_LOG: u32 = 23;
const ZSTD_LEVEL: i32 = 9;
const NAME_BYTES: usize = 100;

/// An archive and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// `.tar.zst`, the manifest first.
    pub archive: Vec<u8>,
    /// SHA-256 of the archive, lower-case hex.
    pub digest: String,
    /// What is in it, sorted by path, without the manifest itself.
    pub files: Vec<FileEntry>,
}

/// Packs `files` (path to content) behind a manifest. Every path must satisfy [`crate::check_path`] and none may be a
/// directory of another: of anything else this makes an archive that no reader accepts.
pub fn pack(files: &BTreeMap<String, Vec<u8>>) -> Packed {
    let manifest = Manifest::of(files);
    let tar = tape(&manifest, files);
    let archive = compress(&tar);
    Packed { digest: hex_sha256(&archive), archive, files: manifest.files }
}

fn tape(manifest: &Manifest, files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut tar = Vec::new();
    append(&mut tar, MANIFEST_FILE, &manifest.to_bytes());
    for (path, content) in files {
        append(&mut tar, path, content);
    }
    tar.resize(tar.len() + 2 * BLOCK_BYTES, 0);
    tar
}

fn append(tar: &mut Vec<u8>, path: &str, content: &[u8]) {
    tar.extend_from_slice(header(path, content.len() as u64).as_bytes());
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(BLOCK_BYTES), 0);
}

/// The one header that a file of this path and size can have.
pub(crate) fn header(path: &str, bytes: u64) -> Header {
    let mut header = Header::new_ustar();
    let name = &path.as_bytes()[..path.len().min(NAME_BYTES)];
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(bytes);
    header.set_cksum();
    header
}

pub(crate) fn compress(tar: &[u8]) -> Vec<u8> {
    let compress = || {
        let mut compressor = Compressor::new(ZSTD_LEVEL)?;
        compressor.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
        compressor.set_parameter(CParameter::ChecksumFlag(false))?;
        compressor.set_parameter(CParameter::ContentSizeFlag(true))?;
        compressor.compress(tar)
    };
    compress().expect("the settings are constants in range, and the buffer is as large as the compressor asks")
}

#[cfg(test)]
mod tests;
