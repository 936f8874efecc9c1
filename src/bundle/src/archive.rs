//! Walks through an archive, file by file, in bounded memory.
//!
//! Not a tar reader: it accepts exactly what the packer writes. Each header is compared, byte for byte, with the one that a
//! regular file of its path and size has, so that links, devices, extensions of the format and every other trick of the
//! format are refused without being known by name.

use crate::manifest::{FileEntry, MANIFEST_FILE, Manifest};
use crate::pack::{BLOCK_BYTES, WINDOW_LOG, header};
use crate::unpack_error::UnpackError;
use sha2::{Digest, Sha256};
use std::io::{self, Read};
use tar::{EntryType, Header};

/// A path, a digest, a size and punctuation; a file of the shortest path needs less.
const MANIFEST_ENTRY_BYTES_MAX: u64 = 1_024;

/// How much a reader takes on. Memory for unpacking is bounded apart from these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnpackLimits {
    pub archive_bytes_max: u64,
    /// Headers and padding count.
    pub unpacked_bytes_max: u64,
    /// Without the manifest.
    pub files_max: usize,
}

impl Default for UnpackLimits {
    fn default() -> UnpackLimits {
        UnpackLimits { archive_bytes_max: 128 * 1024 * 1024, unpacked_bytes_max: 512 * 1024 * 1024, files_max: 10_000 }
    }
}

/// Gives each file to `take`, which reads its content to the end. A file's digest is checked after it was taken, so nothing
/// that was taken may be used before this returns `Ok`.
pub(crate) fn walk(
    archive: &[u8],
    limits: &UnpackLimits,
    mut take: impl FnMut(&FileEntry, &mut dyn Read) -> Result<(), UnpackError>,
) -> Result<Manifest, UnpackError> {
    if archive.len() as u64 > limits.archive_bytes_max {
        return Err(UnpackError::ArchiveTooLarge { max: limits.archive_bytes_max });
    }
    let mut tape = Tape::open(archive, limits.unpacked_bytes_max)?;
    let manifest = read_manifest(&mut tape, limits)?;
    for file in &manifest.files {
        let Some((path, bytes)) = tape.next_entry()? else {
            return Err(UnpackError::Missing { path: file.path.clone() });
        };
        if path != file.path {
            return Err(UnpackError::Unexpected { path });
        }
        if bytes != file.bytes {
            return Err(UnpackError::Size { path });
        }
        let mut content = Hashing { inner: (&mut tape).take(bytes), hash: Sha256::new() };
        take(file, &mut content)?;
        let digest = data_encoding::HEXLOWER.encode(&content.hash.finalize());
        tape.check()?;
        if digest != file.sha256 {
            return Err(UnpackError::Digest { path });
        }
        tape.skip_padding(&path, bytes)?;
    }
    match tape.next_entry()? {
        Some((path, _)) => Err(UnpackError::Unexpected { path }),
        None => tape.close().map(|()| manifest),
    }
}

fn read_manifest(tape: &mut Tape<'_>, limits: &UnpackLimits) -> Result<Manifest, UnpackError> {
    let first = tape.next_entry()?;
    let Some((_, bytes)) = first.filter(|(path, _)| path == MANIFEST_FILE) else {
        return Err(UnpackError::NoManifest);
    };
    let max = (limits.files_max as u64).saturating_add(1).saturating_mul(MANIFEST_ENTRY_BYTES_MAX);
    if bytes > max {
        return Err(UnpackError::Manifest("is too large"));
    }
    let mut content = Vec::new();
    let read = tape.take(bytes).read_to_end(&mut content);
    tape.check()?;
    read.map_err(UnpackError::Zstd)?;
    if content.len() as u64 != bytes {
        return Err(UnpackError::Size { path: MANIFEST_FILE.to_owned() });
    }
    tape.skip_padding(MANIFEST_FILE, bytes)?;
    Manifest::parse(&content, limits.files_max)
}

/// The unpacked stream.
struct Tape<'a> {
    zstd: zstd::Decoder<'static, &'a [u8]>,
    bytes_max: u64,
    bytes_left: u64,
    /// The stream wanted to be longer than it may.
    overrun: bool,
}

impl<'a> Tape<'a> {
    fn open(archive: &'a [u8], bytes_max: u64) -> Result<Tape<'a>, UnpackError> {
        const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
        if !archive.starts_with(&MAGIC) {
            let error = io::Error::new(io::ErrorKind::InvalidData, "the first bytes are not those of a zstd frame");
            return Err(UnpackError::Zstd(error));
        }
        let mut zstd = zstd::Decoder::with_buffer(archive).map_err(UnpackError::Zstd)?.single_frame();
        zstd.window_log_max(WINDOW_LOG).map_err(UnpackError::Zstd)?;
        Ok(Tape { zstd, bytes_max, bytes_left: bytes_max, overrun: false })
    }

    /// Path and size of the next entry; `None` at the end mark.
    fn next_entry(&mut self) -> Result<Option<(String, u64)>, UnpackError> {
        let block = self.block()?;
        if block.iter().all(|byte| *byte == 0) {
            let second = self.block()?;
            let end = second.iter().all(|byte| *byte == 0);
            return if end { Ok(None) } else { Err(UnpackError::Header { path: String::new() }) };
        }
        let found = Header::from_byte_slice(&block);
        let shown = String::from_utf8_lossy(&found.path_bytes()).into_owned();
        if found.entry_type() != EntryType::Regular {
            return Err(UnpackError::NotAFile { path: shown });
        }
        let name = block.get(..100).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
        let Ok(path) = std::str::from_utf8(name).map(str::to_owned) else { return Err(UnpackError::NameEncoding) };
        if path != MANIFEST_FILE {
            crate::manifest::check_path(&path).map_err(|source| UnpackError::Path { path: path.clone(), source })?;
        }
        let bytes = found.entry_size().map_err(|_| UnpackError::Header { path: shown.clone() })?;
        if *header(&path, bytes).as_bytes() != block {
            return Err(UnpackError::Header { path: shown });
        }
        Ok(Some((path, bytes)))
    }

    fn skip_padding(&mut self, path: &str, bytes: u64) -> Result<(), UnpackError> {
        let length = (BLOCK_BYTES - (bytes % BLOCK_BYTES as u64) as usize) % BLOCK_BYTES;
        let mut padding = [0; BLOCK_BYTES];
        self.fill(&mut padding[..length])?;
        let clean = padding.iter().all(|byte| *byte == 0);
        if clean { Ok(()) } else { Err(UnpackError::Header { path: path.to_owned() }) }
    }

    /// After the end mark: the stream ends, and the archive with it.
    fn close(mut self) -> Result<(), UnpackError> {
        let mut probe = [0; 1];
        let read = self.read(&mut probe);
        self.check()?;
        if read.map_err(UnpackError::Zstd)? != 0 || !self.zstd.finish().is_empty() {
            return Err(UnpackError::TrailingBytes);
        }
        Ok(())
    }

    fn block(&mut self) -> Result<[u8; BLOCK_BYTES], UnpackError> {
        let mut block = [0; BLOCK_BYTES];
        self.fill(&mut block)?;
        Ok(block)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), UnpackError> {
        let read = self.read_exact(buffer);
        self.check()?;
        read.map_err(UnpackError::Zstd)
    }

    /// An overrun looks like an end to whoever reads; this is where it is told apart.
    fn check(&self) -> Result<(), UnpackError> {
        if self.overrun { Err(UnpackError::UnpackedTooLarge { max: self.bytes_max }) } else { Ok(()) }
    }
}

impl Read for Tape<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.bytes_left).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 && !buffer.is_empty() {
            // The end of the stream may fall exactly on the limit.
            let more = self.zstd.read(&mut [0; 1])?;
            self.overrun |= more > 0;
            return Ok(0);
        }
        let read = self.zstd.read(&mut buffer[..room])?;
        self.bytes_left -= read as u64;
        Ok(read)
    }
}

struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}
