//! From an accepted offer to an unpacked bundle.
//!
//! Invariant: nothing is unpacked before size, digest and the pinned key's signature over the whole archive are right.

use crate::activation::Commands;
use crate::call::{causes, printable};
use crate::client::{Client, DownloadError};
use crate::machine::FetchError;
use crate::offer::Archive;
use crate::progress::Target;
use crate::store::Store;
use bundle::UnpackLimits;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

const ERROR_CHARS_MAX: usize = 700;

/// Downloads (going on with an earlier attempt), verifies, unpacks, and asks the check command.
pub async fn fetch(
    client: &Client,
    store: &Store,
    commands: &Commands,
    target: &Target,
    archive: &Archive,
) -> Result<(), FetchError> {
    let digest = target.bundle.digest.clone();
    let part = store.download(&digest);
    client.download(&archive.url, archive.size_bytes, &part).await.map_err(undownloaded)?;
    let (store_there, archive) = (store.clone(), archive.clone());
    let installed = tokio::task::spawn_blocking(move || install(&store_there, &digest, &archive));
    installed.await.map_err(|e| FetchError::Passing(format!("unpacking stopped: {e}")))??;
    commands.check(store, &target.bundle).await.map_err(FetchError::Final)
}

fn undownloaded(error: DownloadError) -> FetchError {
    FetchError::Passing(printable(&format!("could not download the bundle: {}", causes(&error)), ERROR_CHARS_MAX))
}

fn install(store: &Store, digest: &str, archive: &Archive) -> Result<(), FetchError> {
    let part = store.download(digest);
    let passing =
        |what: &str, e: std::io::Error| FetchError::Passing(format!("could not {what} {}: {e}", part.display()));
    let bytes = std::fs::read(&part).map_err(|e| passing("read", e))?;
    if let Err(error) = verify(&bytes, digest, archive) {
        // Not one byte of it is used for the next attempt.
        std::fs::remove_file(&part).map_err(|e| passing("remove", e))?;
        return Err(error);
    }
    let limits = UnpackLimits::default();
    store.install(&bytes, digest, &limits).map_err(|error| {
        let text = printable(&format!("could not unpack the bundle: {}", causes(&error)), ERROR_CHARS_MAX);
        if error.is_archive() { FetchError::Final(text) } else { FetchError::Passing(text) }
    })?;
    std::fs::remove_file(&part).map_err(|e| passing("remove", e))
}

fn verify(bytes: &[u8], digest: &str, archive: &Archive) -> Result<(), FetchError> {
    // Broken on the way, perhaps: a whole new download may be right.
    if HEXLOWER.encode(&Sha256::digest(bytes)) != digest {
        return Err(FetchError::Passing("the downloaded archive does not have the assigned digest".to_owned()));
    }
    // The digest is the assigned one, so another download brings the same bytes.
    if !archive.key.verify(bytes, &archive.signature) {
        return Err(FetchError::Final("the signature of the archive is wrong".to_owned()));
    }
    Ok(())
}
