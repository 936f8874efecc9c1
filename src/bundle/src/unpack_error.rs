//! Why an archive is refused.

use crate::manifest::PathError;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// None of them leaves anything behind on disk.
#[derive(Debug, Error)]
pub enum UnpackError {
    #[error("the archive has more than {max} bytes")]
    ArchiveTooLarge { max: u64 },
    #[error("the archive unpacks to more than {max} bytes")]
    UnpackedTooLarge { max: u64 },
    #[error("the archive has more than {max} files")]
    TooManyFiles { max: usize },
    #[error("the archive is not zstd, or it is damaged or cut off")]
    Zstd(#[source] io::Error),
    #[error("something follows the end of the archive")]
    TrailingBytes,
    /// Links, devices, directories, sparse files, extended headers: an archive has regular files only.
    #[error("the entry {path:?} is not a regular file")]
    NotAFile { path: String },
    #[error("the name of an entry is not UTF-8")]
    NameEncoding,
    #[error("the entry {path:?} has a header that the packer does not write")]
    Header { path: String },
    #[error("the first entry is not manifest.json")]
    NoManifest,
    #[error("manifest.json {0}")]
    Manifest(&'static str),
    #[error("the path {path:?} is refused")]
    Path {
        path: String,
        #[source]
        source: PathError,
    },
    #[error("the entry {path:?} is not the one that the manifest has at this place")]
    Unexpected { path: String },
    #[error("the file {path:?} of the manifest is missing")]
    Missing { path: String },
    #[error("the file {path:?} does not have the size that the manifest says")]
    Size { path: String },
    #[error("the file {path:?} does not have the digest that the manifest says")]
    Digest { path: String },
    #[error("{} exists and is not an empty directory", path.display())]
    NotEmpty { path: PathBuf },
    #[error("could not {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}
